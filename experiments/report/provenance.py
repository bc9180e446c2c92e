"""What the figures of a report are of, and how they were made."""

import contextlib
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from experiments.command_line.configurations import class_name
from experiments.command_line.own_classes import own_imports
from experiments.report.page import Block, Settings
from experiments.report.run_folder import Run, RunFolder
from experiments.reproduction.sources import of_papers
from experiments.tables import Table
from lightning_modules.errors import InputError
from lightning_modules.run_files import CONFIGURATION_FILE, ENVIRONMENT_FILE, TEST_FILE, VALIDATION_FILE
from lightning_modules.scores.rows import read_table

ENVIRONMENT = ("Versions", "Revision", "Machine")
PACKAGES = ("separatrix", "torch", "lightning")
COMMANDS = {CONFIGURATION_FILE: "fit", VALIDATION_FILE: "validate", TEST_FILE: "test"}


def procedural(runs: Sequence[Run]) -> str:
    """That sounds are procedural, where any are; empty where all are recordings."""
    if not any(corpus_of(run).startswith("Procedural") for run in runs):
        return ""
    return (
        "The sounds are procedural, made by formulas. The figures say that the system works, not how well it separates "
        "recordings; the published figures are of recordings."
    )


def compared(runs: Sequence[Run]) -> bool:
    """Whether the published figures stand beside those of the runs."""
    return all(of_papers(run.evaluation) for run in runs)


def corpus_of(run: Run) -> str:
    """Name of the class of a run's corpus, such as `UrbanSound8K`; empty where nothing says it."""
    return class_name(run.tested("corpus")) or ""


def facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the figures are of, by name; several values where the runs differ."""
    environments = [made_on for run in runs if any(made_on := _environment(run))]

    def of_data(name: str, unit: str = "") -> str:
        return (found := _distinct(run.tested(name) for run in runs)) and found + unit

    def of_training(name: str) -> str:
        return _distinct(run.setting("data", name) for run in runs)

    def folds(run: Run) -> str:
        found = {split: run.tested(f"{split}_folds") for split in ("train", "validation", "test")}
        return "; ".join(f"{split} {', '.join(map(str, of))}" for split, of in found.items() if of and of != [split])

    listed = [
        ("Corpus", _distinct(map(corpus_of, runs))),
        ("Folds", _distinct(map(folds, runs), " | ")),
        ("Test mixtures, each run", _distinct(map(_tested, runs))),
        ("Training mixtures", of_training("train_mixtures")),
        ("Mixtures an epoch", of_training("epoch_mixtures")),
        ("Length of a mixture", of_data("duration", " s")),
        ("Sample rate", of_data("sample_rate", " Hz")),
        ("Seed of the mixtures", of_data("seed")),
        ("Seed of the weights", _distinct(run.configuration.get("seed_everything") for run in runs)),
    ]
    for name, values in zip(ENVIRONMENT, zip(*environments, strict=True), strict=False):
        different = len({*filter(None, values)})
        several = f"{different} different ones, see How it was made"
        listed.append((name, _distinct(values) if different < 2 else several))
    return [(name, value) for name, value in listed if value]


def _tested(run: Run) -> str:
    """The number of test mixtures, and how many of them have scores where not all have."""
    planned = scored = str(run.tested("test_mixtures", ""))
    with contextlib.suppress(InputError):  # of rows that cannot be read, the tables tell
        if run.files.scores.is_file():
            scored = str(read_table(run.files.scores, ["index"])["index"].nunique())
    return f"{scored} of {planned}" if planned not in ("", scored) else scored


def _distinct(values: Iterable[Any], between: str = ", ") -> str:
    return between.join(dict.fromkeys(str(value) for value in values if value not in (None, "", [], {})))


def _environment(run: Run) -> tuple[str, str, str]:
    """Versions, revision and machine that a run was made with; empty texts for what was not written down."""
    found = run.described(ENVIRONMENT_FILE)
    versions = found.get("versions")
    packages = versions.items() if isinstance(versions, dict) else ()
    shown = ", ".join(f"{package} {version}" for package, version in packages if package in PACKAGES)
    return shown, str(found.get("revision") or ""), str(found.get("machine") or "")


def _command(run: Run, file: str, folder: RunFolder) -> str:
    """The command of a resolved configuration; a model that the run trained is the new one's own best."""
    configuration = "FOLDER" / (run.folder / file).relative_to(folder.path)
    words = ["separatrix", COMMANDS[file], "--config", configuration.as_posix(), "--run", f"NEW/{run.name}"]
    trained = file != CONFIGURATION_FILE and run.files.configuration.is_file()
    checkpoint = ["--ckpt_path", "best"] if trained else []
    return shlex.join([*words, *checkpoint, *own_imports(run.section("model"))])


def made_with(folder: RunFolder) -> list[Block]:
    """What every run was made on where they differ, the commands that make them again, and their settings."""
    blocks: list[Block] = []
    environments = {run.name: _environment(run) for run in folder.runs}
    if len({of_run for of_run in environments.values() if any(of_run)}) > 1:
        rows = [[name, *of_run] for name, of_run in environments.items()]
        note = "A plus sign: the checkout had changes that were not committed."
        blocks.append(Table("Where each run is from", ["run", *ENVIRONMENT], rows, [note], texts=4))
    commands = [
        _command(run, file, folder) for run in folder.runs for file in COMMANDS if (run.folder / file).is_file()
    ]
    texts = [
        (run.name, yaml.safe_dump(run.settings(), sort_keys=False, allow_unicode=True))
        for run in folder.runs
        if run.configuration
    ]
    if commands:
        title = "Commands, to be typed where the run was made; FOLDER is its folder, NEW another one"
        blocks.append(Settings(title, [("commands", "\n".join(commands))]))
    if texts:
        blocks.append(Settings("Settings", texts))
    return blocks
