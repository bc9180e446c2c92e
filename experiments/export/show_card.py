"""`separatrix card`: what an exported model says of itself, to read."""

import json
from typing import Any

import yaml

from experiments.command_line.parser import command_parser
from experiments.export.card import read_card
from lightning_modules.errors import printable
from lightning_modules.exported_model import Card
from lightning_modules.pretrained import model_file


def shown(card: Card) -> str:
    """A card as YAML, of its scores one figure a label; it may be anybody's."""
    figures = {**card, "scores": _figures(card.get("scores"))}
    text = yaml.safe_dump(figures, sort_keys=False, allow_unicode=True, default_flow_style=None, width=40)
    return "\n".join(map(printable, text.splitlines()))


def _figures(scores: Any) -> Any:
    figures: dict[str, dict[str, Any]] = {}
    try:
        for row in scores["rows"]:
            if "mean" in row:
                name, figure = f"{row['quantity']}_db", f"{row['mean']:.1f}±{row['std']:.1f}"
            else:
                name, figure = f"{row['level']}_average_precision", row["average_precision"]
            figures.setdefault(name, {})[row["label"]] = figure
        return {"data": scores["data"], **figures}
    except (TypeError, KeyError, ValueError):  # none, or not of this project's making
        return scores


def command(arguments: list[str]) -> None:
    """`separatrix card ...`."""
    text = "What an exported model says of itself; of a checkpoint, what it would say once it is exported."
    parser = command_parser("card", text, "card urban", "card strong.safetensors")
    parser.add_argument("file", help="an exported model, a checkpoint, or the name of a model that ships")
    parser.add_argument("--json", action="store_true", help="as JSON, with more of its scores")
    given = parser.parse_args(arguments[1:])
    card = read_card(model_file(given.file))
    print(json.dumps(card, indent=2) if given.json else shown(card))
