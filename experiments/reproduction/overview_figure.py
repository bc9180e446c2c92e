"""The figure of README.md: what both systems reached, beside the published figures, from their tables.

python -m experiments.reproduction.overview_figure RUNS docs/images/small.png

RUNS holds the folders `weak-labels` and `model-selection` of two reproductions.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_modules.run_files import RunFiles
from lightning_modules.scores.figures import PALETTE, write_figure
from lightning_modules.scores.rows import read_rows, value_of


class Bars(NamedTuple):
    """One panel.

    Attributes:
        table: file that it is made from.
        title: above it.
        quantity: beside the axis.
        rows: of the table, and what they are called.
        columns: of the table, and what the last of them is called.
    """

    table: Path
    title: str
    quantity: str
    rows: dict[str, str]
    columns: Sequence[str]


def panels(runs: Path) -> tuple[Bars, Bars]:
    """What is shown of each system."""
    return (
        Bars(
            RunFiles(runs / "weak-labels").table,
            "Separation from weak labels",
            "SI-SDR improvement, dB",
            {"clip": "clip labels", "frame": "frame labels", "strong": "isolated sources"},
            ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren", "overall"),
        ),
        Bars(
            RunFiles(runs / "model-selection").table,
            "Which model to trust",
            "SI-SDR, dB",
            {
                "random": "random choice",
                "confidence": "confidence",
                "calibrated": "calibrated confidence",
                "oracle": "best of the three (oracle)",
            },
            ("speech", "music", "environmental", "mean"),
        ),
    )


def draw(axes: Axes, bars: Bars) -> None:
    """Bars for ours, a mark above or within each for the published figure, where there is one."""
    cells = {(line["row"], line["class"]): line for line in read_rows(bars.table)}
    width = 0.8 / len(bars.rows)
    places: list[float] = []
    published: list[float] = []
    for number, (row, name) in enumerate(bars.rows.items()):
        found = [(place, cells[row, column]) for place, column in enumerate(bars.columns) if (row, column) in cells]
        own = [place - 0.4 + width * (number + 0.5) for place, _ in found]
        means = [value_of(bars.table, cell, "mean_db") for _, cell in found]
        axes.bar(own, means, width * 0.92, color=PALETTE[number], label=name)
        for place, (_, cell) in zip(own, found, strict=True):
            if cell["published_mean_db"]:
                places.append(place)
                published.append(value_of(bars.table, cell, "published_mean_db"))
    axes.scatter(places, published, s=70, marker="_", color="black", linewidths=1.5, label="published")
    axes.axhline(0, color="black", linewidth=0.8)
    first = next(iter(bars.rows))
    counts = [cells[first, column]["n"] if (first, column) in cells else "0" for column in bars.columns]
    names = [f"{column.replace('_', ' ')}\nn = {n}" for column, n in zip(bars.columns, counts, strict=True)]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_title(bars.title, fontsize=11)
    axes.set_ylabel(bars.quantity)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)


def overview_figure(runs: Path) -> Figure:
    """Both systems side by side, on white: readable on a dark page, too."""
    figure = Figure(figsize=(11, 4.4), layout="constrained", facecolor="white", dpi=130)
    for axes, bars in zip(figure.subplots(1, 2), panels(runs), strict=True):
        draw(axes, bars)
    return figure


if __name__ == "__main__":
    runs, picture = map(Path, sys.argv[1:])
    write_figure(picture, overview_figure(runs))
