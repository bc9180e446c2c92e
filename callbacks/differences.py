"""What one ensemble gains over another on the same mixtures, with intervals by recording."""

from typing import NamedTuple

import numpy as np

from callbacks.bootstrap import multiplicities
from callbacks.selection_rows import Evaluated, Floats

# The claim of the paper, and what calibration adds to it.
COMPARED = (("confidence", "random"), ("calibrated", "confidence"))


class Difference(NamedTuple):
    """Mean gain in SI-SDR of one ensemble over another in one domain.

    Attributes:
        row: the one.
        reference: the other.
        domain: true domain.
        mean: in dB.
        low: 2.5th percentile over draws of recordings, in dB.
        high: 97.5th percentile, in dB.
        mixtures: number of them.
        recordings: number of distinct ones.
    """

    row: str
    reference: str
    domain: str
    mean: float
    low: float
    high: float
    mixtures: int
    recordings: int


def differences(
    evaluated: Evaluated, probabilities: dict[str, Floats], draws: int = 1000, seed: int = 0
) -> list[Difference]:
    """The gains of COMPARED in every domain that has a scored mixture.

    Args:
        evaluated: scored mixtures.
        probabilities: with which each ensemble takes each model's output, [N, M], by the ensemble's name.
        draws: of the bootstrap.
        seed: of the draws.
    """
    results = []
    for row, reference in COMPARED:
        gain = ((probabilities[row] - probabilities[reference]) * evaluated.si_sdr).sum(1)
        for domain in evaluated.domains:
            mixtures = np.flatnonzero(evaluated.domain == domain)
            if not len(mixtures):
                continue
            recordings = [evaluated.recordings[i] for i in mixtures]
            # A draw of few recordings may leave no mixture: it says nothing.
            drawn = [
                weights @ gain[mixtures] / weights.sum()
                for weights in multiplicities(recordings, draws, seed)
                if weights.any()
            ]
            low, high = np.percentile(drawn, (2.5, 97.5)) if drawn else (np.nan, np.nan)
            distinct = {recording for mixture in recordings for recording in mixture}
            mean = float(gain[mixtures].mean())
            results.append(
                Difference(row, reference, domain, mean, float(low), float(high), len(mixtures), len(distinct))
            )
    return results
