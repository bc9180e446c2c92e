"""The figure of README.md: the figures of both systems beside the published ones, from their tables.

python -m experiments.reproduction.overview_figure RUNS docs/images/small.png

RUNS holds the folders `weak-labels` and `model-selection` of two reproductions, or one of them.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_modules.run_files import RunFiles
from lightning_modules.scores.figures import PALETTE, write_figure

# By the folder of the reproduction: the title, the quantity, the rows of its table with their names, and the columns.
PANELS = {
    "weak-labels": (
        "Separation from weak labels",
        "SI-SDR improvement, dB",
        {"clip": "clip labels", "frame": "frame labels", "strong": "isolated sources"},
        ["car_horn", "dog_bark", "gun_shot", "jackhammer", "siren", "overall"],
    ),
    "model-selection": (
        "Model selection",
        "SI-SDR, dB",
        {
            "random": "random choice",
            "confidence": "confidence",
            "calibrated": "calibrated confidence",
            "oracle": "best of the three (oracle)",
        },
        ["speech", "music", "environmental", "mean"],
    ),
}


def draw(axes: Axes, table: pd.DataFrame, title: str, quantity: str, rows: dict[str, str], columns: list[str]) -> None:
    """Bars of a table's figures, each with a mark at the published figure, where there is one."""
    cells = table.set_index(["row", "class"]).reindex(pd.MultiIndex.from_product([rows, columns]))
    ours, published = cells[["mean_db", "published_mean_db"]].to_numpy().reshape(len(rows), len(columns), 2).T
    width = 0.8 / len(rows)
    places = np.arange(len(columns))[:, None] - 0.4 + width * (np.arange(len(rows)) + 0.5)
    for number, name in enumerate(rows.values()):
        axes.bar(places[:, number], ours[:, number], width * 0.92, color=PALETTE[number], label=name)
    known = ~np.isnan(published)
    axes.scatter(places[known], published[known], s=70, marker="_", color="black", linewidths=1.5, label="published")
    axes.axhline(0, color="black", linewidth=0.8)
    counts = cells["n"].fillna(0).astype(int)
    names = [f"{column.replace('_', ' ')}\nn = {n}" for column, n in zip(columns, counts, strict=False)]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(quantity)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)


def overview_figure(runs: Path) -> Figure:
    """The systems that have a table, side by side, on white: readable on a dark page, too."""
    panels = {table: panel for folder, panel in PANELS.items() if (table := RunFiles(runs / folder).table).is_file()}
    figure = Figure(figsize=(5.5 * len(panels), 4.4), layout="constrained", facecolor="white", dpi=130)
    for axes, (table, panel) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        draw(axes, pd.read_csv(table), *panel)
    return figure


if __name__ == "__main__":
    write_figure(Path(sys.argv[2]), overview_figure(Path(sys.argv[1])))
