"""Learning curves from what a training logged into its folder."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from experiments.report.charts import BEST, CURVES, curve_chart
from experiments.report.drawing import Drawings, variable
from experiments.report.page import Charts
from experiments.report.run_folder import Run
from lightning_modules.scores.rows import Floats, read_rows, value_of

LOSSES = {"validation_loss": "validation", "train_loss_epoch": "training", "train_loss": "training"}
# What is shown beside the loss, the first that was logged: name of the column, of the quantity, and its unit.
SHOWN = (
    ("validation_improvement_db", "improvement", "SI-SDR improvement (dB)"),
    ("validation_frame_average_precision", "average precision", "average precision"),
)

Curve = tuple[Floats, Floats]


def read_curves(run: Run) -> dict[str, Curve]:
    """Epochs, counted from 1, and the mean of what was logged in each, by column; of resumed trainings all parts.

    Raises:
        InputError: a file of curves is damaged.
    """
    values: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(run.folder.glob("curves/version_*/metrics.csv"), key=_version):
        for row in read_rows(path):
            if not row.get("epoch"):
                continue
            epoch = value_of(path, row, "epoch") + 1
            for column, text in row.items():
                if text and (column in LOSSES or column.startswith("validation_")):
                    values[column][epoch].append(value_of(path, row, column))
    return {
        column: (np.array(list(by_epoch)), np.array([float(np.mean(found)) for found in by_epoch.values()]))
        for column, by_epoch in values.items()
    }


def learning_charts(runs: Sequence[Run], drawings: Drawings) -> Charts | None:
    """Loss, and what else was followed, of every training; None where none left curves."""
    charts: list[Markup] = []
    lengths = []
    for run in runs:
        curves = read_curves(run)
        if "validation_loss" not in curves:
            continue
        epochs, losses = curves["validation_loss"]
        best = float(epochs[losses.argmin()])
        lengths.append(f"{run.name} {len(epochs)}")
        shown: dict[str, Curve] = {}
        for column, name in LOSSES.items():
            if column in curves:
                shown.setdefault(name, curves[column])
        title = f"{run.name}: loss"
        alternative = (
            f"Learning curves of {run.name}: validation loss over {len(epochs)} epochs, from {losses[0]:.3g} to "
            f"{losses.min():.3g} at its best in epoch {best:g}."
        )
        charts.append(drawings.chart(curve_chart(shown, "loss", title, best), alternative))
        for column, name, quantity in SHOWN:
            if column not in curves:
                continue
            last = curves[column][1][-1]
            alternative = f"{quantity} of {run.name} on validation mixtures by epoch; {last:.2f} in the last one."
            title = f"{run.name}: {name}"
            charts.append(
                drawings.chart(curve_chart({"validation": curves[column]}, quantity, title, best), alternative)
            )
            break
    if not charts:
        return None
    caption = (
        "Validation: means over its mixtures. Training loss: mean over what was logged of an epoch. The checkpoint of "
        f"the epoch with the lowest validation loss was tested. Epochs, n: {', '.join(lengths)}."
    )
    keys = [*((name, variable(colour)) for name, colour in CURVES.items()), ("best epoch", variable(BEST))]
    return Charts("Learning curves", charts, caption, keys, "pairs" if len(charts) == 2 * len(lengths) else "")


def _version(path: Path) -> int:
    found = re.search(r"version_(\d+)", str(path))
    return int(found[1]) if found else 0
