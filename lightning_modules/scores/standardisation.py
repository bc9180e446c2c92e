"""Confidences of different models on one scale without any true source: each against what its model has at home.

A model of an easy domain is surer of everything that it is given. What tells is whether it is as sure of a mixture as
it is of its own domain's mixtures: their mean and deviation are all that is needed, and no separation is scored.
"""

from dataclasses import dataclass

import numpy as np

from lightning_modules.errors import InputError
from lightning_modules.scores.ensembles import choose, one_hot
from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import Evaluated

# The score of each ensemble that picks by a standardised one.
STANDARDISED = {"standardised": "confidence", "standardised_masks": "confidence_masks"}


@dataclass(frozen=True)
class Standardisation:
    """z = (C - μ_m)/σ_m, with the mean and the standard deviation of model m's score on mixtures of its own domain.

    Attributes:
        score: name of the score, such as `confidence`.
        statistics: mean and standard deviation by model.
    """

    score: str
    statistics: dict[str, tuple[float, float]]

    @classmethod
    def fit(cls, evaluated: Evaluated, score: str = "confidence") -> "Standardisation | None":
        """Statistics of validation mixtures; None unless every model has two of its own domain that differ in it.

        Models that have no confidence are left aside.

        Args:
            evaluated: mixtures of all domains; only their domains and the score are looked at.
            score: one of `evaluated.scores`.
        """
        statistics = {}
        for model, values in zip(evaluated.models, evaluated.scores[score].T, strict=True):
            if model in evaluated.without_confidence:
                continue
            home = values[(evaluated.domain == model) & np.isfinite(values)]
            if not len(home) or home.max() == home.min():
                return None
            statistics[model] = (float(home.mean()), float(home.std()))
        return cls(score, statistics) if statistics else None

    def standardised(self, evaluated: Evaluated) -> Floats:
        """The score of evaluated models, matched by name, in deviations from their mean at home, [N, M]; NaN stays NaN.

        Raises:
            InputError: a model that has confidence has no statistics.
        """
        statistics = self.statistics | dict.fromkeys(evaluated.without_confidence, (np.nan, np.nan))
        if missing := [model for model in evaluated.models if model not in statistics]:
            raise InputError(f"{missing[0]} model: its validation rows are missing; evaluate it on validation mixtures")
        mean, deviation = np.array([statistics[model] for model in evaluated.models]).T
        return (evaluated.scores[self.score] - mean) / deviation


def standardised_ensembles(evaluated: Evaluated, validation: Evaluated) -> dict[str, Floats]:
    """The ensembles of STANDARDISED as `ensembles` gives others, [N, M]; none of models that have no mixtures at home.

    Args:
        evaluated: scored mixtures.
        validation: mixtures to fit the standardisation on.
    """
    fitted = {row: Standardisation.fit(validation, score) for row, score in STANDARDISED.items()}
    return {
        row: one_hot(choose(fit.standardised(evaluated)), len(evaluated.models)) for row, fit in fitted.items() if fit
    }
