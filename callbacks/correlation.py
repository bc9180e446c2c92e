"""How well confidence tells SI-SDR: correlation over separated sources, with intervals by recording.

The two sources of a mixture share one confidence, and few recordings make many mixtures, so rows are not independent:
intervals come from the bootstrap by recording.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from callbacks.bootstrap import multiplicities
from callbacks.selection_rows import Evaluated, Floats

HOME = "own"
ALL = "all"


class Correlation(NamedTuple):
    """Correlation of confidence with SI-SDR in one domain.

    Attributes:
        domain: true domain.
        models: `own`, the model of the domain's name, as the published figures are understood (the paper states no
            setting); `all`, every model's outputs pooled.
        coefficient: `pearson` or `spearman`.
        value: NaN if there are fewer than 3 points, or if they are constant.
        low: 2.5th percentile over draws.
        high: 97.5th percentile over draws.
        points: number of separated sources.
        recordings: number of distinct ones.
        skipped: draws that had fewer than 3 points or constant ones.
    """

    domain: str
    models: str
    coefficient: str
    value: float
    low: float
    high: float
    points: int
    recordings: int
    skipped: int


def correlations(evaluated: Evaluated, draws: int = 1000, seed: int = 0) -> list[Correlation]:
    """Pearson and Spearman correlation per domain, for its own model (if one has its name) and for all models.

    What has no point at all has no result.

    Args:
        evaluated: scored mixtures.
        draws: of the bootstrap; the same recordings are drawn for all four of a domain's figures.
        seed: of the draws.
    """
    results = []
    for domain in evaluated.domains:
        for models in (HOME, ALL):
            if models == HOME and domain not in evaluated.models:
                continue
            mixtures, confidence, si_sdr = points(evaluated, domain, domain if models == HOME else None)
            if not len(mixtures):
                continue
            recordings = [evaluated.recordings[i] for i in np.unique(mixtures)]
            row_of_point = np.searchsorted(np.unique(mixtures), mixtures)
            drawn: dict[str, list[float]] = {name: [] for name in COEFFICIENTS}
            for weights in multiplicities(recordings, draws, seed):
                weight = weights[row_of_point]
                there = weight > 0
                for name, coefficient in COEFFICIENTS.items():
                    drawn[name].append(coefficient(confidence[there], si_sdr[there], weight[there]))
            for name, coefficient in COEFFICIENTS.items():
                valid = [value for value in drawn[name] if not np.isnan(value)]
                low, high = np.percentile(valid, (2.5, 97.5)) if valid else (np.nan, np.nan)
                results.append(
                    Correlation(
                        domain,
                        models,
                        name,
                        coefficient(confidence, si_sdr, np.ones(len(si_sdr))),
                        float(low),
                        float(high),
                        len(si_sdr),
                        len({recording for mixture in recordings for recording in mixture}),
                        draws - len(valid),
                    )
                )
    return results


def points(evaluated: Evaluated, domain: str, model: str | None = None) -> tuple[np.ndarray, Floats, Floats]:
    """One point per separated source of a domain's mixtures, under one model or all; those without confidence left out.

    Returns:
        Number of the mixture, confidence, SI-SDR in dB, [P] each.
    """
    models = np.array([i for i, name in enumerate(evaluated.models) if model in (None, name)])
    mixtures = np.flatnonzero(evaluated.domain == domain)
    si_sdr = evaluated.source_si_sdr[np.ix_(mixtures, models)]
    confidence = np.broadcast_to(evaluated.confidence[np.ix_(mixtures, models)][..., None], si_sdr.shape)
    number = np.broadcast_to(mixtures[:, None, None], si_sdr.shape)
    known = np.isfinite(confidence)
    return number[known], confidence[known], si_sdr[known]


def pearson(x: Floats, y: Floats, weights: Floats) -> float:
    """Pearson correlation of points that come several times each.

    Args:
        x: one coordinate of the points, [P].
        y: the other, [P].
        weights: how often each point comes, at least once, [P].

    Returns:
        The correlation; NaN for fewer than 3 points, or where a coordinate is constant.
    """
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.nan
    shares = weights / weights.sum()
    x, y = x - shares @ x, y - shares @ y
    return float((shares @ (x * y)) / np.sqrt((shares @ x**2) * (shares @ y**2)))


def spearman(x: Floats, y: Floats, weights: Floats) -> float:
    """Spearman correlation of points that come several times each: `pearson` of mean ranks among the repeated points.

    Args:
        x: one coordinate of the points, [P].
        y: the other, [P].
        weights: how often each point comes, at least once, [P].

    Returns:
        The correlation; NaN for fewer than 3 points, or where a coordinate is constant.
    """
    return pearson(_ranks(x, weights), _ranks(y, weights), weights)


def _ranks(x: Floats, weights: Floats) -> Floats:
    """Mean ranks of points that come `weights` times each, [P]."""
    _, group = np.unique(x, return_inverse=True)
    size = np.bincount(group, weights)
    return (np.cumsum(size) - (size - 1) / 2)[group]


COEFFICIENTS: dict[str, Callable[[Floats, Floats, Floats], float]] = {"pearson": pearson, "spearman": spearman}
