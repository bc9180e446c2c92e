"""The table of the weak-label paper, ours beside the published one, from rows alone."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from experiments.sections import Section, markdown, table_console, terminal_table
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.scores.rows import read_rows, value_of, write_rows
from lightning_modules.scores.summary import (
    CLASSIFIER_COLUMNS,
    CLASSIFIER_FILE,
    OVERALL,
    SCORE_COLUMNS,
    SCORES_FILE,
    Summary,
    left_out_counts,
    summarise,
)

ROWS = ("input", "clip", "frame", "strong", "gate", "ideal_ratio_mask")
JUDGES = ("judge_frame", "judge_clip")
PUBLISHED = Path(__file__).parents[1] / "published" / "weak_labels.csv"
TABLE_COLUMNS = ("row", "class", "mean_db", "std_db", "median_db", "n", "published_mean_db", "published_std_db")
NAMES = {
    "input": "input SI-SDR",
    "clip": "Δ clip labels",
    "frame": "Δ frame labels",
    "strong": "Δ strong labels",
    "gate": "Δ gate (truth, not learnt)",
    "ideal_ratio_mask": "Δ ideal ratio mask (truth)",
}


class Cell(NamedTuple):
    """One cell of the table: ours, and the published mean and standard deviation where there is one."""

    row: str
    label: str
    ours: Summary
    published: tuple[float, float] | None


def make_table(output: Path, note: str = "") -> None:
    """Write table.csv, table.md, scores.csv and classifier.csv of a reproduction, and print the table.

    Args:
        output: folder of the reproduction; each row's scores lie in `output`/ROW/scores.csv.
        note: what the figures are of.
    """
    systems = ROWS[1:]
    write_rows(
        output / SCORES_FILE,
        ("row", *SCORE_COLUMNS),
        (
            (row, *(line[column] for column in SCORE_COLUMNS))
            for row in systems
            for line in read_rows(output / row / SCORES_FILE, SCORE_COLUMNS)
        ),
    )
    judged = [line for judge in JUDGES for line in read_rows(output / judge / CLASSIFIER_FILE, CLASSIFIER_COLUMNS)]
    write_rows(
        output / CLASSIFIER_FILE,
        CLASSIFIER_COLUMNS,
        ([line[column] for column in CLASSIFIER_COLUMNS] for line in judged),
    )
    # A judge has a row for every class, in the order of the settings; a mixture only for those that it holds.
    classes = list(dict.fromkeys(line["class"] for line in judged))
    cells = table_cells({row: output / row / SCORES_FILE for row in systems}, classes)
    write_rows(
        output / "table.csv",
        TABLE_COLUMNS,
        [(c.row, c.label, c.ours.mean, c.ours.std, c.ours.median, c.ours.n, *(c.published or ("", ""))) for c in cells],
    )
    left_out = {row: left_out_counts(output / row / SCORES_FILE) for row in systems}
    scores = score_section(cells, left_out)
    parts = (note and f"{note}\n", markdown(scores), markdown(percentile_section(output)))
    write_text_atomically(output / "table.md", "\n".join(filter(None, parts)))
    _print(scores, note)


def table_cells(scores: Mapping[str, Path], classes: Sequence[str]) -> list[Cell]:
    """Every cell that has a scored row, those of the mixture first.

    Args:
        scores: the row files of the systems, in the order of the table's rows.
        classes: sound classes.
    """
    published = {
        (line["row"], line["class"]): (float(line["mean_db"]), float(line["std_db"])) for line in read_rows(PUBLISHED)
    }
    if {label for _, label in published} != {*classes, OVERALL}:
        published = {key: figures for key, figures in published.items() if key[1] != OVERALL}  # of other classes
    cells = []
    for row in ("input", *scores):
        # Every system was scored on the same mixtures; the mixture itself is in each system's rows.
        quantity, system = ("input", next(iter(scores))) if row == "input" else ("improvement", row)
        cells += [
            Cell(row, summary.label, summary, published.get((row, summary.label)))
            for summary in summarise(scores[system], classes)
            if summary.quantity == quantity
        ]
    return cells


def score_section(cells: Sequence[Cell], left_out: Mapping[str, Mapping[str, int]]) -> Section:
    """Mean ± standard deviation in dB by row and class, the published figures in brackets.

    Args:
        cells: of the table.
        left_out: how many rows of each system have no score, by the reason.
    """
    labels = list(dict.fromkeys(cell.label for cell in cells))
    rows = []
    for row in ROWS:
        shown = {cell.label: _text(cell) for cell in cells if cell.row == row}
        rows.append([NAMES[row], *(shown.get(label, "") for label in labels)])
    counts = {cell.label: cell.ours.n for cell in cells if cell.row == "input"}
    rows.append(["n", *(str(counts.get(label, 0)) for label in labels)])
    remarks = ["Mean ± standard deviation over (mixture, class) rows; in brackets the published figures (ICASSP 2020)."]
    for row, reasons in left_out.items():
        if reasons:
            counted = ", ".join(f"{n} rows ({why})" for why, n in reasons.items())
            remarks.append(f"Left out of {row}: {counted}.")
    return Section("", ["dB", *(label.replace("_", " ") for label in labels)], rows, remarks)


def percentile_section(output: Path) -> Section:
    """How the output SI-SDR of each system is distributed over its rows: where weak labels keep up, and where not."""
    shares = (5, 25, 50, 75, 95)
    rows = []
    for row in ROWS[1:]:
        path = output / row / SCORES_FILE
        values = [value_of(path, line, "si_sdr_db") for line in read_rows(path, SCORE_COLUMNS) if not line["left_out"]]
        points = [f"{value:.1f}" for value in np.percentile(values, shares)] if values else [""] * len(shares)
        rows.append([NAMES[row].removeprefix("Δ "), *points])
    header = ["output SI-SDR, dB", *(f"{share} %" for share in shares)]
    return Section("", header, rows, ["Percentiles over (mixture, class) rows."])


def _text(cell: Cell) -> str:
    ours = f"{cell.ours.mean:.1f} ± {cell.ours.std:.1f}"
    return ours if cell.published is None else f"{ours} [{cell.published[0]:.1f} ± {cell.published[1]:.1f}]"


def _print(scores: Section, note: str) -> None:
    console = table_console()
    # A published figure stands below ours: side by side the columns would be too many for a terminal.
    rows = [[cell.replace(" [", "\n[").replace("± ", "±") for cell in row] for row in scores.rows]
    shown = scores._replace(title="ours [published]", rows=rows)
    if Console(width=1000).measure(terminal_table(shown)).maximum > console.width:
        shown = shown._replace(rows=[[re.sub(r" ±[\d.]+", "", cell) for cell in row] for row in rows])
        note = f"The terminal is too narrow for standard deviations: they are in table.md.\n{note}"
    console.print(terminal_table(shown))
    if note:
        console.print(note.rstrip(), markup=False)
