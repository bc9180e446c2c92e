"""How often the number of sources is found, and what it costs where it is not.

K numbers of sources, N mixtures, each of which was separated into every number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_modules.errors import InputError
from lightning_modules.scores.ensembles import choose
from lightning_modules.scores.intervals import mean_interval
from lightning_modules.scores.rows import Floats, named_recordings, numbers, read_table, whole_numbers

COUNT_COLUMNS = (
    *("index", "domain", "recordings", "sources", "clusters", "left_out", "input_si_sdr_db", "si_sdr_db"),
    *("silhouette", "posterior", "confidence", "picked"),
)
ALL = "all"
KNOWN = "known"
# Rules that know nothing of a mixture's sources.
ESTIMATING = ("confidence", "silhouette", "standardised")


@dataclass(frozen=True)
class CountedMixtures:
    """The scored mixtures of an evaluation; one that has no score under some number is left out, and counted.

    Attributes:
        counts: the numbers of sources that a mixture was separated into, ascending, [K].
        sources: that each mixture holds, [N].
        recordings: what each mixture is made of.
        si_sdr: mean over the mixture's sources, in dB, [N, K].
        scores: `silhouette`, `posterior` and `confidence`, [N, K] each.
        left_out: number of mixtures.
    """

    counts: NDArray[np.int64]
    sources: NDArray[np.int64]
    recordings: tuple[tuple[str, ...], ...]
    si_sdr: Floats
    scores: dict[str, Floats]
    left_out: int


def read_counted(path: Path) -> CountedMixtures:
    """Read a file with COUNT_COLUMNS: a row for each mixture and number of clusters.

    Raises:
        InputError: the file is missing or empty, or a mixture lacks a number or has one twice.
    """
    table = read_table(path, COUNT_COLUMNS)
    for column in ("index", "sources", "clusters"):
        table[column] = whole_numbers(path, table, column)
    of_numbers = ["si_sdr_db", "silhouette", "posterior", "confidence"]
    table[of_numbers] = numbers(path, table, of_numbers)
    counts = np.unique(table["clusters"])
    table = table.sort_values(["index", "clusters"], kind="stable")
    if not len(table) or len(table) % len(counts) or (table["clusters"] != np.resize(counts, len(table))).any():
        raise InputError(f"{path}: no row for each mixture and number of clusters; evaluate again")

    def arranged(column: str) -> NDArray:
        return table[column].to_numpy().reshape(-1, len(counts))

    scored = (arranged("left_out") == "").all(1)
    return CountedMixtures(
        counts=counts,
        sources=arranged("sources")[scored, 0],
        recordings=tuple(map(named_recordings, arranged("recordings")[scored, 0])),
        si_sdr=arranged("si_sdr_db")[scored],
        scores={name: arranged(name)[scored] for name in of_numbers[1:]},
        left_out=int((~scored).sum()),
    )


def picks(counted: CountedMixtures, validation: CountedMixtures | None = None) -> dict[str, NDArray[np.int64]]:
    """The number of sources that each rule picks for each mixture, [N], by the rule's name.

    `confidence`, `silhouette`: the highest. `standardised`: the confidence in deviations from its mean over validation
    mixtures separated into the same number, whatever they hold; only with these, of the same numbers. `known`: that of
    the mixture. `best`: the one of highest SI-SDR. A number by itself: always that one.
    """
    chosen = {name: choose(counted.scores[name]) for name in ("confidence", "silhouette")}
    if validation is not None and len(validation.sources) and np.array_equal(validation.counts, counted.counts):
        confidence = validation.scores["confidence"]
        deviation = np.maximum(confidence.std(0), np.finfo(float).tiny)
        chosen["standardised"] = choose((counted.scores["confidence"] - confidence.mean(0)) / deviation)
    found = {name: counted.counts[index] for name, index in chosen.items()}
    found |= {KNOWN: counted.sources, "best": counted.counts[choose(counted.si_sdr)]}
    return found | {str(count): np.full(len(counted.sources), count) for count in counted.counts}


class CountScore(NamedTuple):
    """What a rule makes of the mixtures of one number of sources, or of all; intervals are 95 %, by recording.

    Attributes:
        rule: that of `picks`.
        sources: of the mixtures, or `all`.
        accuracy: share of mixtures whose number is picked.
        accuracy_low: lower end of its interval.
        accuracy_high: upper end.
        si_sdr_db: mean, of the separation into the number that is picked.
        difference_db: mean difference from the separation into the known number.
        difference_low: lower end of its interval.
        difference_high: upper end.
        mixtures: number of them.
        recordings: number of distinct ones in them.
    """

    rule: str
    sources: str
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    si_sdr_db: float
    difference_db: float
    difference_low: float
    difference_high: float
    mixtures: int
    recordings: int


def count_scores(counted: CountedMixtures, picked: Mapping[str, NDArray[np.int64]]) -> list[CountScore]:
    """The scores of every rule, for each number of sources and for all mixtures."""

    def si_sdr(count: NDArray[np.int64]) -> Floats:
        return np.take_along_axis(counted.si_sdr, np.searchsorted(counted.counts, count)[:, None], 1)[:, 0]

    scores = []
    for rule, count in picked.items():
        right, found = (count == counted.sources).astype(float), si_sdr(count)
        difference = found - si_sdr(counted.sources)
        for sources in (*map(str, np.unique(counted.sources)), ALL):
            of = np.flatnonzero((counted.sources.astype(str) == sources) | (sources == ALL))
            recordings = [counted.recordings[mixture] for mixture in of]
            groups = counted.sources[of]  # mixtures of more sources come in fewer draws
            accuracy, gain = (mean_interval(each[of], recordings, groups=groups) for each in (right, difference))
            means = *accuracy[:3], float(found[of].mean()), *gain[:3]
            scores.append(CountScore(rule, sources, *means, len(of), gain.recordings))
    return scores
