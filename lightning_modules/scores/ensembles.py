"""Choosing between separation models by their own confidence, and what the choice is worth.

The task of Liu, Seetharaman, Pardo, "Model selection for deep audio source separation via clustering analysis", DCASE
2020: every model separates every mixture, and nobody but the scorer knows the mixture's domain. N mixtures, M models.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_modules.errors import InputError
from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import Evaluated

COMPARED_SCORES = ("silhouette", "posterior", "confidence_masks", "jensen_shannon", "cluster_balance")
MEAN = "mean"


def choose(score: Floats, ties: Floats | None = None) -> NDArray[np.int64]:
    """The model with the highest value of each mixture; of equals the first, NaN never unless all are.

    `ties`, [N, M], decide between models whose values are equal but for rounding; NaN is the least. [N, M] -> [N].
    """
    values = np.where(np.isnan(score), -np.inf, score)
    if ties is not None:
        best = values >= values.max(1, keepdims=True, initial=-np.inf) - 1e-9
        values = np.where(best, np.nan_to_num(ties, nan=-np.finfo(float).max), -np.inf)
    return values.argmax(1)


def one_hot(choice: NDArray[np.int64], models: int) -> Floats:
    """Each mixture's choice as probabilities: [N] -> [N, M]."""
    return np.eye(models)[choice]


def ensembles(evaluated: Evaluated, expected: Floats | None = None) -> dict[str, Floats]:
    """The probability with which each ensemble takes each model's output, [N, M], by the ensemble's name.

    Args:
        evaluated: scored mixtures.
        expected: SI-SDR that a calibration expects, [N, M]; ties go to the higher confidence.

    Raises:
        InputError: a model has an ensemble's name, or the evaluation picked another model than the most confident one.
    """
    count = len(evaluated.models)

    def by(score: Floats, ties: Floats | None = None) -> Floats:
        return one_hot(choose(score, ties), count)

    own = evaluated.own_scores
    chosen = {
        "oracle": by(evaluated.si_sdr),
        "confidence": by(evaluated.confidence),
        "random": np.full(evaluated.confidence.shape, 1 / count),
    }
    alone = {name: one_hot(np.full(len(evaluated.domain), i), count) for i, name in enumerate(evaluated.models)}
    compared = {name: by(evaluated.scores[name]) for name in (*COMPARED_SCORES, *own)}
    if expected is not None:
        compared["calibrated"] = by(expected, evaluated.confidence)
    # By the confidence of either clusters, or by a score of the user's own.
    possible = (chosen["confidence"], compared["confidence_masks"], *(compared[name] for name in own))
    wrong = [np.flatnonzero((picks != evaluated.picked).any(1)) for picks in possible]
    if all(map(len, wrong)):
        i = wrong[0][0]
        raise InputError(
            f"{evaluated.domain[i]} mixture {evaluated.index[i]}: its rows do not pick the most confident model alone; "
            "evaluate again"
        )
    if clash := ({*evaluated.models} & {*chosen, *compared}) | ({*own} & {*chosen, "calibrated"}):
        raise InputError(f"a model or score is called {min(clash)}, as an ensemble is; rename it")
    return chosen | alone | compared


class EnsembleScore(NamedTuple):
    """SI-SDR of an ensemble's outputs in one domain, or over all.

    Attributes:
        row: name of the ensemble or model.
        domain: or `mean`: every domain that has a mixture counts alike, however many it has.
        mean: in dB.
        std: population standard deviation, over mixtures and over what chance may choose, in dB.
        n: number of mixtures.
    """

    row: str
    domain: str
    mean: float
    std: float
    n: int


def ensemble_scores(evaluated: Evaluated, probabilities: dict[str, Floats]) -> list[EnsembleScore]:
    """Scores of all ensembles, domains without a scored mixture left out."""
    members = {domain: evaluated.domain == domain for domain in evaluated.domains}
    shares = {domain: member / member.sum() for domain, member in members.items() if member.any()}
    if not shares:
        return []
    shares[MEAN] = np.mean(list(shares.values()), axis=0)
    scores = []
    for row, probability in probabilities.items():
        for domain, share in shares.items():
            weights = probability * share[:, None]
            mean = float((weights * evaluated.si_sdr).sum())
            std = float(np.sqrt((weights * (evaluated.si_sdr - mean) ** 2).sum()))
            scores.append(EnsembleScore(row, domain, mean, std, int(np.count_nonzero(share))))
    return scores


def recovered_shares(scores: Sequence[EnsembleScore], row: str) -> dict[str, float]:
    """(row - random) / (oracle - random) of the means by domain; NaN where the oracle gains nothing."""
    means = {(score.row, score.domain): score.mean for score in scores}
    shares = {}
    for domain in dict.fromkeys(score.domain for score in scores):
        if not {(name, domain) for name in (row, "random", "oracle")} <= means.keys():
            continue  # of published figures, which may be of some domains
        random, gain = means["random", domain], means["oracle", domain] - means["random", domain]
        shares[domain] = (means[row, domain] - random) / gain if gain > 0 else np.nan
    return shares


class Confusion(NamedTuple):
    """How often each model was picked in each domain.

    Attributes:
        models: names.
        domains: true ones.
        counts: of mixtures, [models, domains].
    """

    models: tuple[str, ...]
    domains: tuple[str, ...]
    counts: NDArray[np.int64]

    def by_pair(self) -> dict[tuple[str, str], int]:
        """Counts by (picked model, true domain)."""
        pairs = product(self.models, self.domains)
        return dict(zip(pairs, self.counts.ravel().tolist(), strict=True))

    def precision(self) -> dict[str, float]:
        """Share of a model's picks that are of its domain, for models named after one; NaN if never picked."""
        picks = dict(zip(self.models, self.counts.sum(1).tolist(), strict=True))
        return {name: _ratio(count, picks[name]) for name, count in self._right().items()}

    def recall(self) -> dict[str, float]:
        """Share of a domain's mixtures for which its model was picked; NaN for a domain without mixtures."""
        mixtures = dict(zip(self.domains, self.counts.sum(0).tolist(), strict=True))
        return {name: _ratio(count, mixtures[name]) for name, count in self._right().items()}

    def accuracy(self) -> float:
        """Share of mixtures for which their domain's model was picked; NaN unless every domain has its model."""
        right = self._right()
        return _ratio(sum(right.values()), self.counts.sum()) if len(right) == len(self.domains) else np.nan

    def _right(self) -> dict[str, int]:
        """How often each model that is named after a domain was picked in it."""
        return {name: count for (name, domain), count in self.by_pair().items() if name == domain}


def confusion(evaluated: Evaluated, probability: Floats) -> Confusion:
    """Count the picks of an ensemble, one-hot [N, M]."""
    member = evaluated.domain[:, None] == np.array(evaluated.domains)
    return Confusion(evaluated.models, evaluated.domains, np.rint(probability.T @ member).astype(np.int64))


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else np.nan
