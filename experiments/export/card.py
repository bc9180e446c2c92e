"""`separatrix card`: a model's card, from its exported file, or from the checkpoint and the run it lies in.

What is not known is None, and nothing on a card is a path, a date or a name of a machine.
"""

import contextlib
import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from experiments.command_line.configurations import read_configuration, settings_of
from experiments.command_line.parser import command_parser
from lightning_modules import exported_model
from lightning_modules.errors import printable
from lightning_modules.exported_model import Card
from lightning_modules.pretrained import model_file
from lightning_modules.run_files import RunFiles, evaluated_weights

# Of the recordings in the corpora that have a reader here.
LICENCES = {
    "UrbanSound8K": "CC BY-NC 3.0",
    "LibriSpeech": "CC BY 4.0",
    "MUSDB18": "academic use only",
    "ESC50": "CC BY-NC 3.0",
    "FSD50K": "CC BY 4.0, of single clips CC0, CC BY, CC BY-NC or Sampling+",
    **dict.fromkeys(
        ("Procedural", "ProceduralKinds", "ProceduralMusic", "ProceduralVoices"),
        "none: sounds made by formulas (MIT code)",
    ),
}
# Settings of the trainer that decide what the weights become.
OF_TRAINING = ("max_epochs", "precision", "accumulate_grad_batches", "gradient_clip_val", "devices", "num_nodes")
# Settings of the model that no estimate depends on; a test may be given others.
OF_LEARNING = {"classifier", "external_classifier", "joint_classifier", "optimizer", "scheduler", "scheduler_interval"}
# Settings of the data that say something of a machine, not of the mixtures.
OF_THE_MACHINE = ("root", "follow_links", "bank_folder", "workers")


def read_card(path: str | Path) -> Card:
    """The card of an exported model, or the one that a checkpoint would get.

    Returns:
        Plain values, as in the file; None where something is not known.

    Raises:
        InputError: the file, or one of the run that a checkpoint lies in, cannot be read.
    """
    with contextlib.suppress(Exception):  # a checkpoint, or damaged: then whoever reads checkpoints says how
        return exported_model.read_card(path)
    return _new_card(Path(path))


def _new_card(checkpoint: Path) -> Card:
    """The card of a checkpoint, which needs no class of it; the run's folder tells of the training and the scores."""
    from lightning_modules.checkpoint import read_checkpoint  # with torch, which an exported model's card does not need

    contents = read_checkpoint(checkpoint)
    stated = {name: value for name, value in contents["hyper_parameters"].items() if not name.startswith("_")}
    run = RunFiles(checkpoint.resolve().parent.parent)
    configuration = _read(run.configuration)
    settings = settings_of(configuration.get("model"))
    if any(stated[name] != settings[name] for name in stated.keys() & settings.keys()):
        configuration = {}  # of another model: the checkpoint was put there
    environment = _read(run.environment) if configuration else {}
    trainer, data = configuration.get("trainer", {}), configuration.get("data")
    epoch, step = (n if isinstance(n, int) else None for n in map(contents.get, ("epoch", "global_step")))
    return {
        "module": contents.get("module"),
        # The classifier is a file of the machine that trained; only trainings need it.
        "hyper_parameters": stated | dict.fromkeys({"classifier", "external_classifier"} & stated.keys()),
        "training": {
            "epochs": None if epoch is None else epoch + 1,
            "steps": step,
            "seed": configuration.get("seed_everything"),
            "trainer": {name: trainer[name] for name in OF_TRAINING if name in trainer} or None,
            "data": _described(data),
            **{name: environment.get(name) for name in ("versions", "revision")},
        },
        "data_licence": licence(settings_of(data).get("corpus")),
        "code_licence": "MIT",
        "scores": _scores(run, contents["state_dict"], stated),
        "exported_with": f"separatrix {version('separatrix')}",
    }


def licence(corpus: Any) -> str | None:
    """Of the recordings of a corpus, a section of a resolved configuration; None where it is not known."""
    package, _, name = corpus["class_path"].rpartition(".") if corpus else ("", "", "")
    if not package.startswith(("separatrix", "datamodules")):  # somebody's own class may have the same name
        return None
    licences = list(map(licence, settings_of(corpus)["corpora"])) if name == "JoinedCorpora" else [LICENCES.get(name)]
    return None if None in licences else "; ".join(dict.fromkeys(map(str, licences)))


def _read(path: Path) -> dict[str, Any]:
    """A file of the run, YAML or JSON, which is YAML; empty where there is none."""
    return read_configuration(str(path)) if path.is_file() else {}


def _described(section: Any) -> dict[str, Any] | None:
    """Class of data or of a corpus, settings that mean something on another machine, and the corpora in it."""
    if not section:
        return None
    settings = {name: value for name, value in settings_of(section).items() if name not in OF_THE_MACHINE}
    parts: Card = {"corpus": _described(settings.pop("corpus"))} if "corpus" in settings else {}
    parts |= {"corpora": list(map(_described, settings.pop("corpora")))} if "corpora" in settings else {}
    portable = {name: value for name, value in settings.items() if os.sep not in json.dumps(value)}
    return {"class": section["class_path"].rpartition(".")[2], "settings": portable, **parts}


def _scores(run: RunFiles, weights: dict[str, Any], stated: dict[str, Any]) -> dict[str, Any] | None:
    """What a test of these very weights left in the run's folder, and the data that it was on."""
    # Parts are what an interrupted test leaves: the file beside them is an earlier one's.
    if run.parts(run.scores).exists() or evaluated_weights(run.tested) != exported_model.weights_digest(weights):
        return None
    tested = settings_of(_read(run.test).get("model"))
    if any(stated[name] != tested[name] for name in stated.keys() & tested.keys() - OF_LEARNING):
        return None  # of the same weights used otherwise
    import pandas

    files = [path for path in (run.summary, run.classifier_scores) if path.is_file()]
    if not files:
        return None
    rows = pandas.read_csv(
        files[0], keep_default_na=False, na_values=[""], dtype=dict.fromkeys(("class", "label"), str)
    )
    rows = rows.drop(columns="supervision", errors="ignore").rename(columns={"class": "label"})
    rows = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return {"data": _described(_read(run.test).get("data")), "rows": rows}


def shown(card: Card) -> str:
    """A card, anybody's, as YAML: licence and scores first, of these one figure a label; settings that are set."""
    first: Card = {name: card[name] for name in ("module", "data_licence", "code_licence") if name in card}
    details = {name: _set_ones(value) for name, value in card.items() if name not in (*first, "scores", "format")}
    figures = {**first, "scores": _figures(card.get("scores")), **details}
    text = yaml.safe_dump(figures, sort_keys=False, allow_unicode=True, default_flow_style=None, width=42)
    return "\n".join(map(printable, text.splitlines()))


def _set_ones(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _set_ones(inner) for name, inner in value.items() if inner is not None}


def _figures(scores: Any) -> Any:
    figures: dict[str, dict[str, Any]] = {}
    numbers: dict[str, dict[str, Any]] = {}
    try:
        for row in scores["rows"]:
            if "mean" in row:
                counted, name = "rows", f"{row['quantity']}_db"
                figure = f"{row['mean']:z.1f}±{row['std']:.1f}"
            else:
                counted, name = f"{row['level']}s", f"{row['level']}_average_precision"
                figure = row["average_precision"] and round(row["average_precision"], 3)
            figures.setdefault(name, {})[row["label"]] = figure
            numbers.setdefault(counted, {})[row["label"]] = row["n"]
        corpus = ((scores["data"] or {}).get("corpus") or {}).get("class")
        return {"corpus": corpus, **figures, **numbers}
    except (TypeError, KeyError, ValueError):  # none, or not of this project's making
        return scores


def command(arguments: list[str]) -> None:
    """`separatrix card ...`."""
    text = "Show the card of an exported model, or the one that a checkpoint would get."
    parser = command_parser("card", text, "card urban", "card strong.safetensors")
    parser.add_argument("file", help="an exported model, a checkpoint, or the name of an included model")
    parser.add_argument("--json", action="store_true", help="as JSON, with more of its scores")
    given = parser.parse_args(arguments[1:])
    card = read_card(model_file(given.file))
    print(json.dumps(card, indent=2) if given.json else shown(card))
