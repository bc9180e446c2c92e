"""`separatrix models`: the trained models that are included."""

from typing import Any

from experiments.command_line.parser import command_parser
from experiments.command_line.text import show_next
from experiments.tables import Table, table_console
from lightning_modules.exported_model import Card, read_card
from lightning_modules.pretrained import NONE_INCLUDED, pretrained_models

DESCRIPTION = "List the trained models that are included; `separatrix card NAME` shows the whole card of one."


def command(arguments: list[str]) -> None:
    """`separatrix models`."""
    command_parser("models", DESCRIPTION, "models").parse_args(arguments[1:])
    models = pretrained_models()
    if not models:
        print(NONE_INCLUDED)
        return
    rows = [[name, *_described(read_card(path))] for name, path in models.items()]
    table_console().print(
        Table("", ("model", "sources", "trained on", "SI-SDR improvement, dB", "recordings' licence"), rows, texts=5)
    )
    show_next(
        [], [["separate", "--model", name, "RECORDING.wav", "--output", "separated"] for name in list(models)[:1]]
    )


def _described(card: Card) -> list[str]:
    settings = card["hyper_parameters"]
    sources = settings.get("classes") or [f"{settings.get('sources', 2)} in {settings.get('domain')}"]
    corpus = ((card["training"]["data"] or {}).get("corpus") or {}).get("class", "")
    return [", ".join(map(str, sources)).replace("_", " "), corpus, _score(card["scores"]), card["data_licence"] or ""]


def _score(scores: dict[str, Any] | None) -> str:
    """The mean improvement over all classes where there is one, else the mean output SI-SDR."""
    rows = {row["quantity"]: row for row in (scores or {"rows": []})["rows"] if row.get("label") == "overall"}
    row = rows.get("improvement") or rows.get("output")
    return f"{row['mean']:+.1f}" if row else ""
