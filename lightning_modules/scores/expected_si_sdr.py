"""What SI-SDR all of a model's scores together let expect: a regression per model, fitted on validation mixtures.

A calibration of the confidence alone keeps a model's own ranking of mixtures. How clusters of the loudest bins compare
with those of the masks, and how balanced they are, says more than any single score.
"""

from typing import Any

import numpy as np

from lightning_modules.errors import InputError
from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import SELECTION_SCORES, Evaluated

TREES, SMALLEST_LEAF = 200, 5


def expected_si_sdr(evaluated: Evaluated, validation: Evaluated) -> Floats:
    """A random forest's mean SI-SDR (Breiman 2001) from the published score and those it is compared with, in dB.

    Each model's forest is fitted on the validation mixtures of all domains: a model meets all of them. It sees the
    scores of this model alone.

    Args:
        evaluated: mixtures whose scores are known.
        validation: mixtures whose SI-SDR is known, too; the same models.

    Returns:
        [N, M]; NaN where one of the scores is.

    Raises:
        InputError: a model has no validation mixture whose scores are known.
    """
    from sklearn.ensemble import RandomForestRegressor  # with what it imports, half a second that only this needs

    expected = np.full(evaluated.si_sdr.shape, np.nan)
    for place, model in enumerate(evaluated.models):
        scores, usable = _scores(evaluated, place)
        known = _scores(validation, validation.models.index(model)) if model in validation.models else None
        if known is None or not known[1].any():
            raise InputError(f"{model} model: no validation mixture to learn from; evaluate it on validation mixtures")
        target = validation.si_sdr[:, validation.models.index(model)]
        forest = RandomForestRegressor(TREES, min_samples_leaf=SMALLEST_LEAF, random_state=0)
        forest.fit(known[0][known[1]], target[known[1]])
        if usable.any():
            expected[usable, place] = forest.predict(scores[usable])
    return expected


def _scores(evaluated: Evaluated, place: int) -> tuple[Floats, Any]:
    """All scores of a model, [N, 8], and the mixtures of which all are known, bool, [N]."""
    scores = np.stack([evaluated.scores[name][:, place] for name in SELECTION_SCORES], -1)
    return scores, np.isfinite(scores).all(-1)
