"""What imports what: the packages' order, and cores that stay plain torch and numpy."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What each package may take from the others: no arrow points up. Models and data meet in the batch alone.
TAKEN = {
    "lightning_modules": set(),
    "datamodules": {
        "lightning_modules.batch",
        "lightning_modules.class_tree",
        "lightning_modules.errors",
        "lightning_modules.plain_values",
        "lightning_modules.setting_checks",
        "lightning_modules.spectrogram",
    },
    "callbacks": {"lightning_modules"},
    "experiments": {"lightning_modules", "datamodules", "callbacks", "separatrix"},
}
# Rows, tables and figures are functions of files: they know neither models nor data.
SCORES = {"lightning_modules.scores", "lightning_modules.atomic_file", "lightning_modules.errors"}
# What wires networks and data to the trainer, or saves its files; all else below experiments knows no Lightning.
WIRING = {
    "datamodules/mixtures.py",
    "lightning_modules/base_module.py",
    "lightning_modules/batch_invariance.py",
    "lightning_modules/checkpoint_io.py",
    "lightning_modules/loss_watch.py",
    "lightning_modules/mean_test_scores.py",
    "lightning_modules/resumable_epochs.py",
    "lightning_modules/training_state.py",
}
FILES = sorted(path.relative_to(ROOT).as_posix() for package in TAKEN for path in (ROOT / package).rglob("*.py"))


def imported(file: str, at_once: bool = False) -> set[str]:
    """The modules that a file imports, wherever in it, or only when it is imported itself."""
    found: set[str] = set()
    tree = ast.parse((ROOT / file).read_text())
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: names its modules relative to itself"
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("package", TAKEN)
def test_imports_go_one_way(package):
    ours = (*TAKEN, "separatrix")
    for file in (file for file in FILES if file.startswith(f"{package}/")):
        for module in imported(file):
            if module.split(".")[0] in ours and not module.startswith(package):
                allowed = any(module == taken or module.startswith(f"{taken}.") for taken in TAKEN[package])
                assert allowed, f"{file} imports {module}"


def test_scores_need_neither_models_nor_data():
    for file in (file for file in FILES if file.startswith("lightning_modules/scores/")):
        ours = {module for module in imported(file) if module.split(".")[0] in TAKEN}
        assert all(module in SCORES or module.startswith("lightning_modules.scores.") for module in ours), file


def test_no_circle():
    above: dict[str, set[str]] = {}  # by module: what imports it
    modules = {file.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): file for file in FILES}
    for module, file in modules.items():
        for other in imported(file, at_once=True) & modules.keys() - {module}:
            above.setdefault(other, set()).add(module)
    left = set(modules)
    while free := {module for module in left if not above.get(module, set()) & left}:
        left -= free
    assert not left


def test_networks_losses_recipes_and_rendering_know_neither_lightning_nor_a_tracker():
    for file in FILES:
        if file.startswith(("lightning_modules/", "datamodules/")) and file not in WIRING:
            libraries = {module.split(".")[0] for module in imported(file)}
            assert not libraries & {"lightning", "wandb"}, f"{file} imports {libraries & {'lightning', 'wandb'}}"
    assert all("lightning" in {module.split(".")[0] for module in imported(file)} for file in WIRING)
