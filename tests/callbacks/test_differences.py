import numpy as np
import pytest

from callbacks.differences import COMPARED, differences
from callbacks.model_selection import ensembles


@pytest.fixture(scope="module")
def evaluated(evaluated_factory):
    return evaluated_factory()


def test_a_gain_is_the_mean_difference_on_the_same_mixtures(evaluated):
    probabilities = ensembles(evaluated, evaluated.si_sdr)  # a calibration that expects the truth
    by_place = {(gain.row, gain.reference, gain.domain): gain for gain in differences(evaluated, probabilities)}
    assert by_place.keys() == {(*pair, domain) for pair in COMPARED for domain in evaluated.domains}
    for domain in evaluated.domains:
        mixtures = evaluated.domain == domain
        scores = evaluated.si_sdr[mixtures]
        picked = scores[np.arange(len(scores)), evaluated.confidence[mixtures].argmax(1)]
        assert by_place["confidence", "random", domain].mean == pytest.approx((picked - scores.mean(1)).mean())
        assert by_place["calibrated", "confidence", domain].mean == pytest.approx((scores.max(1) - picked).mean())


def test_an_interval_holds_the_mean_and_is_of_the_recordings_that_are_there(evaluated):
    for gain in differences(evaluated, ensembles(evaluated, evaluated.si_sdr)):
        assert gain.low <= gain.mean <= gain.high
        of_domain = [
            made for made, domain in zip(evaluated.recordings, evaluated.domain, strict=True) if domain == gain.domain
        ]
        assert gain.mixtures == len(of_domain)
        assert gain.recordings == len({name for made in of_domain for name in made})


def test_what_is_the_same_gains_nothing(evaluated):
    probabilities = ensembles(evaluated, evaluated.confidence)  # the order of confidence itself
    same = [gain for gain in differences(evaluated, probabilities) if gain.row == "calibrated"]
    assert same and all(gain.mean == gain.low == gain.high == 0 for gain in same)
