"""What an exported model says of itself: a card of plain values, from the checkpoint and the run that it lies in.

What is not known is None, and nothing on a card is a path, a date or a name of a machine.
"""

import json
import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from callbacks.classifier_scores import CLASSIFIER_COLUMNS, CLASSIFIER_FILE
from callbacks.row_evaluation import SCORES_FILE
from callbacks.rows import each_row, index_of, value_of
from callbacks.summary import summarise
from experiments.command_line.configurations import read_configuration
from experiments.output.run_files import (
    CHECKPOINTS,
    CONFIGURATION_FILE,
    ENVIRONMENT_FILE,
    TEST_FILE,
    TESTED_FILE,
)
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import Card, weights_digest
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

# What can be exported: what has weights of its own and stands alone.
KINDS: tuple[type[SeparatrixModule], ...] = (WeakLabelSeparator, EventClassifier, DeepClustering)
# Of the recordings in the corpora that have a reader here.
LICENCES = {
    "UrbanSound8K": "CC BY-NC 3.0",
    "LibriSpeech": "CC BY 4.0",
    "MUSDB18": "academic use only",
    **dict.fromkeys(("Procedural", "ProceduralMusic", "ProceduralVoices"), "none: sounds made by formulas (MIT code)"),
}
CODE_LICENCE = "MIT"
# Settings of the trainer that decide what is learnt.
_OF_TRAINING = ("max_epochs", "precision", "accumulate_grad_batches", "gradient_clip_val", "devices", "num_nodes")
# Settings of the data that say something of a machine, not of the mixtures; and the corpora, which are told apart.
_LEFT_OUT = ("root", "bank_folder", "workers", "corpus", "corpora")


def new_card(checkpoint: Path) -> Card:
    """The card of a checkpoint, which needs no class of it.

    Args:
        checkpoint: its file; where it lies in a run's folder, that tells of the training and the scores.

    Raises:
        InputError: a file of the run is damaged.
    """
    contents = read_checkpoint(checkpoint)
    # The frozen judge is a file of the machine that trained; only trainings need it.
    settings = {
        name: None if name == "judge" else value
        for name, value in contents["hyper_parameters"].items()
        if not name.startswith("_")
    }
    run = checkpoint.resolve().parent.parent if checkpoint.resolve().parent.name == CHECKPOINTS else None
    configuration = _configuration(run, CONFIGURATION_FILE)
    if not _is_of(contents["hyper_parameters"], configuration):  # a checkpoint that was put there from elsewhere
        configuration = {}
    environment = _portable(_described(run, ENVIRONMENT_FILE), ("versions", "revision")) if configuration else {}
    return {
        "module": contents.get("module"),
        "hyper_parameters": settings,
        "training": {
            "epochs": _counted(contents.get("epoch"), first=1),
            "steps": _counted(contents.get("global_step")),
            "seed": _counted(configuration.get("seed_everything")),
            "trainer": _portable(configuration.get("trainer"), _OF_TRAINING) or None,
            "data": _data(configuration.get("data")),
            **{name: environment.get(name) for name in ("versions", "revision")},
        },
        "data_licence": known_licence(_settings(configuration.get("data")).get("corpus")),
        "code_licence": CODE_LICENCE,
        "scores": _scores(run, contents) if run else None,
        "exported_with": f"separatrix {version('separatrix')}",
    }


def known_licence(corpus: Any) -> str | None:
    """The licence of the recordings that a section `corpus` of a configuration names; None where it is not known."""
    package, _, name = _class_path(corpus).rpartition(".")
    if package.split(".")[0] not in ("", "separatrix", "datamodules"):  # somebody's own class may have the same name
        return None
    if name != "JoinedCorpora":
        return LICENCES.get(name)
    licences = [known_licence(part) for part in _joined(corpus)]
    return None if None in licences else "; ".join(dict.fromkeys(map(str, licences))) or None


def _configuration(run: Path | None, file: str) -> dict[str, Any]:
    """A run's configuration of that name; empty where there is none."""
    return read_configuration(str(run / file)) if run is not None and (run / file).is_file() else {}


def _is_of(settings: dict[str, Any], configuration: dict[str, Any]) -> bool:
    """Whether a configuration has a model of these settings."""
    stated = _settings(configuration.get("model"))
    return bool(stated) and all(settings[name] == stated[name] for name in settings.keys() & stated.keys())


def _described(run: Path | None, file: str) -> dict[str, Any]:
    """What a training or test in a run's folder said of itself."""
    if run is None or not (run / file).is_file():
        return {}
    try:
        described = json.loads((run / file).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{run / file}: not readable as JSON ({error}); remove it") from None
    return described if isinstance(described, dict) else {}


def _data(section: Any) -> dict[str, Any] | None:
    """What mixtures are made of: class and settings of the data and of its corpus."""
    if not _settings(section):
        return None
    corpus = _corpus(_settings(section).get("corpus"))
    return {"class": _class_name(section), "settings": _portable(_settings(section)), "corpus": corpus}


def _corpus(section: Any) -> dict[str, Any]:
    described = {"class": _class_name(section), "settings": _portable(_settings(section))}
    return described | ({"corpora": list(map(_corpus, _joined(section)))} if _joined(section) else {})


def _settings(section: Any) -> dict[str, Any]:
    settings = section.get("init_args") if isinstance(section, dict) else None
    return settings if isinstance(settings, dict) else {}


def _joined(corpus: Any) -> list[Any]:
    parts = _settings(corpus).get("corpora")
    return parts if isinstance(parts, list) else []


def _scores(run: Path, contents: dict[str, Any]) -> dict[str, Any] | None:
    """What a test of these weights left in the run's folder, and the mixtures that it was on."""
    if _described(run, TESTED_FILE).get("weights") != weights_digest(contents["state_dict"]):
        return None
    rows: list[dict[str, Any]]
    path = run / CLASSIFIER_FILE
    if path.is_file():
        rows = [_scored(path, row) for row in each_row(path, CLASSIFIER_COLUMNS)]
    else:
        path = run / SCORES_FILE
        # Parts are what an interrupted test leaves: the file beside them is an earlier one's.
        whole = path.is_file() and not path.with_suffix(".parts").exists()
        settings = contents["hyper_parameters"]
        classes = settings.get("classes") or [f"source_{number + 1}" for number in range(settings.get("sources", 2))]
        rows = [summary._asdict() for summary in summarise(path, classes)] if whole else []
    return {"data": _data(_configuration(run, TEST_FILE).get("data")), "rows": rows} if rows else None


def _scored(path: Path, row: dict[str, str]) -> dict[str, Any]:
    """A judge's scores of a class at a level; None where it has none."""
    scores = {name: value_of(path, row, name) if row[name] else None for name in CLASSIFIER_COLUMNS[3:6]}
    counts = {name: index_of(path, row, name) for name in CLASSIFIER_COLUMNS[6:]}
    return {"level": row["level"], "label": row["class"], **scores, **counts}


def _class_path(section: Any) -> str:
    path = section.get("class_path") if isinstance(section, dict) else section
    return path if isinstance(path, str) else ""


def _class_name(section: Any) -> str | None:
    return _class_path(section).rpartition(".")[2] or None


def _portable(settings: Any, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Those settings that mean something on another machine, of these names where they are given."""
    if not isinstance(settings, dict):
        return {}
    wanted = settings if names is None else [name for name in names if name in settings]
    return {name: settings[name] for name in wanted if name not in _LEFT_OUT and _travels(settings[name])}


def _travels(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _travels(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(_travels, value))
    if isinstance(value, str):
        return os.sep not in value
    return value is None or (isinstance(value, bool | int | float) and math.isfinite(value))


def _counted(number: Any, first: int = 0) -> int | None:
    """A whole number as a person counts it; None where it is none."""
    return number + first if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
