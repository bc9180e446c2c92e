"""`separatrix models`: the trained models that are included."""

from collections.abc import Callable
from statistics import fmean
from typing import Any

from experiments.command_line.configurations import config_options
from experiments.command_line.own_classes import own_imports
from experiments.command_line.parser import command_parser
from experiments.command_line.text import show_next
from experiments.tables import Table, table_console
from lightning_modules.exported_model import Card, read_card
from lightning_modules.pretrained import NONE_INCLUDED, pretrained_models

CLASSIFIER = "EventClassifier"
DESCRIPTION = "List the trained models that are included; `separatrix card NAME` shows the whole card of one."


def command(arguments: list[str]) -> None:
    """`separatrix models`."""
    command_parser("models", DESCRIPTION, "models").parse_args(arguments[1:])
    cards = {name: read_card(path) for name, path in pretrained_models().items()}
    if not cards:
        print(NONE_INCLUDED)
        return
    classifiers = {name: card for name, card in cards.items() if card["module"] == CLASSIFIER}
    separators = {name: card for name, card in cards.items() if name not in classifiers}
    _show("model", "sources", separators, {"SI-SDR improvement, dB": _improvement})
    precisions = {"average precision a frame": _precision("frame"), "a clip": _precision("clip")}
    _show("classifier", "classes", classifiers, precisions)
    show_next(
        [], [words for kind in (separators, classifiers) for name in list(kind)[:1] for words in uses(name, kind[name])]
    )


def uses(name: str, card: Card) -> list[list[str]]:
    """Commands that use an exported model; of a classifier only where it is one for the mixtures of `small`."""
    settings = card["hyper_parameters"]
    own = own_imports(settings)
    if card["module"] != CLASSIFIER:
        return [["separate", *own, "--model", name, "RECORDING.wav", "--output", "separated"]]
    spectrogram = tuple(settings.get(of) for of in ("sample_rate", "window", "hop"))
    if _corpus(card) != "UrbanSound8K" or settings.get("hierarchy") or spectrogram != (16000, 512, 128):
        return []
    row = config_options(f"weak_labels/{settings['supervision']}")
    root = ("--data.corpus.root", "UrbanSound8K")
    return [["fit", *own, *row, "--preset", "small", "--model.classifier", name, *root]]


def _show(kind: str, of: str, cards: dict[str, Card], scores: dict[str, Callable[[Card], str]]) -> None:
    """A table of the included models of a kind."""
    rows = [
        [name, *_described(card), *(score(card) for score in scores.values()), card["data_licence"] or ""]
        for name, card in cards.items()
    ]
    columns = (kind, of, "trained on", *scores, "recordings' licence")
    if rows:
        table_console().print(Table("", columns, rows, texts=len(columns)))


def _described(card: Card) -> list[str]:
    settings = card["hyper_parameters"]
    sources = settings.get("classes") or [f"{settings.get('sources', 2)} without names"]
    return [", ".join(map(str, sources)).replace("_", " "), _corpus(card)]


def _corpus(card: Card) -> str:
    """The class of the corpus that a model was trained on; empty where it is not known."""
    return str(((card["training"]["data"] or {}).get("corpus") or {}).get("class", ""))


def _improvement(card: Card) -> str:
    """The mean improvement over all classes where there is one, else the mean output SI-SDR."""
    rows = {row["quantity"]: row for row in _rows(card) if row.get("label") == "overall"}
    row = rows.get("improvement") or rows.get("output")
    return f"{row['mean']:+.1f}" if row else ""


def _precision(level: str) -> Callable[[Card], str]:
    """Mean over classes of the average precision at a level."""

    def shown(card: Card) -> str:
        found = [row["average_precision"] for row in _rows(card) if row["level"] == level]
        return f"{fmean(found):.2f}" if found else ""

    return shown


def _rows(card: Card) -> list[dict[str, Any]]:
    return card["scores"]["rows"] if card["scores"] else []
