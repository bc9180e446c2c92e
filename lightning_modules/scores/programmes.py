"""Selection within recordings: what picking a model for each window is worth, and what joins cost that nobody knows of.

N segments, W kinds of windows, R rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lightning_modules.errors import InputError
from lightning_modules.scores.expected_si_sdr import EXPECTED_FROM
from lightning_modules.scores.intervals import mean_interval
from lightning_modules.scores.rows import Floats, named_recordings, numbers, read_table, whole_numbers

JOINS = "joins"  # windows that are the segments
WHOLE = "confidence_whole"  # the model that is the most confident one of the whole recording, everywhere
# Ensembles of a selection that pick a model for every window.
PICKING = ("oracle", "confidence", "standardised", "calibrated", *EXPECTED_FROM)
REGIONS = ("si_sdr_db", "near_si_sdr_db", "far_si_sdr_db")  # of the segment, near the joins, far from them
PROGRAMME_COLUMNS = ("programme", "segment", "domain", "recordings", "windows", "rule", "models", *REGIONS)
# What is compared, in windows of the same kind.
COMPARED = (
    *(("oracle", "confidence"), ("confidence", WHOLE), ("standardised", "confidence"), ("calibrated", "confidence")),
    *((rule, "confidence") for rule in EXPECTED_FROM),
)


@dataclass(frozen=True)
class Programmes:
    """The segments of programmes.

    Attributes:
        windows: kinds: `joins`, then lengths in seconds.
        rules: names, and then the models' own, each of which is used for all.
        recordings: what each segment is made of.
        si_sdr: mean over a segment's sources in dB, [N, W, R], by REGIONS; NaN for all where one has none.
        programmes: number of them.
    """

    windows: tuple[str, ...]
    rules: tuple[str, ...]
    recordings: tuple[tuple[str, ...], ...]
    si_sdr: dict[str, Floats]
    programmes: int


def read_programmes(path: Path) -> Programmes:
    """Read a file with PROGRAMME_COLUMNS; InputError where a segment lacks a row or has one twice."""
    table = read_table(path, PROGRAMME_COLUMNS)
    for column in ("programme", "segment"):
        table[column] = whole_numbers(path, table, column)
    windows, rules = (tuple(table[column].unique()) for column in ("windows", "rule"))
    ways = [(kind, rule) for kind in windows for rule in rules]
    table = table.sort_values(["programme", "segment"], kind="stable")
    segments = table.drop_duplicates(["programme", "segment"])
    found = list(zip(table["windows"], table["rule"], strict=True))
    if not len(table) or found != ways * len(segments):
        raise InputError(f"{path}: a segment has not one row for each kind of windows and rule; evaluate again")
    shape = len(segments), len(windows), len(rules)
    si_sdr = dict(zip(REGIONS, numbers(path, table, REGIONS).T.reshape(-1, *shape), strict=True))
    unscored = {region: ~np.isfinite(values).all((1, 2), keepdims=True) for region, values in si_sdr.items()}
    return Programmes(
        windows,
        rules,
        tuple(map(named_recordings, segments["recordings"])),
        {region: np.where(unscored[region], np.nan, values) for region, values in si_sdr.items()},
        segments["programme"].nunique(),
    )


class Gain(NamedTuple):
    """A mean difference in SI-SDR over segments, in dB, with its 95 % interval by recording.

    Attributes:
        region: one of REGIONS.
        windows: kind.
        rule: whose SI-SDR it is.
        reference: less that of this rule in the same windows or, `joins`, of the same rule where the joins are known.
        mean: NaN without a scored segment.
        low: 2.5th percentile over draws of recordings.
        high: 97.5th percentile.
        segments: number of them.
        recordings: number of distinct ones.
    """

    region: str
    windows: str
    rule: str
    reference: str
    mean: float
    low: float
    high: float
    segments: int
    recordings: int


def gains(programmes: Programmes) -> Iterator[Gain]:
    """What is COMPARED of segments, and what each rule loses near the joins and far from them by not knowing them."""
    place = {rule: number for number, rule in enumerate(programmes.rules)}
    for number, windows in enumerate(programmes.windows):
        for rule, reference in COMPARED:
            if {rule, reference} <= place.keys():
                values = programmes.si_sdr[REGIONS[0]][:, number]
                difference = values[:, place[rule]] - values[:, place[reference]]
                yield _gain(programmes, difference, REGIONS[0], windows, rule, reference)
        for rule in (*PICKING, WHOLE) if windows != JOINS else ():
            for region in REGIONS[1:] if rule in place else ():
                values = programmes.si_sdr[region][:, :, place[rule]]
                difference = values[:, number] - values[:, programmes.windows.index(JOINS)]
                yield _gain(programmes, difference, region, windows, rule, JOINS)


def _gain(programmes: Programmes, difference: Floats, region: str, windows: str, rule: str, reference: str) -> Gain:
    described = region, windows, rule, reference
    scored = np.flatnonzero(np.isfinite(difference))
    if not len(scored):
        return Gain(*described, np.nan, np.nan, np.nan, 0, 0)
    found = mean_interval(difference[scored], [programmes.recordings[segment] for segment in scored])
    return Gain(*described, *found[:3], len(scored), found.recordings)
