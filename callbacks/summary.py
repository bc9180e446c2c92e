"""Means, deviations and medians of row files."""

from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.markup import escape
from rich.table import Table

from callbacks.rows import LARGEST_SI_SDR, each_row, value_of
from lightning_modules.errors import InputError

OVERALL = "overall"


class Summary(NamedTuple):
    """Statistics over the scored rows of one class, or of all.

    Attributes:
        quantity: `input` (SI-SDR of the mixture), `output` (of the estimate) or `improvement`.
        label: sound class, or `overall`: all (mixture, class) rows pooled.
        mean: in dB.
        std: population standard deviation over rows, in dB.
        median: in dB.
        n: number of rows.
    """

    quantity: str
    label: str
    mean: float
    std: float
    median: float
    n: int


_COLUMNS = {"input": "input_si_sdr_db", "output": "si_sdr_db", "improvement": "improvement_db"}


def summarise(path: Path, classes: Sequence[str]) -> list[Summary]:
    """Statistics of a file of scores, per class and overall; classes without a scored row are left out.

    Raises:
        InputError: the file holds no scores, or one that is not finite and nothing says why.
    """
    numbers: dict[str, int] = {}  # by class
    of_row, scores = array("q"), array("d")
    for row in each_row(path, ("index", "class", "left_out", *_COLUMNS.values())):
        if row["left_out"]:
            continue
        of_row.append(numbers.setdefault(row["class"], len(numbers)))
        for column in _COLUMNS.values():
            score = value_of(path, row, column)
            if not abs(score) <= 2 * LARGEST_SI_SDR:  # an improvement is a difference of two
                raise InputError(
                    f"{path}: {row['class']} in mixture {row['index']} has no finite {column} and nothing says why"
                )
            scores.append(score)
    class_of_row, by_quantity = np.array(of_row), np.array(scores).reshape(-1, len(_COLUMNS)).T.copy()
    summaries = []
    for quantity, all_values in zip(_COLUMNS, by_quantity, strict=True):
        for label in (*classes, OVERALL):
            values = all_values if label == OVERALL else all_values[class_of_row == numbers.get(label, -1)]
            if len(values):
                summaries.append(
                    Summary(
                        quantity,
                        label,
                        float(values.mean()),
                        float(values.std()),
                        float(np.median(values)),
                        len(values),
                    )
                )
    return summaries


def left_out_counts(path: Path) -> dict[str, int]:
    """How many rows have no score, by reason."""
    return dict(Counter(row["left_out"] for row in each_row(path, ("left_out",)) if row["left_out"]))


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Means ± standard deviations, classes across, for a terminal."""
    labels = list(dict.fromkeys(summary.label for summary in summaries))
    table = Table("SI-SDR, dB", *map(escape, labels))
    for quantity in dict.fromkeys(summary.quantity for summary in summaries):
        cells = {s.label: f"{s.mean:.1f} ± {s.std:.1f}" for s in summaries if s.quantity == quantity}
        table.add_row(quantity, *(cells.get(label, "") for label in labels))
    medians = {s.label: f"{s.median:.1f}" for s in summaries if s.quantity == "improvement"}
    table.add_row("median improvement", *(medians.get(label, "") for label in labels))
    table.add_row("n", *(str(next((s.n for s in summaries if s.label == label), 0)) for label in labels))
    return table
