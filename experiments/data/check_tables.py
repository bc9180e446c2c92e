"""The tables of `separatrix check`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from datamodules.inspection import Inspection
from datamodules.scene_statistics import SceneStatistics, distinct_classes_law
from experiments.tables import Table
from lightning_modules.scores.rows import read_rows

MOST_LABELS = 20  # speakers are many
PUBLISHED_INPUT = Path(__file__).parents[1] / "published" / "weak_labels.csv"
# Pishdadian et al. 2020, section 4.1: share of frames with 0..5 active classes, and the mean class prior.
PUBLISHED_ACTIVE = (0.17, 0.28, 0.30, 0.18, 0.06, 0.01)
PUBLISHED_PRIOR = 0.342


def corpus_table(name: str, inspections: Sequence[Inspection], sample_rate: int) -> Table:
    """Clips, recordings and seconds of every class and fold; of all classes together where they are many."""
    cells: dict[tuple[str, int | str], list[Inspection]] = defaultdict(list)
    for found in inspections:
        for label in (found.clip.label, "all"):
            for fold in (found.clip.fold, "all"):
                cells[label, fold].append(found)
    labels = sorted({found.clip.label for found in inspections})
    several = f"class ({len(labels)} of them)" if len(labels) > MOST_LABELS else "class"
    labels = [*(labels if len(labels) <= MOST_LABELS else ()), "all"]
    # Numbers first; of names, the splits in their order.
    order = {split: place for place, split in enumerate(("train", "validation", "test"))}
    numbers_first = sorted(
        {found.clip.fold for found in inspections},
        key=lambda fold: (isinstance(fold, str), order.get(str(fold), len(order)), fold),
    )
    folds: list[int | str] = [*numbers_first, "all"]
    rows = []
    for label in labels:
        here = [cells[label, fold] for fold in folds]
        rows.append([label, *(str(len(cell)) for cell in here)])
        rows.append(["  recordings", *(str(len({found.clip.recording for found in cell})) for cell in here)])
        rows.append(["  seconds", *(f"{sum(found.length for found in cell) / sample_rate:.0f}" for cell in here)])
    return Table(f"{name}: clips, recordings and seconds, by {several} and fold", ["", *map(str, folds)], rows)


def distinct_table(statistics: SceneStatistics, event_rate: float) -> Table:
    """Distinct classes in a mixture, against the closed form."""
    classes = len(statistics.prior)
    law = distinct_classes_law(classes, event_rate)
    error = np.sqrt(law * (1 - law) / statistics.mixtures)
    rows = [
        ["here", *_shares(statistics.distinct)],
        [f"binomial({classes}, 1-exp(-{event_rate / classes:.3g})) without 0", *_shares(law)],
        ["difference in standard errors", *(f"{d:+z.1f}" for d in (statistics.distinct - law) / error)],
    ]
    title = f"distinct classes in {statistics.mixtures} mixtures: share of mixtures"
    return Table(title, ["", *map(str, range(1, classes + 1))], rows)


def active_table(statistics: SceneStatistics) -> Table:
    """Classes active at a time, against the published table where it has as many."""
    classes = len(statistics.prior)
    rows = [["here", *_shares(statistics.active)]]
    if classes == len(PUBLISHED_ACTIVE) - 1:
        rows.append(["published", *(f"{share:.2f}" for share in PUBLISHED_ACTIVE)])
        rows.append(["difference", *(f"{d:+.3f}" for d in statistics.active - PUBLISHED_ACTIVE)])
    return Table("classes active at a time: share of frames", ["", *map(str, range(classes + 1))], rows)


def per_class_table(classes: Sequence[str], prior: np.ndarray, scores: Mapping[str, Sequence[float]]) -> Table:
    """Class prior and input SI-SDR, against the published rows of those classes that have one."""
    published = {
        row["class"]: f"{row['mean_db']} ± {row['std_db']}"
        for row in read_rows(PUBLISHED_INPUT)
        if row["row"] == "input"
    }
    rows = []
    for label, share in zip(classes, prior, strict=True):
        values = scores.get(label, ())
        counted = [_mean_and_deviation(values), str(len(values) or ""), published.get(label, "")]
        rows.append([label, f"{share:.3f}", "", *counted])
    pooled = [value for values in scores.values() for value in values]
    paper = set(classes) == published.keys() - {"overall"}
    theirs = (f"{PUBLISHED_PRIOR:.3f}", published["overall"]) if paper else ("", "")
    counted = [_mean_and_deviation(pooled), str(len(pooled) or ""), theirs[1]]
    rows.append(["overall", f"{prior.mean():.3f}", theirs[0], *counted])
    columns = ["", "class prior", "published", "input SI-SDR, dB", "rows", "published"]
    return Table("by class", columns, rows)


def _mean_and_deviation(values: Sequence[float]) -> str:
    return f"{np.mean(values):z.1f} ± {np.std(values):z.1f}" if len(values) else ""


def _shares(values: Iterable[float]) -> list[str]:
    return [f"{value:.3f}" for value in values]
