"""The drawings of a report: matplotlib figures as inline SVG in the page's text, font and colours, light and dark."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from lightning_modules.scores.figures import PALETTE, draw_confidence
from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import Evaluated

INK = "#000000"  # the page's own, as PALETTE's colours are
# The same colour for the same system everywhere.
COLOURS = {
    "clip": PALETTE[5],
    "frame": PALETTE[0],
    "strong": PALETTE[4],
    "oracle_activity_mask": PALETTE[3],
    "ideal_ratio_mask": PALETTE[2],
}
CURVES = {"validation": INK, "training": PALETTE[0]}
BEST = PALETTE[2]
BIN_DB = 2.5
BOXES = "Box: quartiles; line: median; diamond: mean; whiskers: 5th and 95th percentile; in brackets n."
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (2, 3)))

Groups = Mapping[str, Mapping[str, Floats]]  # title of a drawing -> name of a system -> its scores, [n]


def colour_of(name: str, names: Sequence[str]) -> str:
    """The colour of a system: a row's of the weak-label table, or by its place among the models."""
    return COLOURS.get(name, PALETTE[list(names).index(name) % 6])


def css_colour(colour: str) -> str:
    """The page's name for a colour of the palette."""
    return "currentColor" if colour == INK else f"var(--c{PALETTE.index(colour)})"


def inline_svg(figure: Figure, alternative: str) -> Markup:
    """A figure as inline SVG; `alternative` says what it shows, and is different for every drawing of a page."""
    file = io.StringIO()
    # The salt makes the ids of a page differ; without a date the same figure is the same text.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": alternative}):
        figure.savefig(file, format="svg", dpi=200, transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    width, height = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2])
    svg = svg[svg.index(">", svg.index("<svg")) + 1 :]
    # Styles and metadata would be the whole page's; nothing refers to ids that are only counted.
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r""" id="[A-Za-z0-9.]+_\d+"|(?<=[" ])font-family: [^;"]*;? ?""", "", svg)
    svg = svg.replace("#ffffff", "var(--paper)")
    for colour in PALETTE:
        svg = re.sub(colour, css_colour(colour), svg, flags=re.IGNORECASE)
    # With a size of its own it needs no style sheet.
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    head = f'<svg role="img" aria-label="{escape(alternative)}" {size}>'
    return Markup(head + re.sub(r">\s+<", "><", svg).strip())


def histograms(groups: Groups, colours: Mapping[str, str], quantity: str) -> list[Markup]:
    """Outlines of histograms in percent of each system's scores in dB, on the same axes for all groups."""
    every = np.concatenate([scores for group in groups.values() for scores in group.values()])
    # The far tails of a few rows would squeeze the rest: the outermost bins count what lies beyond them, too.
    low, high = BIN_DB * np.floor(np.percentile(every, (0.5, 99.5)) / BIN_DB) if len(every) else (0, 0)
    edges = np.arange(low, high + 2 * BIN_DB, BIN_DB)
    shares = {title: {name: bin_shares(scores, edges) for name, scores in of.items()} for title, of in groups.items()}
    highest = max(1.0, *(float(share.max()) for group in shares.values() for share in group.values()))
    charts = []
    for title, group in groups.items():
        figure, panel = _panel(title)
        for number, name in enumerate(group):
            style: dict[str, Any] = {"color": colours[name], "linestyle": _DASHES[number % len(_DASHES)]}
            panel.stairs(shares[title][name], edges, linewidth=1.8, **style)
            panel.stairs(shares[title][name], edges, fill=True, color=colours[name], alpha=0.08)
        panel.axvline(0, color=INK, linewidth=0.8, alpha=0.5)
        panel.set(xlabel=f"{quantity} (dB)", ylabel="rows (%)", xlim=(edges[0], edges[-1]), ylim=(0, 1.05 * highest))
        charts.append(inline_svg(figure, f"Histogram of {_medians(quantity, title, group)}"))
    return charts


def bin_shares(values: Floats, edges: Floats) -> Floats:
    """Shares of values, [n], in each bin, in percent; the outermost bins count what lies beyond them, too."""
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
    shares: Floats = 100 * counts / max(len(values), 1)
    return shares


def boxes(groups: Groups, colours: Mapping[str, str], quantity: str) -> list[Markup]:
    """Boxes of each system's scores in dB, as BOXES says, on the same axis for all groups."""
    ends = [np.percentile(scores, (5, 95)) for group in groups.values() for scores in group.values() if len(scores)]
    charts = []
    for title, group in groups.items():
        known = {name: scores for name, scores in group.items() if len(scores)}
        figure, panel = _panel(title, 1.2 + 0.32 * len(group))
        drawn = panel.boxplot(
            list(known.values()),
            orientation="horizontal",
            whis=(5, 95),
            widths=0.56,
            showfliers=False,
            showcaps=False,
            showmeans=True,
            patch_artist=True,
            medianprops={"color": INK, "linewidth": 1.8},
            meanprops={"marker": "D", "markersize": 4, "color": INK, "markerfacecolor": INK, "markeredgecolor": INK},
        )
        for number, name in enumerate(known):
            drawn["boxes"][number].set(facecolor=(colours[name], 0.35), edgecolor=colours[name], linewidth=1.2)
            for whisker in drawn["whiskers"][2 * number : 2 * number + 2]:
                whisker.set(color=colours[name], linewidth=1.4)
        _names(panel, [f"{name} ({len(scores)})" for name, scores in known.items()], range(1, len(known) + 1))
        panel.axvline(0, color=INK, linewidth=0.8, alpha=0.5)
        panel.invert_yaxis()
        panel.set(xlabel=f"{quantity} (dB)", xlim=(np.min(ends) - 1, np.max(ends) + 1) if ends else (-1, 1))
        charts.append(inline_svg(figure, f"Boxes of {_medians(quantity, title, group)}"))
    return charts


def _medians(quantity: str, title: str, group: Mapping[str, Floats]) -> str:
    medians = ", ".join(f"{name} {np.median(scores):z.1f}" for name, scores in group.items() if len(scores))
    return f"{quantity} of {title} in dB; medians: {medians}."


def curve_chart(
    curves: Mapping[str, tuple[Floats, Floats]], quantity: str, title: str, best: float, alternative: str
) -> Markup:
    """Epochs, counted from 1, and values, [n] each, by their names in `CURVES`; the best epoch is marked."""
    figure, panel = _panel(title, 2.5)
    for name, (epochs, values) in curves.items():
        dashes = _DASHES[list(CURVES).index(name)]
        panel.plot(epochs, values, color=CURVES[name], linestyle=dashes, linewidth=1.7, marker="o", markersize=2.5)
    panel.axvline(best, color=BEST, linewidth=1.2, linestyle=(0, (2, 2)))
    panel.set(xlabel="epoch", ylabel=quantity)
    panel.xaxis.get_major_locator().set_params(integer=True)
    return inline_svg(figure, alternative)


def score_chart(
    values: Mapping[str, Mapping[str, float]], colours: Mapping[str, str], title: str, alternative: str
) -> Markup:
    """Average precisions, by system and class, as points on a line for each class."""
    classes = list(dict.fromkeys(label for of_system in values.values() for label in of_system))
    figure, panel = _panel(title, 1.3 + 0.3 * len(classes))
    for number, (name, of_system) in enumerate(values.items()):
        places = [classes.index(label) for label in of_system]
        panel.plot(list(of_system.values()), places, "osD^v"[number % 5], markersize=7, color=colours[name])
    _names(panel, classes, range(len(classes)))
    panel.set(xlim=(0, 1.02), xlabel="average precision", ylim=(len(classes) - 0.5, -0.5))
    return inline_svg(figure, alternative)


def confidence_chart(evaluated: Evaluated, domain: str, title: str, alternative: str) -> Markup:
    """Confidence against SI-SDR of every separated source of a domain, coloured by model."""
    figure, panel = _panel(title, 3.4)
    draw_confidence(panel, evaluated, domain, most=500)
    panel.set(xlabel="confidence", ylabel="SI-SDR of a source (dB)")
    return inline_svg(figure, alternative)


def calibration_chart(
    knots: tuple[Floats, Floats], confidence: Floats, si_sdr: Floats, colour: str, title: str
) -> Markup:
    """A model's map from confidence to expected SI-SDR in dB, [K] each, beside what test mixtures, [n], had."""
    figure, panel = _panel(title, 3.0)
    panel.plot(*knots, color=colour, linewidth=2)
    order = np.argsort(confidence, kind="stable")[: np.isfinite(confidence).sum()]  # NaN comes last
    tenths = [tenth for tenth in np.array_split(order, 10) if len(tenth)]
    x, y = ([values[tenth].mean() for tenth in tenths] for values in (confidence, si_sdr))
    spread = [si_sdr[tenth].std() for tenth in tenths]
    panel.errorbar(x, y, spread, color=INK, fmt="o", markersize=4, linewidth=1)
    panel.set(xlabel="confidence", ylabel="SI-SDR (dB)")
    (first, last), (low, high) = ((axis[0], axis[-1]) for axis in knots)
    rises = f"rises from {low:z.1f} to {high:z.1f} dB over confidences {first:.3f} to {last:.3f}"
    return inline_svg(figure, f"Calibration of the {title}: expected SI-SDR {rises}.")


def timeline_chart(
    active: Floats, probability: Floats | None, classes: Sequence[str], duration: float, alternative: str
) -> Markup:
    """When each class sounds, [C, F], as bars, and its probability, [C, F'], as lines; the duration is in seconds."""
    figure = Figure(figsize=(6.2, 0.55 + 0.34 * len(classes)), dpi=100, layout="constrained")
    panel = figure.subplots()
    step = duration / active.shape[1]
    for place, of_class in enumerate(active):
        edges = np.flatnonzero(np.diff(of_class, prepend=0, append=0)).reshape(-1, 2)
        spans = [(begin * step, (end - begin) * step) for begin, end in edges]
        panel.broken_barh(spans, (place - 0.38, 0.76), facecolors=PALETTE[2], alpha=0.4, linewidth=0)
        if probability is not None:
            times = (np.arange(probability.shape[1]) + 0.5) * duration / probability.shape[1]
            panel.plot(times, place + 0.38 - 0.76 * probability[place], color=INK, linewidth=1.1)
        panel.axhline(place + 0.38, color=INK, linewidth=0.4, alpha=0.4)
    _names(panel, classes, range(len(classes)))
    panel.set(xlim=(0, duration), ylim=(len(classes) - 0.5, -0.5), xlabel="time (s)")
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(left=False)
    return inline_svg(figure, alternative)


def _names(panel: Any, names: Sequence[str], places: Iterable[int]) -> None:
    panel.set_yticks(list(places), [name.replace("_", " ") for name in names])
    for label in panel.get_yticklabels():
        label.set_parse_math(False)


def _panel(title: str, height: float = 2.8) -> tuple[Figure, Any]:
    """Three of them stand side by side, one on a phone."""
    figure = Figure(figsize=(3.9, height), dpi=100, layout="constrained")
    panel = figure.subplots()
    panel.set_title(title, fontsize=10.5, loc="left", fontweight="bold", parse_math=False)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25, linewidth=0.6)
    panel.set_axisbelow(True)
    return figure, panel
