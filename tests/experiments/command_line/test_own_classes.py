"""Where classes of a user's own are found: the current folder, after all that is installed, and by `--import`."""

import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from experiments.cli import main
from experiments.command_line.own_classes import find_in_current_folder, import_own, own_imports
from lightning_modules.errors import InputError


@pytest.fixture(autouse=True)
def current_folder(tmp_path, monkeypatch):
    """A folder with two modules, in which commands are started."""
    (tmp_path / "own_one.py").write_text("import own_two\n")
    (tmp_path / "own_two.py").write_text("VALUE = 2\n")
    (tmp_path / "torch.py").write_text("raise RuntimeError('in place of an installed module')\n")
    (tmp_path / "own_broken.py").write_text("VALUE = 1\nimport nowhere_to_be_found\n")
    (tmp_path / "own_outer.py").write_text("import own_broken\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("own_one", "own_two"):
        sys.modules.pop(name, None)


def test_import_takes_modules_of_the_current_folder_and_leaves_the_other_arguments():
    find_in_current_folder()
    left = import_own(["fit", "--import", "own_one", "--config", "a", "--import=own_two", "--run", "b"])
    assert left == ["fit", "--config", "a", "--run", "b"]
    assert sys.modules["own_two"].VALUE == 2 and "own_one" in sys.modules


def test_a_module_of_the_current_folder_takes_no_installed_ones_place(tmp_path):
    find_in_current_folder()
    find_in_current_folder()
    assert sys.path.count(str(tmp_path)) == 1
    found = {name: Path(PathFinder.find_spec(name, sys.path).origin) for name in ("torch", "own_two")}
    assert found["own_two"] == tmp_path / "own_two.py" and tmp_path not in found["torch"].parents


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--import", "own_three"], "--import own_three: no module own_three in .*, nor an installed one"),
        (["--import", "own_one.inner"], r"--import own_one\.inner: no module own_one\.inner in"),
        (["--import", "own_one.py/"], "--import own_one.py/: the name of a module is needed"),
        (["--import", "own_outer"], "own_outer cannot be imported: No module named 'nowhere.*own_broken.py, line 2"),
        (["--import"], "--import : the name of a module is needed"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_one_line(arguments, message, capsys):
    with pytest.raises(InputError, match=message):
        find_in_current_folder()
        import_own(["bank", *arguments])
    assert main(["bank", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_modules_of_ones_own_are_found_among_settings():
    find_in_current_folder()
    settings = {
        "network": {"class_path": "own_one.Net", "init_args": {"inner": [{"class_path": "own_two.Layer"}]}},
        "optimizer": {"class_path": "torch.optim.Adam"},
        "_class_path": "lightning_modules.weak_labels.separator_module.WeakLabelSeparator",
    }
    assert own_imports(settings) == ["--import", "own_one", "--import", "own_two"]
