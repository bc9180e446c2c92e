"""`separatrix card`: what an exported model says of itself, as a table."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.command_line.parser import command_parser
from experiments.model_card import new_card
from experiments.sections import Section, terminal_table
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.exported_model import Card

UNKNOWN = "unknown"
SHOWN = ("supervision", "classes", "domain", "sources")  # settings with a line of their own


def read_card(path: str | Path) -> Card:
    """What an exported model says of itself, or what a checkpoint would say once it is exported.

    Args:
        path: of the file.

    Returns:
        Plain values, as in the file; None where something is not known.

    Raises:
        InputError: the file cannot be read.
    """
    card: Card | None = read_checkpoint(path).get("card")
    return card or new_card(Path(path))


def card_table(card: Card) -> Table:
    """A card for a terminal."""
    section = Section("", ("", ""), list(_lines(card)))
    table = terminal_table(section)
    table.show_header = False
    return table


def _lines(card: Card) -> Iterator[tuple[str, str]]:
    """Names and values, as a person would ask for them."""
    settings, training = card["hyper_parameters"], _part(card, "training")
    yield "model", _text(card.get("module"))
    for name in SHOWN:
        if name in settings:
            yield name, _text(settings[name])
    yield "settings", _pairs({name: value for name, value in settings.items() if name not in SHOWN})
    if weights := _part(card, "weights"):
        yield "weights", f"{_text(weights.get('numbers'))} of {_text(weights.get('type'))}"
    if half := _part(card, "half"):
        yield "float16", ", ".join(f"{name} {_number(value)}" for name, value in half.items())
    yield "learnt from", _data(training.get("data"), settings)
    yield "licence of that", _text(card.get("data_licence"))
    yield "licence of the code", _text(card.get("code_licence"))
    yield "training", f"{_text(training.get('epochs'))} epochs, {_text(training.get('steps'))} steps"
    yield "seed", _text(training.get("seed"))
    yield "trainer", _pairs(training.get("trainer"))
    yield "made with", _pairs(training.get("versions"))
    yield "revision", _text(training.get("revision"))
    yield "scores", "\n".join(_scores(card))
    yield "exported with", _text(card.get("exported_with"))


def _scores(card: Card) -> Iterator[str]:
    """A line for every quantity, a figure for every label; the card's JSON has more of them."""
    scores = _part(card, "scores")
    listed = scores.get("rows")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    if not rows:
        yield f"{UNKNOWN}: no test of these weights was the last in the run that the checkpoint lay in"
        return
    same = scores.get("data") == _part(card, "training").get("data")
    data = "what it learnt from" if same else _data(scores.get("data"), card["hyper_parameters"])
    measure = "SI-SDR" if "mean" in rows[0] else "average precision"
    yield f"{measure} on the test mixtures of {data}"
    quantities = [_text(row.get("quantity") or row.get("level")) for row in rows]
    for quantity in dict.fromkeys(quantities):
        figures = ", ".join(_figure(row) for row, own in zip(rows, quantities, strict=True) if own == quantity)
        yield f"{quantity}: {figures}"


def _figure(row: dict[str, Any]) -> str:
    """What is most worth knowing of a row."""
    score = _number(row.get("mean", row.get("average_precision")))
    deviation = f" ± {_number(row['std'])} dB" if "std" in row else ""
    return f"{_text(row.get('label'))} {score}{deviation} (n {_text(row.get('n'))})"


def _data(data: Any, settings: dict[str, Any]) -> str:
    """What mixtures are made of, but for what the model's own settings say."""
    if not isinstance(data, dict):
        return UNKNOWN
    further = {name: value for name, value in _part(data, "settings").items() if settings.get(name) != value}
    return f"{_corpus(_part(data, 'corpus'))} by {_text(data.get('class'))}: {_pairs(further)}"


def _corpus(corpus: dict[str, Any]) -> str:
    joined = corpus.get("corpora")
    if isinstance(joined, list):
        return " and ".join(_corpus(part) for part in joined if isinstance(part, dict))
    settings = _part(corpus, "settings")
    return _text(corpus.get("class")) + (f" ({_pairs(settings)})" if settings else "")


def _part(card: Any, name: str) -> dict[str, Any]:
    part = card.get(name)
    return part if isinstance(part, dict) else {}


def _pairs(values: Any) -> str:
    if not isinstance(values, dict):
        return UNKNOWN
    shown = ((name, json.dumps(value, ensure_ascii=False)) for name, value in values.items())
    return ", ".join(f"{name} {value}" for name, value in shown).replace('"', "")


def _text(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else _text(value)


def command(arguments: list[str]) -> None:
    """`separatrix card ...`."""
    text = "What an exported model says of itself; of a checkpoint, what it would say once it is exported."
    parser = command_parser("card", text, "card strong.safetensors")
    parser.add_argument("file", type=Path, help="an exported model or a checkpoint")
    parser.add_argument("--json", action="store_true", help="as JSON, with all that the table leaves out")
    given = parser.parse_args(arguments[1:])
    card = read_card(given.file)
    if given.json:
        print(json.dumps(card, indent=2))
    else:
        Console(emoji=False, highlight=False).print(card_table(card))
