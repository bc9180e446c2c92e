"""Means, deviations and medians of a separator's rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lightning_modules.errors import InputError
from lightning_modules.scores import is_class
from lightning_modules.scores.rows import named_recordings, numbers, read_table

SCORE_COLUMNS = ("index", "class", "left_out", "input_si_sdr_db", "si_sdr_db", "improvement_db")
# Of the events of a row's class; rows of earlier versions lack it.
RECORDINGS = "recordings"
CLASSIFIER_COLUMNS = ("supervision", "level", "class", "average_precision", "f1", "accuracy", "n", "positives")
OVERALL = "overall"
# In dB, of what double precision can tell apart; beyond it even a mean or a square may not be finite.
LARGEST_SI_SDR = 1000.0
QUANTITIES = {"input": "input_si_sdr_db", "output": "si_sdr_db", "improvement": "improvement_db"}


class Summary(NamedTuple):
    """Statistics over the scored rows of one class, or of all.

    Attributes:
        quantity: `input` (SI-SDR of the mixture), `output` (of the estimate) or `improvement`.
        label: sound class; `overall`: all (mixture, class) rows pooled; or what is none: `residual`, a parent.
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


def summarise(path: Path, classes: Sequence[str]) -> list[Summary]:
    """Statistics of a file of scores, per class and overall; classes without a scored row are left out.

    Raises:
        InputError: the file holds no scores, or one that is not finite and nothing says why.
    """
    table = read_table(path, SCORE_COLUMNS)
    table = table[table["left_out"] == ""]
    values = numbers(path, table, list(QUANTITIES.values()))
    # An improvement is a difference of two scores.
    for row, column in np.argwhere(~(np.abs(values) <= 2 * LARGEST_SI_SDR))[:1]:
        label, index, name = table["class"].iloc[row], table["index"].iloc[row], list(QUANTITIES.values())[column]
        raise InputError(f"{path}: {label} in mixture {index} has no finite {name} and nothing says why")
    chosen = {label: (table["class"] == label).to_numpy() for label in classes}
    of_class = _of_class(table)
    others = table["class"][~of_class].unique()
    chosen |= {OVERALL: of_class} | {label: (table["class"] == label).to_numpy() for label in others}
    summaries = []
    for quantity, column in zip(QUANTITIES, values.T.copy(), strict=True):
        for label, rows in chosen.items():
            if rows.any():
                found = column[rows]
                mean, std, median = float(found.mean()), float(found.std()), float(np.median(found))
                summaries.append(Summary(quantity, label, mean, std, median, len(found)))
    return summaries


def class_rows(path: Path) -> pd.DataFrame:
    """The scored rows of a file that are of a class, all columns as text."""
    table = read_table(path, SCORE_COLUMNS)
    return table[(table["left_out"] == "") & _of_class(table)]


def _of_class(table: pd.DataFrame) -> np.ndarray:
    return np.array([is_class(label) for label in table["class"]], bool)


def improvements_by_row(path: Path) -> pd.DataFrame:
    """The classes' `improvement_db` and RECORDINGS by index and class; no rows where the file lacks recordings."""
    table = class_rows(path)
    table = table if RECORDINGS in table else table[:0].assign(**{RECORDINGS: ""})
    (improvements,) = numbers(path, table, ["improvement_db"]).T
    table = table.assign(improvement_db=improvements, **{RECORDINGS: table[RECORDINGS].map(named_recordings)})
    return table.set_index(["index", "class"])[["improvement_db", RECORDINGS]]


def left_out_counts(path: Path) -> dict[str, int]:
    """How many rows have no score, by reason."""
    reasons = read_table(path, ("left_out",))["left_out"]
    return {str(reason): int(count) for reason, count in reasons[reasons != ""].value_counts(sort=False).items()}
