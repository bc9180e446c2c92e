"""The tables of programmes, from rows alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.reproduction.model_selection_table import NAMES, interval
from experiments.tables import Cell, Table, formatted, table_console
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.scores.programmes import JOINS, REGIONS, Gain, Programmes, gains, read_programmes


def make_tables(rows: Path, text: Path, near: float) -> None:
    """Write the tables of a row file as Markdown, and print them; `near` is what is near a join, in seconds."""
    programmes = read_programmes(rows)
    found = list(gains(programmes))
    tables = [score_table(programmes), gain_table(found), joins_table(found, near)]
    write_text_atomically(text, "\n".join(table.markdown() for table in tables))
    table_console().print(*tables)


def score_table(programmes: Programmes) -> Table:
    """SI-SDR of every rule, in windows of every kind."""
    si_sdr = programmes.si_sdr[REGIONS[0]]
    scored = np.isfinite(si_sdr).all((1, 2))
    rows: list[list[str | Cell]] = [
        [
            rule_name(rule),
            *(formatted(float(si_sdr[scored, kind, number].mean()), "z.1f") for kind in range(si_sdr.shape[1])),
        ]
        for number, rule in enumerate(programmes.rules if scored.any() else ())
    ]
    notes = [
        f"Mean over {scored.sum()} segments of {programmes.programmes} programmes, each in the best order of its "
        "sources. The oracle picks for each window the model of highest SI-SDR in it.",
        *([f"Left out: {(~scored).sum()} segments without a score."] if not scored.all() else []),
    ]
    return Table("SI-SDR within recordings, dB", ["", *map(windows_name, programmes.windows)], rows, notes)


def gain_table(found: Sequence[Gain]) -> Table:
    """What picking one way gains over another."""
    rows: list[list[str | Cell]] = [
        [f"{rule_name(gain.rule)} - {rule_name(gain.reference)}", windows_name(gain.windows), *_cells(gain)]
        for gain in found
        if gain.reference != JOINS
    ]
    columns = ["difference, dB", "windows", "mean", "95 % interval", "segments", "recordings"]
    return Table("Gain between ways to pick", columns, rows, ["Intervals: pigeonhole bootstrap by recording."], texts=2)


def joins_table(found: Sequence[Gain], near: float) -> Table:
    """What it costs that windows know nothing of the joins."""
    rows: dict[tuple[str, str], list[str | Cell]] = {}
    for gain in found:
        if gain.reference == JOINS:
            cells = rows.setdefault((gain.rule, gain.windows), [rule_name(gain.rule), windows_name(gain.windows)])
            cells += _cells(gain)[:3]
    columns = ["difference, dB", "windows", *("near joins", "95 % interval", "segments") * 2]
    columns[5] = "far from them"
    notes = [f"From the separation that knows the joins, up to {near:g} s from a join and beyond."]
    return Table("The cost of joins that nobody knows of", columns, list(rows.values()), notes, texts=2)


def rule_name(rule: str) -> str:
    """What a rule, or a model that is used throughout, is called."""
    return NAMES.get(rule, f"{rule} model throughout")


def windows_name(windows: str) -> str:
    """What a kind of windows is called."""
    return "joins known" if windows == JOINS else f"{windows} s"


def _cells(gain: Gain) -> list[str | Cell]:
    mean = formatted(gain.mean, "+.2f")
    return [mean, interval(gain.low, gain.high, "+.2f"), str(gain.segments), str(gain.recordings)]
