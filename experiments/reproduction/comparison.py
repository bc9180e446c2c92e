"""Tables of several reproductions beside each other."""

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.reproduction import model_selection_table, weak_labels_table
from experiments.tables import Table, formatted
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles
from lightning_modules.scores.ensembles import MEAN
from lightning_modules.scores.rows import numbers, read_table
from lightning_modules.scores.summary import OVERALL

KEY = ["row", "class"]


def comparison(runs: list[Path]) -> list[Table]:
    """Mean ± standard deviation over reproductions by row and class, and the overall figures of each.

    Raises:
        InputError: there is one alone or twice, they are of different systems, or one has no table.
    """
    if len({run.resolve() for run in runs}) < max(len(runs), 2):
        raise InputError(f"{runs[-1]}: give folders of two different reproductions at least")
    found = {run: _figures(run) for run in runs}
    selects = {run: "oracle" in figures.index.get_level_values(0) for run, figures in found.items()}
    for run in runs:
        if selects[run] != selects[runs[0]]:
            raise InputError(f"{run}: of another system than {runs[0]}; compare reproductions of one system")
    figures = pd.concat(found, axis=1)
    rows, labels = (list(dict.fromkeys(figures.index.get_level_values(level))) for level in KEY)

    def name(row: str) -> str:
        weak = weak_labels_table.NAMES.get(row, f"Δ {row}")
        return model_selection_table.name_of(row, labels) if selects[runs[0]] else weak

    def cell(row: str, label: str) -> str:
        values = figures.loc[row, label].dropna() if (row, label) in figures.index else []
        spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
        return f"{np.mean(values):z.1f} ± {formatted(spread, 'z.1f')}" if len(values) else ""

    over = Table(
        "",
        ["dB", *(label.replace("_", " ") for label in labels)],
        [[name(row), *(cell(row, label) for label in labels)] for row in rows],
        [f"Means of {len(runs)} reproductions: mean ± standard deviation (n - 1) over them."],
    )
    total = MEAN if selects[runs[0]] else OVERALL
    of_all = figures.xs(total, level="class")
    each = [[name(row), *(formatted(value, "z.1f") for value in of_all.loc[row])] for row in of_all.index]
    return [over, Table("", [f"{total}, dB", *map(_title, runs)], each)]


def _figures(run: Path) -> pd.Series:
    """Means in dB of a reproduction by row and class."""
    path = RunFiles(run).table
    table = read_table(path, [*KEY, "mean_db"])
    if table[KEY].duplicated().any():
        raise InputError(f"{path}: a row has two figures of one class; make the table again")
    return table.assign(mean_db=numbers(path, table, ["mean_db"])).set_index(KEY)["mean_db"]


def _title(run: Path) -> str:
    return "/".join(run.resolve().parts[-2:])
