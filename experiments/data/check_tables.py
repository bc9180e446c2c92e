"""The tables of `separatrix check`, for a terminal of 80 columns."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from datamodules.inspection import Inspection
from datamodules.scene_statistics import SceneStatistics, distinct_classes_law
from lightning_modules.scores.rows import read_rows

MOST_LABELS = 20  # speakers are many
PUBLISHED_INPUT = Path(__file__).parents[1] / "published" / "weak_labels.csv"
# Pishdadian et al. 2020, section 4.1: share of frames with 0..5 active classes, and the mean class prior.
PUBLISHED_ACTIVE = (0.17, 0.28, 0.30, 0.18, 0.06, 0.01)
PUBLISHED_PRIOR = 0.342


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for number, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if number else "left", no_wrap=True)
    return table


def _titled(title: str, table: Table) -> Group:
    # Rich folds a table's own title to the table's width.
    return Group("", Text(title, style="bold"), table)


def corpus_table(name: str, inspections: Sequence[Inspection], sample_rate: int) -> Group:
    """Clips, recordings and seconds of every class and fold; of all classes together where they are many."""
    cells: dict[tuple[str, int | str], list[Inspection]] = defaultdict(list)
    for found in inspections:
        for label in (found.clip.label, "all"):
            for fold in (found.clip.fold, "all"):
                cells[label, fold].append(found)
    labels = sorted({found.clip.label for found in inspections})
    several = f"class ({len(labels)} of them)" if len(labels) > MOST_LABELS else "class"
    labels = [*(labels if len(labels) <= MOST_LABELS else ()), "all"]
    numbers_first = sorted({found.clip.fold for found in inspections}, key=lambda fold: (isinstance(fold, str), fold))
    folds: list[int | str] = [*numbers_first, "all"]
    table = _table("", *map(str, folds))
    for label in labels:
        here = [cells[label, fold] for fold in folds]
        table.add_row(escape(label), *(str(len(cell)) for cell in here), style="bold")
        table.add_row("  recordings", *(str(len({found.clip.recording for found in cell})) for cell in here))
        table.add_row("  seconds", *(f"{sum(found.length for found in cell) / sample_rate:.0f}" for cell in here))
    return _titled(f"{name}: clips, recordings and seconds, by {several} and fold", table)


def distinct_table(statistics: SceneStatistics, event_rate: float) -> Group:
    """Distinct classes in a mixture, against the closed form."""
    classes = len(statistics.prior)
    law = distinct_classes_law(classes, event_rate)
    error = np.sqrt(law * (1 - law) / statistics.mixtures)
    table = _table("", *map(str, range(1, classes + 1)))
    table.add_row("here", *_shares(statistics.distinct))
    table.add_row(f"binomial({classes}, 1-exp(-{event_rate / classes:.3g})) without 0", *_shares(law))
    table.add_row("difference in standard errors", *(f"{d:+.1f}" for d in (statistics.distinct - law) / error))
    return _titled(f"distinct classes in {statistics.mixtures} mixtures: share of mixtures", table)


def active_table(statistics: SceneStatistics) -> Group:
    """Classes active at a time, against the published table where it has as many."""
    classes = len(statistics.prior)
    table = _table("", *map(str, range(classes + 1)))
    table.add_row("here", *_shares(statistics.active))
    if classes == len(PUBLISHED_ACTIVE) - 1:
        table.add_row("published", *(f"{share:.2f}" for share in PUBLISHED_ACTIVE))
        table.add_row("difference", *(f"{d:+.3f}" for d in statistics.active - PUBLISHED_ACTIVE))
    return _titled("classes active at a time: share of frames", table)


def per_class_table(classes: Sequence[str], prior: np.ndarray, scores: Mapping[str, Sequence[float]]) -> Group:
    """Class prior and input SI-SDR, against the published rows of those classes that have one."""
    published = {
        row["class"]: f"{row['mean_db']} ± {row['std_db']}"
        for row in read_rows(PUBLISHED_INPUT)
        if row["row"] == "input"
    }
    table = _table("", "class prior", "published", "input SI-SDR, dB", "rows", "published")
    for label, share in zip(classes, prior, strict=True):
        values = scores.get(label, ())
        table.add_row(
            escape(label), f"{share:.3f}", "", _mean_and_deviation(values), str(len(values) or ""), published.get(label)
        )
    pooled = [value for values in scores.values() for value in values]
    paper = set(classes) == published.keys() - {"overall"}
    table.add_row(
        "overall",
        f"{prior.mean():.3f}",
        f"{PUBLISHED_PRIOR:.3f}" if paper else "",
        _mean_and_deviation(pooled),
        str(len(pooled) or ""),
        published["overall"] if paper else "",
    )
    return _titled("by class", table)


def _mean_and_deviation(values: Sequence[float]) -> str:
    return f"{np.mean(values):.1f} ± {np.std(values):.1f}" if len(values) else ""


def _shares(values: Iterable[float]) -> list[str]:
    return [f"{value:.3f}" for value in values]
