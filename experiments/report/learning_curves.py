"""Learning curves from what a training logged into its folder."""

from collections.abc import Sequence

import pandas

from experiments.report.charts import BEST, CURVES, css_colour, curve_chart
from experiments.report.page import Charts
from experiments.report.run_folder import Run
from lightning_modules.errors import InputError
from lightning_modules.scores.rows import Floats

LOSSES = {"validation_loss": "validation", "train_loss_epoch": "training", "train_loss": "training"}
# What is shown beside the loss, the first that was logged: name of the quantity, and its unit.
SHOWN = {
    "validation_improvement_db": ("improvement", "SI-SDR improvement (dB)"),
    "validation_frame_average_precision": ("average precision", "average precision"),
}

Curve = tuple[Floats, Floats]


def read_curves(run: Run) -> dict[str, Curve]:
    """Epochs, counted from 1, and the mean of what was logged in each, by column; of resumed trainings all parts."""
    try:
        tables = map(pandas.read_csv, run.folder.glob("curves/version_*/metrics.csv"))
        # A validation or a test by itself logs its values at epoch 0.
        parts = [table for table in tables if any(column.startswith("train_loss") for column in table)]
        logged = pandas.concat(parts) if parts else pandas.DataFrame()
        if "epoch" not in logged:
            return {}
        curves = logged.filter(regex="^(epoch|train_loss.*|validation_.*)$").astype(float).groupby("epoch").mean()
    except (OSError, ValueError) as error:
        raise InputError(f"{run.folder / 'curves'}: not as it was logged ({error}); delete it") from None
    known = {column: curves[column].dropna() for column in curves}
    return {column: (curve.index.to_numpy() + 1, curve.to_numpy()) for column, curve in known.items() if len(curve)}


def learning_charts(runs: Sequence[Run]) -> Charts | None:
    """Loss, and what else was followed, of every training; None where none left curves."""
    charts, lengths = [], []
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
        alternative = (
            f"Loss of {run.name} over {len(epochs)} epochs; lowest validation loss {losses.min():.3g}, epoch {best:g}."
        )
        charts.append(curve_chart(shown, "loss", f"{run.name}: loss", best, alternative))
        if column := next((column for column in SHOWN if column in curves), ""):
            quantity_name, quantity = SHOWN[column]
            last = curves[column][1][-1]
            alternative = f"{quantity} of {run.name} on validation mixtures by epoch; {last:.2f} in the last one."
            curve = {"validation": curves[column]}
            charts.append(curve_chart(curve, quantity, f"{run.name}: {quantity_name}", best, alternative))
    if not charts:
        return None
    caption = (
        "Validation: means over its mixtures. Training loss: mean over what was logged of an epoch. The checkpoint of "
        f"the epoch with the lowest validation loss was tested. Epochs, n: {', '.join(lengths)}."
    )
    keys = [*((name, css_colour(colour)) for name, colour in CURVES.items()), ("best epoch", css_colour(BEST))]
    return Charts("Learning curves", charts, caption, keys, "pairs" if len(charts) == 2 * len(lengths) else "")
