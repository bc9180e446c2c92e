"""What the figures of a report are of, and how they were made."""

import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from experiments.output.run_files import CONFIGURATION_FILE, TEST_FILE, VALIDATION_FILE
from experiments.report.page import Block, Cell, Settings, Table
from experiments.report.run_folder import Run, RunFolder

ENVIRONMENT = ("Versions", "Revision", "Machine")
PACKAGES = ("separatrix", "torch", "lightning")


def procedural(runs: Sequence[Run]) -> str:
    """That sounds are procedural, where any are; empty where all are recordings."""
    if not any(corpus_of(run).startswith("Procedural") for run in runs):
        return ""
    return (
        "The sounds are procedural, made by formulas. The figures say that the system works, not how well it separates "
        "recordings; the published figures are of recordings."
    )


def corpus_of(run: Run) -> str:
    """Name of the class of a run's corpus, such as `UrbanSound8K`; empty where nothing says it."""
    section = run.setting("data", "corpus")
    return str(section.get("class_path", "")).rpartition(".")[2] if isinstance(section, dict) else ""


def facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the figures are of, by name; several values where the runs differ."""

    def distinct(values: Sequence[Any]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "", [], {})))

    def of_data(name: str) -> str:
        return distinct([run.setting("data", name) for run in runs])

    def folds(run: Run) -> str:
        named = [
            f"{split} {', '.join(map(str, of_split))}"
            for split in ("train", "validation", "test")
            if (of_split := run.setting("data", f"{split}_folds")) and of_split != [split]
        ]
        return "; ".join(named)

    def made_on(name: str) -> str:
        values = dict.fromkeys(of_run[name] for run in runs if (of_run := _environment(run))[name])
        return next(iter(values), "") if len(values) < 2 else f"{len(values)} different ones, see How it was made"

    listed = [
        ("Corpus", distinct(list(map(corpus_of, runs)))),
        ("Folds", " | ".join(dict.fromkeys(filter(None, map(folds, runs))))),
        ("Test mixtures, each run", of_data("test_mixtures")),
        ("Training mixtures", of_data("train_mixtures")),
        ("Mixtures an epoch", of_data("epoch_mixtures")),
        ("Length of a mixture", (length := of_data("duration")) and f"{length} s"),
        ("Sample rate", (rate := of_data("sample_rate")) and f"{rate} Hz"),
        ("Seed of the mixtures", of_data("seed")),
        ("Seed of the weights", distinct([run.configuration.get("seed_everything") for run in runs])),
        *((name, made_on(name)) for name in ENVIRONMENT),
    ]
    return [(name, value) for name, value in listed if value]


def _environment(run: Run) -> dict[str, str]:
    """What a run was made with and on, by name; empty texts for what was not written down."""
    found = run.environment
    versions = found.get("versions")
    packages = versions.items() if isinstance(versions, dict) else ()
    texts = (
        ", ".join(f"{package} {version}" for package, version in packages if package in PACKAGES),
        found.get("revision") or "",
        found.get("machine") or "",
    )
    return dict(zip(ENVIRONMENT, map(str, texts), strict=True))


def made_with(folder: RunFolder) -> list[Block]:
    """What every run was made on where they differ, the commands that make them again, and their settings."""
    blocks: list[Block] = []
    environments = {run.name: _environment(run) for run in folder.runs}
    if len({tuple(of_run.values()) for of_run in environments.values() if any(of_run.values())}) > 1:
        rows = [(name, [Cell(text) for text in of_run.values()], "") for name, of_run in environments.items()]
        remark = "A plus sign: the checkout had changes that were not committed."
        blocks.append(Table("Where each run is from", ["run", *ENVIRONMENT], rows, [remark]))
    commands = []
    for run in folder.runs:
        for file, command in ((CONFIGURATION_FILE, "fit"), (VALIDATION_FILE, "validate"), (TEST_FILE, "test")):
            path = run.folder / file
            if path.is_file():
                words = ["--config", path.relative_to(folder.path).as_posix(), "--run", f"NEW/{run.name}"]
                commands.append(shlex.join(["separatrix", command, *words]))
    texts = [
        (run.name, yaml.safe_dump(run.settings(), sort_keys=False, allow_unicode=True))
        for run in folder.runs
        if run.configuration
    ]
    if commands:
        title = "Commands, to be typed in the folder of the run; NEW is another one"
        blocks.append(Settings(title, [("commands", "\n".join(commands))]))
    if texts:
        blocks.append(Settings("Settings", texts))
    return blocks
