"""What lies in the folder that a report is of: a reproduction, or a single run."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.command_line.configurations import class_name, read_configuration, settings_of
from experiments.reproduction.sources import DOMAINS
from experiments.reproduction.weak_labels_table import CLASSIFIERS, ROWS
from lightning_modules.errors import InputError
from lightning_modules.run_files import (
    CLASSIFIER_FILE,
    CONFIGURATION_FILE,
    SCORES_FILE,
    TEST_FILE,
    TESTED_FILE,
    VALIDATION_FILE,
    RunFiles,
)

CONFIGURATIONS = (CONFIGURATION_FILE, TEST_FILE, VALIDATION_FILE)  # of a training; of what learns nothing
SELECTION = "selection"
# Where things lie on the machine of the run is no part of what it is.
_PLACES = ("root", "bank_folder", "checkpoints", "classifier")


@dataclass(frozen=True)
class Run:
    """The folder of one training or evaluation."""

    folder: Path
    name: str  # its path within the folder that the report is of, or that folder's own name

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The resolved configuration: of the training, else of the evaluation; empty where there is none."""
        found = [path for name in CONFIGURATIONS if (path := self.folder / name).is_file()]
        return read_configuration(str(found[0])) if found else {}

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """The resolved configuration of its test, which may be of other data; where it left none, `configuration`."""
        path = self.folder / TEST_FILE
        return read_configuration(str(path)) if path.is_file() else self.configuration

    def described(self, file: str) -> dict[str, Any]:
        """What a run wrote down of itself as JSON; empty where it did not, or not readably."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            content = json.loads((self.folder / file).read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        return {}

    @property
    def files(self) -> RunFiles:
        """Its checkpoints, rows and summaries."""
        return RunFiles(self.folder)

    @property
    def model(self) -> str:
        """Name of the model's class, such as `WeakLabelSeparator`; empty where nothing says it."""
        return class_name(self.section("model")) or ""

    @property
    def precision(self) -> str:
        """In which its test computed; empty where nothing says it."""
        return str(self.described(TESTED_FILE).get("precision") or self.section("trainer").get("precision") or "")

    def setting(self, section: str, name: str) -> Any:
        """A setting of the model or of the data that it was trained with."""
        return settings_of(self.configuration.get(section)).get(name)

    def tested(self, name: str, default: Any = None) -> Any:
        """A setting of the data that it was tested on."""
        return settings_of(self.evaluation.get("data")).get(name, default)

    def settings(self) -> dict[str, Any]:
        """What makes the run again: seed, model, data and length of training, without places on its machine."""
        trainer = self.section("trainer")
        kept = {name: trainer.get(name) for name in ("max_epochs", "precision", "gradient_clip_val")}
        sections = {name: without_places(self.section(name)) for name in ("model", "data")}
        return {"seed_everything": self.configuration.get("seed_everything"), "trainer": kept, **sections}

    def section(self, name: str) -> dict[str, Any]:
        """Of the configuration: `model`, `data` or `trainer`; empty where there is none."""
        section = self.configuration.get(name)
        return section if isinstance(section, dict) else {}


def without_places(value: Any) -> Any:
    """Settings without those that say where things lie."""
    if isinstance(value, dict):
        return {name: without_places(inner) for name, inner in value.items() if name not in _PLACES}
    return value


@dataclass(frozen=True)
class RunFolder:
    """What a report is of: a reproduction, or a single run."""

    path: Path
    system: str  # `weak-labels`, `model-selection` or `run`
    runs: tuple[Run, ...]  # in the order in which a report speaks of them

    def __post_init__(self) -> None:
        for run in self.runs:
            run.configuration, run.evaluation  # noqa: B018  (a damaged one is refused at once, and read once)

    @property
    def what(self) -> str:
        """What it holds, in words."""
        names = ", ".join(run.name for run in self.runs)
        return f"a run, {names}" if self.system == "run" else f"a reproduction of {self.system}, runs {names}"

    @property
    def title(self) -> str:
        """What it is called: the end of its path, such as `small/weak-labels`."""
        return "/".join(self.path.resolve().parts[-2:])

    def named(self, names: Sequence[str]) -> list[Run]:
        """Those of the names that are there, in the order of the names."""
        return [run for name in names for run in self.runs if run.name == name]


def open_run_folder(path: Path) -> RunFolder:
    """Find out what a folder holds; InputError where it holds no run."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; give that of a run, such as runs/demo/weak-labels")
    if any((path / name).is_file() for name in CONFIGURATIONS):
        return RunFolder(path, "run", (Run(path, path.resolve().name),))
    folders = sorted(entry for entry in (*path.iterdir(), *path.glob(f"{SELECTION}/*")) if entry.is_dir())
    runs = [Run(folder, folder.relative_to(path).as_posix()) for folder in folders]
    order = (*CLASSIFIERS, *ROWS, *DOMAINS, *(f"{SELECTION}/{domain}" for domain in DOMAINS))
    place = {name: number for number, name in enumerate(order)}
    runs = sorted(filter(_is_run, runs), key=lambda run: place.get(run.name, len(place)))
    if any(run.name.startswith(f"{SELECTION}/") for run in runs):
        return RunFolder(path, "model-selection", tuple(runs))
    if any(run.name in (*CLASSIFIERS, *ROWS) for run in runs):
        return RunFolder(path, "weak-labels", tuple(runs))
    raise InputError(
        f"{path}: neither a run (with config.yaml or test.yaml) nor a reproduction of such; "
        "give a folder made by `separatrix reproduce`, or by `fit` and `test` with --run"
    )


def _is_run(run: Run) -> bool:
    return any((run.folder / name).is_file() for name in (*CONFIGURATIONS, SCORES_FILE, CLASSIFIER_FILE))
