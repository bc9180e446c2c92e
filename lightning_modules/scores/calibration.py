"""What SI-SDR a model's confidence lets expect: a monotone map per model, fitted on validation mixtures.

Confidences of different models are not on one scale: in Liu, Seetharaman, Pardo (DCASE 2020) nearly all errors go to
the model whose confidences run highest. Expected SI-SDR is one scale for all.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightning_modules.errors import InputError
from lightning_modules.scores.rows import Floats, write_rows
from lightning_modules.scores.selection_rows import Evaluated

CALIBRATION_COLUMNS = ("model", "confidence", "expected_si_sdr_db")


@dataclass(frozen=True)
class Calibration:
    """Non-decreasing maps from confidence to expected SI-SDR, linear between knots and constant beyond them.

    Attributes:
        knots: by model: confidences, strictly increasing, and expected SI-SDR in dB, [K] each, K at least 1.
    """

    knots: dict[str, tuple[Floats, Floats]]

    @classmethod
    def fit(cls, evaluated: Evaluated) -> "Calibration":
        """Isotonic regression of SI-SDR on confidence over the mixtures of all domains; none `without_confidence`.

        Raises:
            InputError: there is no mixture.
        """
        from sklearn.isotonic import IsotonicRegression  # with what it imports, half a second that only this needs

        knots = {}
        for model, confidence, si_sdr in zip(evaluated.models, evaluated.confidence.T, evaluated.si_sdr.T, strict=True):
            if model in evaluated.without_confidence:
                continue
            usable = np.isfinite(confidence)
            if not usable.any():
                raise InputError(f"{model} model: no validation mixture to calibrate its confidence with; add mixtures")
            regression = IsotonicRegression().fit(confidence[usable], si_sdr[usable])
            knots[model] = (regression.X_thresholds_, regression.y_thresholds_)
        return cls(knots)

    def expected(self, evaluated: Evaluated) -> Floats:
        """Expected SI-SDR of evaluated models, matched by name, in dB, [N, M]; NaN stays NaN.

        Raises:
            InputError: a model that has confidence has no map.
        """
        expected = np.full(evaluated.confidence.shape, np.nan)
        for place, model in enumerate(evaluated.models):
            if model in evaluated.without_confidence:
                continue
            if model not in self.knots:
                raise InputError(f"{model} model: its validation rows are missing; evaluate it on validation mixtures")
            expected[:, place] = np.interp(evaluated.confidence[:, place], *self.knots[model])
        return expected

    def write(self, path: Path) -> None:
        """Write the knots with CALIBRATION_COLUMNS."""
        rows = [(model, *knot) for model, (x, y) in self.knots.items() for knot in zip(x, y, strict=True)]
        write_rows(path, CALIBRATION_COLUMNS, rows)
