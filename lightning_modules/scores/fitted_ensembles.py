"""All ensembles of a selection: those that need nothing but its scores, and those that validation mixtures teach."""

from dataclasses import dataclass

from lightning_modules.errors import InputError
from lightning_modules.scores.calibration import Calibration
from lightning_modules.scores.ensembles import choose, ensembles, one_hot
from lightning_modules.scores.expected_si_sdr import EXPECTED_FROM, ExpectedSiSdr
from lightning_modules.scores.rows import Floats
from lightning_modules.scores.selection_rows import Evaluated
from lightning_modules.scores.standardisation import STANDARDISED, standardised


@dataclass(frozen=True)
class FittedEnsembles:
    """What validation mixtures of all domains teach.

    Attributes:
        validation: these mixtures.
        calibration: of the confidence.
        expected: SI-SDR to be expected, by the name of the ensemble that picks by it; of signals only where the rows
            have their features.
    """

    validation: Evaluated
    calibration: Calibration
    expected: dict[str, ExpectedSiSdr]

    @classmethod
    def fit(cls, validation: Evaluated) -> "FittedEnsembles":
        """Fit everything; the errors are those of `Calibration`."""
        known = {row: names for row, names in EXPECTED_FROM.items() if validation.scores.keys() >= set(names)}
        expected = {row: ExpectedSiSdr.fit(validation, names) for row, names in known.items()}
        return cls(validation, Calibration.fit(validation), expected)

    def probabilities(self, evaluated: Evaluated) -> dict[str, Floats]:
        """Those of each model's output in each ensemble, as `ensembles` gives them, [N, M]."""
        found = ensembles(evaluated, self.calibration.expected(evaluated))
        taught = {}
        for row, score in STANDARDISED.items():
            if (values := standardised(evaluated, self.validation, score)) is not None:
                taught[row] = one_hot(choose(values), len(evaluated.models))
        for row, fitted in self.expected.items():
            if evaluated.scores.keys() >= set(fitted.names):
                taught[row] = one_hot(choose(fitted.expected(evaluated), evaluated.confidence), len(evaluated.models))
        if clash := found.keys() & taught.keys():
            raise InputError(f"a model or score is called {min(clash)}, as an ensemble is; rename it")
        return found | taught
