"""Figures: confidence against SI-SDR, a mixture's embedding in two dimensions, spectrograms of a separation."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_modules.atomic_file import atomic_file
from lightning_modules.scores.intervals import correlation, points
from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import Evaluated

# Okabe and Ito: distinct with every common form of colour vision.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")


def confidence_figure(evaluated: Evaluated, title: str = "") -> Figure:
    """Confidence against SI-SDR, one panel per domain with its own model's Pearson correlation over all points."""
    domains = [domain for domain in evaluated.domains if (evaluated.domain == domain).any()]
    figure = Figure(figsize=(1 + 3.6 * max(len(domains), 1), 4.2), dpi=150, layout="constrained")
    panels = figure.subplots(1, max(len(domains), 1), sharex=True, sharey=True, squeeze=False)[0]
    panels[0].set_ylabel("SI-SDR of a separated source (dB)")
    for panel, domain in zip(panels, domains, strict=False):
        r = correlation(*points(evaluated, domain, domain)[1:])
        heading = f"{domain}: r = {r:.2f} (own model)" if np.isfinite(r) else domain
        draw_confidence(panel, evaluated, domain, most=1000)
        panel.set_title(heading, fontsize=11, parse_math=False)
        panel.set_xlabel("confidence")
    keys = [
        panels[0].scatter([], [], s=36, c=PALETTE[i % len(PALETTE)], marker=MARKERS[i % len(MARKERS)])
        for i in range(len(evaluated.models))
    ]
    names = [f"{model} model" for model in evaluated.models]
    legend = figure.legend(keys, names, loc="outside lower center", ncols=2 * len(panels), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.suptitle(title, fontsize=11, wrap=True, parse_math=False)
    return figure


def draw_confidence(panel: Axes, evaluated: Evaluated, domain: str, most: int) -> None:
    """Draw one domain's panel: a point per separated source, coloured by model; its own model's regression line.

    At most `most` points of each model are shown, drawn with a fixed seed; the line is that of all.
    """
    for i, model in enumerate(evaluated.models):
        _, confidence, si_sdr = points(evaluated, domain, model)
        own = model == domain
        drawn = np.random.default_rng(0).permutation(len(si_sdr))[:most]
        panel.scatter(
            confidence[drawn],
            si_sdr[drawn],
            s=12 if own else 9,
            c=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i % len(MARKERS)],
            alpha=0.6 if own else 0.3,
            linewidths=0,
            zorder=3 if own else 2,
            rasterized=True,
        )
        if own and len(confidence) > 2 and np.ptp(confidence) > 0:
            slope, intercept = np.polyfit(confidence, si_sdr, 1)
            reach = np.array([confidence.min(), confidence.max()])
            panel.plot(reach, intercept + slope * reach, color="#000000", linewidth=1.6, zorder=4)
    panel.grid(alpha=0.3)


def embedding_figure(
    embedding: Floats, clusters: NDArray[np.int64], sources: NDArray[np.int64], title: str = ""
) -> Figure:
    """The loudest bins of a mixture, [n, D], in the plane of their two principal components.

    Left they are coloured by the number of their cluster, [n], right by that of their true dominant source, [n].
    """
    plane, explained = principal_plane(embedding)
    reach = 1.05 * float(np.abs(plane).max()) or 1.0
    figure = Figure(figsize=(9, 5), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for panel, labels, name in zip(panels, (clusters, sources), ("cluster", "source"), strict=True):
        # All at once: drawn label by label, the last one would hide the others.
        colours = np.array(PALETTE)[labels % len(PALETTE)]
        panel.scatter(*plane.T, s=10, c=colours, alpha=0.6, linewidths=0, rasterized=True)
        for label in np.unique(labels):
            panel.scatter([], [], s=36, c=PALETTE[label % len(PALETTE)], label=f"{name} {label + 1}")
        panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        panel.set_title("clusters" if name == "cluster" else "true dominant source", fontsize=11)
        panel.set_xlabel(f"component 1 ({explained[0]:.0%} of variance)")
        panel.legend()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f"component 2 ({explained[1]:.0%} of variance)")
    figure.suptitle(title, fontsize=11, wrap=True, parse_math=False)
    return figure


def separation_figure(mixture: Floats, truth: Floats, estimate: Floats, hop: float, highest: float) -> Figure:
    """Magnitudes of a mixture, of one of its sources and of its estimate, and the effective mask.

    All are [bins, frames], down to 80 dB below the mixture's loudest bin. The mask is |estimate| / |mixture|, in
    [0, 1], and 0 where the mixture lies below that floor. `hop` is in seconds, the `highest` frequency in Hz.
    """
    floor: float = max(1e-4 * float(mixture.max(initial=0)), 1e-30)
    mask = np.where(mixture > floor, estimate / np.maximum(mixture, floor), 0).clip(0, 1)
    # Many of them are drawn during a training: a layout by hand is three times as fast, small pictures too.
    figure = Figure(figsize=(8, 5), dpi=80)
    figure.subplots_adjust(0.07, 0.1, 0.98, 0.94, wspace=0.1, hspace=0.25)
    extent = (0.0, mixture.shape[-1] * hop, 0.0, highest / 1000)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    decibels = [20 * np.log10(np.maximum(shown, floor) / (1e4 * floor)) for shown in (mixture, truth, estimate)]
    named = zip(("mixture", "truth", "estimate", "effective mask"), (*decibels, mask), panels.flat, strict=True)
    for name, values, panel in named:
        low, high, unit = (0, 1, "") if name == "effective mask" else (-80, 0, " (dB)")
        image = panel.imshow(values, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high)
        panel.set_title(name + unit, fontsize=11)
        figure.colorbar(image, ax=panel, pad=0.02)
    for panel in panels[1]:
        panel.set_xlabel("time (s)")
    for panel in panels[:, 0]:
        panel.set_ylabel("frequency (kHz)")
    return figure


def principal_plane(vectors: Floats) -> tuple[Floats, Floats]:
    """Projections, [n, D] -> [n, 2], on the first two principal components, and the share of variance of each, [2]."""
    # With a single vector or dimension a component is zero, as the padding is.
    centred = np.pad(vectors - vectors.mean(0, dtype=np.float64), ((0, 2), (0, 2)))
    _, size, components = np.linalg.svd(centred, full_matrices=False)
    components = components[:2]
    components *= np.sign(components[[0, 1], np.abs(components).argmax(1)])[:, None]  # the same at every start
    shares = size[:2] ** 2 / max(float((size**2).sum()), np.finfo(np.float64).tiny)
    return centred[: len(vectors)] @ components.T, shares


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, as a whole or not at all."""
    with atomic_file(path) as file:
        figure.savefig(file, format="png")
