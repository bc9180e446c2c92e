"""Confidences of different models on one scale without any true source: each against what its model has at home.

A model of an easy domain is surer of everything that it is given. What tells is whether it is as sure of a mixture as
it is of its own domain's mixtures: their mean and deviation are all that is needed, and no separation is scored.
"""

import numpy as np

from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import Evaluated

# The score of each ensemble that picks by a standardised one.
STANDARDISED = {"standardised": "confidence", "standardised_masks": "confidence_masks"}


def standardised(evaluated: Evaluated, validation: Evaluated, score: str = "confidence") -> Floats | None:
    """z = (C - μ_m)/σ_m, with the mean and the standard deviation of model m's score on mixtures of its own domain.

    Args:
        evaluated: scored mixtures.
        validation: those whose statistics are taken; only their domains and the score are looked at.
        score: one of `evaluated.scores`.

    Returns:
        [N, M], models matched by name; NaN stays NaN. None unless every model of `validation` that has confidence has
        two mixtures of its own domain that differ in the score.
    """
    statistics = {}
    for model, values in zip(validation.models, validation.scores[score].T, strict=True):
        if model in validation.without_confidence:
            continue
        home = values[(validation.domain == model) & np.isfinite(values)]
        if not len(home) or home.max() == home.min():
            return None
        statistics[model] = home.mean(), home.std()
    if not statistics:
        return None
    mean, deviation = np.array([statistics.get(model, (np.nan, np.nan)) for model in evaluated.models]).T
    return (evaluated.scores[score] - mean) / deviation
