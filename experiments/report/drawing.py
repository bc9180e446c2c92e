"""Matplotlib figures as inline SVG that takes text, font and colours from the page, in light and in dark."""

import io
import itertools
import re
from collections.abc import Iterator

import matplotlib
from markupsafe import Markup, escape
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lightning_modules.scores.figures import PALETTE

# The same colour for the same system everywhere; the page has a lighter and a darker form of each.
COLOURS = {
    "clip": PALETTE[5],
    "frame": PALETTE[0],
    "strong": PALETTE[4],
    "gate": PALETTE[3],
    "ideal_ratio_mask": PALETTE[2],
}
INK = "#000000"


def colour_of(name: str, names: list[str]) -> str:
    """The colour of a system: a row's of the weak-label table, or by its place among the models."""
    return COLOURS.get(name, PALETTE[names.index(name) % 6])


def variable(colour: str) -> str:
    """The page's name for a colour of the palette."""
    return "currentColor" if colour == INK else f"var(--c{PALETTE.index(colour)})"


class Drawings:
    """Makes the drawings of one page; their ids differ, as those of a page must."""

    def __init__(self) -> None:
        self._numbers: Iterator[int] = itertools.count(1)

    def chart(self, figure: Figure, alternative: str) -> Markup:
        """A figure as inline SVG.

        Args:
            figure: without a background of its own; black stands for the page's ink, the palette for its colours.
            alternative: what it shows, for those who do not see it.
        """
        # The salt, and no date: the same figure is the same text.
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "separatrix"}):
            file = io.StringIO()
            figure.savefig(file, format="svg", dpi=200, transparent=True, metadata={"Date": None, "Creator": None})
        return _inline(file.getvalue(), f"d{next(self._numbers)}-", alternative)


def _inline(svg: str, prefix: str, alternative: str) -> Markup:
    svg = svg[svg.index("<svg") :]
    # Styles and metadata would be the whole page's.
    svg = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
    svg = svg.replace("#ffffff", "var(--paper)")
    for place, colour in enumerate(PALETTE):
        svg = re.sub(colour, "currentColor" if colour == INK else f"var(--c{place})", svg, flags=re.IGNORECASE)
    svg = re.sub(r"""(?<=[" ])font-family: [^;"]*;? ?""", "", svg)
    opening = re.match(r"<svg[^>]*>", svg)
    assert opening is not None
    width, height = (float(value) for value in re.findall(r'(?:width|height)="([\d.]+)pt"', opening[0])[:2])
    # Its size is its own, whatever becomes of the style sheet around it.
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    head = f'<svg role="img" aria-label="{escape(alternative)}" {size}>'
    return Markup(head + re.sub(r">\s+<", "><", svg[opening.end() :]).strip())


def figure_of(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches, that is drawn on no screen."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
