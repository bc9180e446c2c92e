"""Tables of several reproductions beside each other."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.reproduction import model_selection_table, weak_labels_table
from experiments.tables import Table, formatted
from lightning_modules.errors import InputError, listed
from lightning_modules.run_files import RunFiles
from lightning_modules.scores.ensembles import MEAN
from lightning_modules.scores.rows import numbers, read_table
from lightning_modules.scores.summary import OVERALL

KEY = ["row", "class"]
OF_NO_OTHER = ("--seed_everything", "--data.seed", "--data.corpus.root", "--trainer.devices", "--trainer.accelerator")


def comparison(runs: list[Path]) -> list[Table]:
    """Mean ± standard deviation by row and class over reproductions of one configuration, and overall figures of each.

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
    labels = list(dict.fromkeys(figures.index.get_level_values("class")))

    def name(row: str) -> str:
        weak = weak_labels_table.NAMES.get(row, f"Δ {row}")
        return model_selection_table.name_of(row, labels) if selects[runs[0]] else weak

    configurations = {run: _configuration(run) for run in runs}
    groups: list[list[Path]] = []  # of one configuration each
    for run in runs:
        alike = [group for group in groups if not _differing(configurations[group[0]], configurations[run])]
        alike[0].append(run) if alike else groups.append([run])
    total = MEAN if selects[runs[0]] else OVERALL
    of_all = figures.xs(total, level="class")
    each = [[name(row), *(formatted(value, "z.1f") for value in of_all.loc[row])] for row in of_all.index]
    others = [
        f"{_title(group[0])}: another configuration than {_title(runs[0])}; "
        f"{listed(_differing(configurations[runs[0]], configurations[group[0]]))}."
        for group in groups[1:]
    ]
    means = [_means(figures[group], name, labels) for group in groups if len(group) > 1]
    return [*means, Table("", [f"{total}, dB", *map(_title, runs)], each, others)]


def _means(figures: pd.DataFrame, name: Callable[[str], str], labels: list[str]) -> Table:
    """Mean and deviation of every figure over reproductions, a column each."""
    runs = list(figures.columns)
    figures = figures.dropna(how="all")

    def cell(row: str, label: str) -> str:
        values = figures.loc[row, label].dropna() if (row, label) in figures.index else []
        spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
        fewer = f" ({len(values)})" if len(values) < len(runs) else ""
        return f"{np.mean(values):z.1f} ± {formatted(spread, 'z.1f')}{fewer}" if len(values) else ""

    rows = dict.fromkeys(figures.index.get_level_values("row"))
    return Table(
        "",
        ["dB", *(label.replace("_", " ") for label in labels)],
        [[name(row), *(cell(row, label) for label in labels)] for row in rows],
        [
            f"{', '.join(map(_title, runs))}: mean ± standard deviation (n - 1) over n = {len(runs)} reproductions, "
            "over fewer where brackets say how many."
        ],
    )


def _configuration(run: Path) -> dict[tuple[str, str], str]:
    """Settings of a reproduction's stages but for seeds and places, as its records have them."""
    found: dict[tuple[str, str], str] = {}
    for path in (*run.glob("*/*.*.json"), *run.glob("selection/*/*.*.json")):  # stages are named RUN.COMMAND
        with contextlib.suppress(OSError, ValueError, AttributeError):
            settings = json.loads(path.read_text()).get("settings", {})
            found |= {(path.stem, name): str(value) for name, value in settings.items() if name not in OF_NO_OTHER}
    return found


def _differing(one: dict[tuple[str, str], str], other: dict[tuple[str, str], str]) -> list[str]:
    """Names of settings that two reproductions have otherwise, in stages of both."""
    stages = {stage for stage, _ in one} & {stage for stage, _ in other}
    both = dict.fromkeys([*one, *other])
    return list(dict.fromkeys(key[1] for key in both if key[0] in stages and one.get(key) != other.get(key)))


def _figures(run: Path) -> pd.Series:
    """Means in dB of a reproduction by row and class."""
    path = RunFiles(run).table
    table = read_table(path, [*KEY, "mean_db"])
    if table[KEY].duplicated().any():
        raise InputError(f"{path}: a row has two figures of one class; make the table again")
    return table.assign(mean_db=numbers(path, table, ["mean_db"])).set_index(KEY)["mean_db"]


def _title(run: Path) -> str:
    return "/".join(run.resolve().parts[-2:])
