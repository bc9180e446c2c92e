"""What SI-SDR a model's scores together let expect: a regression per model, fitted on validation mixtures.

A calibration of the confidence alone keeps a model's own ranking of mixtures. How clusters of the loudest bins compare
with those of the masks, and how balanced they are, says more than any single score. What the signals look like says
something of models that have no confidence, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightning_modules.errors import InputError
from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import SELECTION_SCORES, SIGNAL_FEATURES, Evaluated

TREES, SMALLEST_LEAF = 200, 5
# What each ensemble that picks by the SI-SDR to be expected expects it from.
EXPECTED_FROM = {
    "expected": SELECTION_SCORES,
    "expected_signals": SIGNAL_FEATURES,
    "expected_both": (*SELECTION_SCORES, *SIGNAL_FEATURES),
}


@dataclass(frozen=True)
class ExpectedSiSdr:
    """A random forest's mean SI-SDR (Breiman 2001), of each model from its own scores.

    Attributes:
        names: of the scores.
        forests: by model; none of a model that lacks a score in every mixture.
    """

    names: Sequence[str]
    forests: dict[str, Any]

    @classmethod
    def fit(cls, validation: Evaluated, names: Sequence[str] = SELECTION_SCORES) -> "ExpectedSiSdr":
        """Fit each model's forest on the validation mixtures of all domains: a model meets all of them.

        Args:
            validation: mixtures whose SI-SDR is known.
            names: of `validation.scores`, those to learn from.
        """
        from sklearn.ensemble import RandomForestRegressor  # with what it imports, half a second that only this needs

        forests = {}
        for place, model in enumerate(validation.models):
            scores, usable = _scores(validation, names, place)
            if usable.any():
                forest = RandomForestRegressor(TREES, min_samples_leaf=SMALLEST_LEAF, random_state=0)
                forests[model] = forest.fit(scores[usable], validation.si_sdr[usable, place])
        return cls(names, forests)

    def of_model(self, model: str, scores: Floats) -> Floats:
        """Expected SI-SDR in dB, [N], of a model's scores in the order of `names`, [N, K].

        Raises:
            InputError: it had no validation mixture whose scores are known.
        """
        if model not in self.forests:
            raise InputError(f"{model} model: no validation mixture to learn from; evaluate it on validation mixtures")
        expected: Floats = self.forests[model].predict(scores)
        return expected

    def expected(self, evaluated: Evaluated) -> Floats:
        """Expected SI-SDR of evaluated models, matched by name, in dB, [N, M]; NaN where one of the scores is.

        Raises:
            InputError: a model had no validation mixture whose scores are known.
        """
        expected = np.full(evaluated.confidence.shape, np.nan)
        for place, model in enumerate(evaluated.models):
            scores, usable = _scores(evaluated, self.names, place)
            if usable.any():
                expected[usable, place] = self.of_model(model, scores[usable])
        return expected


def _scores(evaluated: Evaluated, names: Sequence[str], place: int) -> tuple[Floats, Any]:
    """Scores of a model, [N, K], and the mixtures of which all are known, bool, [N]."""
    scores = np.stack([evaluated.scores[name][:, place] for name in names], -1)
    return scores, np.isfinite(scores).all(-1)
