"""Means, correlation of confidence with SI-SDR, and gains of ensembles, with intervals by recording.

Few recordings make many mixtures, and the sources of a mixture share one confidence: rows are not independent.
Intervals come from the pigeonhole bootstrap (Owen, Annals of Applied Statistics, 2007), which resamples recordings, not
mixtures, and gives a mixture the product of its recordings' multiplicities.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import Evaluated

Coefficient = Literal["pearson", "spearman"]
COEFFICIENTS: tuple[Coefficient, ...] = ("pearson", "spearman")
OWN_MODEL = "own"
ALL = "all"
# The claim of the paper, and what standardisation and calibration add to it.
COMPARED = (
    ("confidence", "random"),
    ("standardised", "confidence"),
    ("standardised_masks", "confidence"),
    ("calibrated", "confidence"),
    ("expected", "confidence"),
    ("expected_signals", "confidence"),
    ("expected_both", "expected"),
)


class Correlation(NamedTuple):
    """Correlation of confidence with SI-SDR in one domain.

    Attributes:
        domain: true domain.
        models: `own`, the model of the domain's name, as the published figures are understood (the paper states no
            setting); `all`, every model's outputs pooled.
        coefficient: `pearson` or `spearman`.
        value: NaN if there are fewer than 3 points, or if they are constant.
        low: 2.5th percentile over draws of recordings that have a correlation.
        high: 97.5th percentile.
        points: number of separated sources.
        recordings: number of distinct ones.
        skipped: draws that have no correlation.
    """

    domain: str
    models: str
    coefficient: Coefficient
    value: float
    low: float
    high: float
    points: int
    recordings: int
    skipped: int


class Difference(NamedTuple):
    """Mean gain in SI-SDR of one ensemble, `row`, over another in one true domain, in dB, with percentiles as above."""

    row: str
    reference: str
    domain: str
    mean: float
    low: float
    high: float
    mixtures: int
    recordings: int


class MeanInterval(NamedTuple):
    """A mean, with the 2.5th and the 97.5th percentile over draws of its recordings, of which there are so many."""

    mean: float
    low: float
    high: float
    recordings: int


def mean_interval(
    values: Floats,
    recordings: Sequence[Sequence[str]],
    draws: int = 1000,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> MeanInterval:
    """The mean of values, [N], each of which comes from one recording or several.

    What is made of more recordings comes in fewer draws. `groups`, [N], keep their shares of the mean in each of them.
    """
    if not len(values):
        return MeanInterval(np.nan, np.nan, np.nan, 0)
    _, group, sizes = np.unique(
        np.zeros(len(values)) if groups is None else groups, return_inverse=True, return_counts=True
    )
    members, drawn = np.eye(len(sizes))[:, group], []
    for weight in multiplicities(recordings, draws, seed):
        weights = members * weight
        if (totals := weights.sum(1)).all():  # a draw of few recordings may leave nothing of a group: it says nothing
            drawn.append(float(sizes @ (weights @ values / totals)) / len(values))
    low, high, _ = _interval(drawn)
    return MeanInterval(float(values.mean()), low, high, _count(recordings))


def correlations(
    evaluated: Evaluated,
    draws: int = 1000,
    seed: int = 0,
    score: Floats | None = None,
    coefficients: Sequence[Coefficient] = COEFFICIENTS,
) -> list[Correlation]:
    """Correlations per domain, for its own model (if one has its name) and for all models, where there is a point.

    Intervals are of so many `draws` of the bootstrap with this `seed`, of the same recordings for each domain. Another
    `score`, [N, M], takes the place of the confidence.
    """
    results = []
    for domain in evaluated.domains:
        for models in (OWN_MODEL, ALL) if domain in evaluated.models else (ALL,):
            mixtures, confidence, si_sdr = points(evaluated, domain, domain if models == OWN_MODEL else None, score)
            if not len(mixtures):
                continue
            distinct, of_point = np.unique(mixtures, return_inverse=True)
            recordings = [evaluated.recordings[i] for i in distinct]
            for name in coefficients:
                times = (weight.astype(int)[of_point] for weight in multiplicities(recordings, draws, seed))
                drawn = [correlation(np.repeat(confidence, n), np.repeat(si_sdr, n), name) for n in times]
                low, high, skipped = _interval(drawn)
                value, sizes = correlation(confidence, si_sdr, name), (len(si_sdr), _count(recordings))
                results.append(Correlation(domain, models, name, value, low, high, *sizes, skipped))
    return results


def differences(
    evaluated: Evaluated, probabilities: dict[str, Floats], draws: int = 1000, seed: int = 0
) -> list[Difference]:
    """The gains of COMPARED in every domain that has a scored mixture.

    `probabilities` are those with which each ensemble takes each model's output, [N, M], by the ensemble's name.
    """
    results = []
    for row, reference in COMPARED:
        if row not in probabilities:
            continue
        gains = ((probabilities[row] - probabilities[reference]) * evaluated.si_sdr).sum(1)
        for domain in evaluated.domains:
            mixtures = np.flatnonzero(evaluated.domain == domain)
            if not len(mixtures):
                continue
            recordings, gain = [evaluated.recordings[i] for i in mixtures], gains[mixtures]
            mean, low, high, count = mean_interval(gain, recordings, draws, seed)
            results.append(Difference(row, reference, domain, mean, low, high, len(mixtures), count))
    return results


def multiplicities(recordings: Sequence[Sequence[str]], draws: int, seed: int) -> Iterator[Floats]:
    """How often each of N mixtures comes in each draw of as many recordings as there are, with replacement, [N].

    It is the product of the multiplicities of the mixture's distinct recordings.
    """
    distinct = [list(dict.fromkeys(mixture)) for mixture in recordings]
    names = sorted({name for mixture in distinct for name in mixture})
    # The number after the last one stands for "no further recording" and comes exactly once in every draw.
    number = {name: i for i, name in enumerate(names)}
    made_of = np.full((len(distinct), max(map(len, distinct))), len(names))
    for i, mixture in enumerate(distinct):
        made_of[i, : len(mixture)] = [number[name] for name in mixture]
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)))
        yield np.append(counts, 1)[made_of].prod(1).astype(np.float64)


def points(
    evaluated: Evaluated, domain: str, model: str | None = None, score: Floats | None = None
) -> tuple[np.ndarray, Floats, Floats]:
    """The separated sources of a domain's mixtures under one model or all, but for those without confidence.

    Number of the mixture, confidence (or another score, [N, M]), SI-SDR in dB, [P] each.
    """
    score = evaluated.confidence if score is None else score
    models = np.array([i for i, name in enumerate(evaluated.models) if model in (None, name)], int)
    mixtures = np.flatnonzero(evaluated.domain == domain)
    si_sdr = evaluated.source_si_sdr[np.ix_(mixtures, models)]
    confidence = np.broadcast_to(score[np.ix_(mixtures, models)][..., None], si_sdr.shape)
    number = np.broadcast_to(mixtures[:, None, None], si_sdr.shape)
    known = np.isfinite(confidence)
    return number[known], confidence[known], si_sdr[known]


def correlation(x: Floats, y: Floats, coefficient: Coefficient = "pearson") -> float:
    """Correlation of points, [P] each; NaN for fewer than 3, or where a coordinate is constant."""
    return float(pd.DataFrame({"x": x, "y": y}).corr(method=coefficient, min_periods=3).iloc[0, 1])


def _interval(drawn: Sequence[float]) -> tuple[float, float, int]:
    """The percentiles that hold 95 % of what draws came to, and how many came to nothing (NaN)."""
    valid = [value for value in drawn if not np.isnan(value)]
    low, high = np.percentile(valid, (2.5, 97.5)) if valid else (np.nan, np.nan)
    return float(low), float(high), len(drawn) - len(valid)


def _count(recordings: Sequence[Sequence[str]]) -> int:
    return len({name for mixture in recordings for name in mixture})
