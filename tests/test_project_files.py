"""What installs the project: the lock, the environment that is made from it, and packages that others hide."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import separatrix_entry

ROOT = Path(__file__).parents[1]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-cuda.lock"]


def locked(path):
    """Requirements of a lock with the hashes of their files."""
    entries = re.sub(r" *\\\n *", " ", path.read_text()).splitlines()
    return {Requirement(line.split(" --hash=")[0]): line.split(" --hash=")[1:] for line in entries if line[0] != "#"}


def test_all_that_is_needed_is_locked_to_a_release_with_its_hashes_and_comes_from_nowhere_in_particular():
    pinned = {}
    for path in LOCKS:
        assert "://" not in path.read_text()
        for requirement, hashes in locked(path).items():
            (pin,) = requirement.specifier
            assert pin.operator == "==" and not requirement.specifier.prereleases, requirement
            assert hashes and all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in hashes), requirement
            pinned[canonicalize_name(requirement.name)] = pin.version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)]
    for requirement in map(Requirement, asked):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    for name in pinned:  # what they need in turn, as far as it is installed here
        try:
            needed = [Requirement(each) for each in requires(name) or ()]
        except PackageNotFoundError:
            continue
        for each in needed:
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                assert canonicalize_name(each.name) in pinned, f"{name} needs {each}"


@pytest.fixture
def checkout(tmp_path):
    """A checkout without an environment, in which `make .venv` would use a Python that there is not."""
    (tmp_path / "checkout" / ".ci").mkdir(parents=True)
    for name in ("Makefile", ".ci/prepare_environment", "pyproject.toml", *(path.name for path in LOCKS)):
        shutil.copy2(ROOT / name, tmp_path / "checkout" / name)
    return tmp_path / "checkout"


def make(checkout, *words):
    command = ["make", "-s", *words, "PYTHON=no-such-python"]
    ended = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_an_environment_that_is_not_ours_is_neither_used_nor_removed(checkout, tmp_path, kind):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "pyvenv.cfg").write_text("theirs")
    if kind == "link":
        (tmp_path / "theirs" / "ready").touch()
        (checkout / ".venv").symlink_to(tmp_path / "theirs")
    else:
        (tmp_path / "theirs").rename(checkout / ".venv")
    status, told = make(checkout, ".venv")
    reason = ".venv is a link to" if kind == "link" else ".venv was not made here"
    assert status and told.startswith(f"prepare_environment: {reason}")
    make(checkout, "clean")
    where = tmp_path / "theirs" if kind == "link" else checkout / ".venv"
    assert (where / "pyvenv.cfg").read_text() == "theirs"


def test_an_environment_of_ours_is_used_while_it_is_newer_than_what_it_is_made_from(checkout):
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "ready").touch()
    assert make(checkout, ".venv") == (0, "")
    (checkout / "requirements.lock").touch()
    status, told = make(checkout, ".venv")
    assert status and "no-such-python does not run" in told and (checkout / ".venv" / "ready").exists()
    assert make(checkout, "clean") == (0, "") and not (checkout / ".venv").exists()


@pytest.mark.parametrize("hiding", ["callbacks/__init__.py", "experiments.py"])
def test_a_package_that_hides_ours_is_named_in_one_line(tmp_path, hiding):
    place = tmp_path / hiding
    place.parent.mkdir(exist_ok=True)
    place.touch()
    hides = f"{place if place.parent == tmp_path else place.parent} hides Separatrix's own package"
    program = "import sys; sys.path.insert(1, sys.argv[1]); import separatrix"
    words = [[sys.executable, "-c", program, str(ROOT)], [sys.executable, "-c", ENTRY, str(ROOT)]]
    outcomes = [subprocess.run(each, cwd=tmp_path, capture_output=True, text=True, check=False) for each in words]
    assert outcomes[0].stderr.splitlines()[-1].startswith(f"ImportError: {hides}")
    assert outcomes[1].returncode == 2 and outcomes[1].stderr.startswith(f"separatrix: {hides}")
    assert outcomes[1].stderr.count("\n") == 1


ENTRY = "import sys; sys.path.insert(1, sys.argv[1]); import separatrix_entry; sys.exit(separatrix_entry.main())"


def test_a_folder_that_is_no_package_hides_nothing(tmp_path, monkeypatch):
    (tmp_path / "callbacks").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    separatrix_entry.require_own_packages()


def test_an_editable_install_is_found_from_the_folder_that_contains_the_checkout(tmp_path):
    (tmp_path / "separatrix").mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "separatrix_entry.py"):
        shutil.copy2(ROOT / name, tmp_path / "separatrix")
    (tmp_path / "separatrix" / "separatrix.py").touch()
    build = "import sys; from setuptools import build_meta; print(build_meta.build_editable(sys.argv[1]))"
    words = [sys.executable, "-c", build, str(tmp_path)]
    subprocess.run(words, cwd=tmp_path / "separatrix", capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    program = "import site, sys; site.addsitedir(sys.argv[1]); import separatrix; print(separatrix.__file__)"
    words = [sys.executable, "-ES", "-c", program, str(tmp_path / "site")]
    found = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()) == tmp_path / "separatrix" / "separatrix.py"
