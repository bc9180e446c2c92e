"""The drawings of a report: distributions, learning curves, calibration, when classes sound."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments.report.drawing import INK, figure_of
from lightning_modules.scores.figures import PALETTE, draw_confidence
from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import Evaluated

NARROW = (3.9, 2.8)  # inches, of 10 point text; three of them stand side by side, one on a phone
CURVES = {"validation": INK, "training": PALETTE[0]}
BEST = PALETTE[2]
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (2, 3)))


def histogram_chart(
    shares: Mapping[str, Floats], highest: float, edges: Floats, colours: Mapping[str, str], quantity: str, title: str
) -> Figure:
    """Outlines of histograms, in percent of each system's rows.

    Args:
        shares: of each system in each bin, in percent, [bins] each.
        highest: of all panels that are to be compared, in percent.
        edges: of the bins, in dB, [bins + 1].
        colours: of each system.
        quantity: what they are, with its unit.
        title: of the drawing.
    """
    figure, panel = _panel(title)
    for number, (name, of_system) in enumerate(shares.items()):
        style: dict[str, Any] = {"color": colours[name], "linestyle": _DASHES[number % len(_DASHES)]}
        panel.stairs(of_system, edges, linewidth=1.8, **style)
        panel.stairs(of_system, edges, fill=True, color=colours[name], alpha=0.08)
    panel.axvline(0, color=INK, linewidth=0.8, alpha=0.5)
    panel.set(xlabel=quantity, ylabel="rows (%)", xlim=(edges[0], edges[-1]), ylim=(0, 1.05 * highest))
    return figure


def bin_shares(values: Floats, edges: Floats) -> Floats:
    """Shares of values, [n], in each bin, in percent; the outermost bins count what lies beyond them, too."""
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
    shares: Floats = 100 * counts / max(len(values), 1)
    return shares


def box_limits(groups: Iterable[Floats]) -> tuple[float, float]:
    """An axis in dB that holds the whiskers of all these boxes."""
    ends = [np.percentile(values, (5, 95)) for values in groups if len(values)]
    return (float(np.min(ends)) - 1, float(np.max(ends)) + 1) if ends else (-1.0, 1.0)


def box_chart(
    values: Mapping[str, Floats],
    limits: tuple[float, float],
    colours: Mapping[str, str],
    names: Mapping[str, str],
    quantity: str,
    title: str,
) -> Figure:
    """A box for each system: quartiles and median, whiskers to the 5th and 95th percentile, a diamond for the mean.

    Args:
        values: of each system, in dB, [n] each; those without a value are left out.
        limits: of the axis, in dB.
        colours: of each system.
        names: of each system as they are shown.
        quantity: what they are, with its unit.
        title: of the drawing.
    """
    figure, panel = _panel(title, 1.2 + 0.32 * len(values))
    there = [name for name in values if len(values[name])]
    for place, name in enumerate(there):
        five, lower, median, upper, ninety_five = np.percentile(values[name], (5, 25, 50, 75, 95))
        colour = colours[name]
        panel.plot([five, ninety_five], [place, place], color=colour, linewidth=1.4)
        panel.barh(place, upper - lower, left=lower, height=0.56, color=colour, alpha=0.35, edgecolor="none")
        panel.barh(place, upper - lower, left=lower, height=0.56, fill=False, edgecolor=colour, linewidth=1.2)
        panel.plot([median, median], [place - 0.28, place + 0.28], color=INK, linewidth=1.8)
        panel.plot(values[name].mean(), place, marker="D", markersize=4, color=INK, linestyle="none")
    panel.axvline(0, color=INK, linewidth=0.8, alpha=0.5)
    panel.set_yticks(range(len(there)), [f"{names[name]} ({len(values[name])})" for name in there])
    for label in panel.get_yticklabels():
        label.set_parse_math(False)
    panel.invert_yaxis()
    panel.set(xlabel=quantity, xlim=limits)
    return figure


def curve_chart(curves: Mapping[str, tuple[Floats, Floats]], quantity: str, title: str, best: float) -> Figure:
    """Learning curves over epochs, with the epoch of the best validation loss marked.

    Args:
        curves: epochs, counted from 1, and values, [n] each, by their names in `CURVES`.
        quantity: what they are, with its unit.
        title: of the drawing.
        best: epoch of the checkpoint that is used.
    """
    figure, panel = _panel(title, 2.5)
    for name, (epochs, values) in curves.items():
        dashes = _DASHES[list(CURVES).index(name)]
        panel.plot(epochs, values, color=CURVES[name], linestyle=dashes, linewidth=1.7, marker="o", markersize=2.5)
    panel.axvline(best, color=BEST, linewidth=1.2, linestyle=(0, (2, 2)))
    panel.set(xlabel="epoch", ylabel=quantity)
    panel.xaxis.get_major_locator().set_params(integer=True)
    return figure


def score_chart(values: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], title: str) -> Figure:
    """Scores in [0, 1] of several systems by class, as points on a line for each class.

    Args:
        values: by system and class; NaN is not shown.
        colours: of each system.
        title: of the drawing.
    """
    classes = list(dict.fromkeys(label for of_system in values.values() for label in of_system))
    figure, panel = _panel(title, 1.3 + 0.3 * len(classes))
    for number, (name, of_system) in enumerate(values.items()):
        places = [classes.index(label) for label in of_system]
        style: dict[str, Any] = {"marker": "osD^v"[number % 5], "color": colours[name]}
        panel.plot(list(of_system.values()), places, linestyle="none", markersize=7, **style)
    panel.set_yticks(range(len(classes)), [label.replace("_", " ") for label in classes])
    for label in panel.get_yticklabels():
        label.set_parse_math(False)
    panel.set(xlim=(0, 1.02), xlabel="average precision", ylim=(len(classes) - 0.5, -0.5))
    return figure


def confidence_chart(evaluated: Evaluated, domain: str, title: str) -> Figure:
    """Confidence against SI-SDR of every separated source of a domain, coloured by model."""
    figure, panel = _panel(title, 3.4)
    draw_confidence(panel, evaluated, domain, most=500)
    panel.set(xlabel="confidence", ylabel="SI-SDR of a source (dB)")
    return figure


def calibration_chart(
    knots: tuple[Floats, Floats], confidence: Floats, si_sdr: Floats, colour: str, title: str
) -> Figure:
    """A model's map from confidence to expected SI-SDR, beside what test mixtures of that confidence had.

    Args:
        knots: confidence and expected SI-SDR in dB, [K] each.
        confidence: of the test mixtures, [n].
        si_sdr: theirs, in dB, [n].
        colour: of the model.
        title: of the drawing.
    """
    figure, panel = _panel(title, 3.0)
    panel.plot(*knots, color=colour, linewidth=2)
    known = np.isfinite(confidence)
    order = np.argsort(confidence[known], kind="stable")
    tenths = [tenth for tenth in np.array_split(order, 10) if len(tenth)]
    means = [(confidence[known][tenth].mean(), si_sdr[known][tenth].mean()) for tenth in tenths]
    spread = [np.std(si_sdr[known][tenth]) for tenth in tenths]
    if means:
        x, y = np.array(means).T
        panel.errorbar(x, y, spread, color=INK, fmt="o", markersize=4, linewidth=1)
    panel.set(xlabel="confidence", ylabel="SI-SDR (dB)")
    return figure


def timeline_chart(
    active: Floats, heard: Floats | None, classes: Sequence[str], colours: Sequence[str], duration: float
) -> Figure:
    """When each class sounds, as bars, and how sure the judge is that it hears it, as a line from 0 to 1.

    Args:
        active: frame labels, [C, F].
        heard: the judge's probabilities at its own frame rate, [C, F'].
        classes: C names.
        colours: of the bars and of the line.
        duration: of the mixture, in seconds.
    """
    figure = figure_of(6.2, 0.55 + 0.34 * len(classes))
    panel = figure.subplots()
    step = duration / active.shape[1]
    for place, of_class in enumerate(active):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], of_class, [0]))))
        spans = [(begin * step, (end - begin) * step) for begin, end in edges.reshape(-1, 2)]
        panel.broken_barh(spans, (place - 0.38, 0.76), facecolors=colours[0], alpha=0.4, linewidth=0)
        if heard is not None:
            times = (np.arange(heard.shape[1]) + 0.5) * duration / heard.shape[1]
            panel.plot(times, place + 0.38 - 0.76 * heard[place], color=colours[1], linewidth=1.1)
        panel.axhline(place + 0.38, color=INK, linewidth=0.4, alpha=0.4)
    panel.set_yticks(range(len(classes)), [label.replace("_", " ") for label in classes])
    for label in panel.get_yticklabels():
        label.set_parse_math(False)
    panel.set(xlim=(0, duration), ylim=(len(classes) - 0.5, -0.5), xlabel="time (s)")
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(left=False)
    return figure


def _panel(title: str, height: float = NARROW[1]) -> tuple[Figure, Any]:
    figure = figure_of(NARROW[0], height)
    panel = figure.subplots()
    panel.set_title(title, fontsize=10.5, loc="left", fontweight="bold", parse_math=False)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.set_axisbelow(True)
    return figure, panel
