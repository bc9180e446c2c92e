"""Confidences in deviations from their mean at home."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import zscore

from lightning_modules.errors import InputError
from lightning_modules.scores.ensembles import choose
from lightning_modules.scores.standardisation import Standardisation


@pytest.fixture
def evaluated(evaluated_factory):
    return evaluated_factory()


def with_confidence(evaluated, confidence):
    return replace(evaluated, scores=evaluated.scores | {"confidence": confidence})


def test_at_home_it_is_the_z_score_of_every_models_confidence(evaluated):
    standardised = Standardisation.fit(evaluated).standardised(evaluated)
    for m, model in enumerate(evaluated.models):
        home = evaluated.domain == model
        np.testing.assert_allclose(standardised[home, m], zscore(evaluated.confidence[home, m]), rtol=1e-12)


def test_how_high_and_wide_a_models_confidences_run_does_not_matter(evaluated):
    boasting = with_confidence(evaluated, evaluated.confidence * np.array([1, 3, 0.2]) + np.array([0, 0.5, -0.1]))
    assert (choose(boasting.confidence) == 1).all()
    plain, theirs = (Standardisation.fit(each).standardised(each) for each in (evaluated, boasting))
    np.testing.assert_allclose(theirs, plain, atol=1e-9)


def test_no_score_of_a_separation_is_looked_at(evaluated):
    unscored = replace(evaluated, source_si_sdr=np.full_like(evaluated.source_si_sdr, np.nan))
    assert Standardisation.fit(unscored) == Standardisation.fit(evaluated)


def test_another_score_has_statistics_of_its_own_and_nan_stays(evaluated):
    masks = evaluated.scores["confidence_masks"].copy()
    masks[5] = np.nan
    odd = replace(evaluated, scores=evaluated.scores | {"confidence_masks": masks})
    found = Standardisation.fit(odd, "confidence_masks")
    home = np.delete(masks[:60, 0], 5)
    assert found.statistics["speech"] == pytest.approx((home.mean(), home.std()))
    assert np.isnan(found.standardised(odd)).all(1).nonzero()[0].tolist() == [5]


def test_models_that_have_no_home_or_never_change_have_none(evaluated_factory, evaluated):
    assert Standardisation.fit(evaluated_factory(models=("speech", "speech-2"))) is None
    assert Standardisation.fit(with_confidence(evaluated, np.full_like(evaluated.confidence, 0.3))) is None


def test_a_model_without_statistics_is_refused(evaluated):
    with pytest.raises(InputError, match=r"^music model: its validation rows are missing; [^\n]*$"):
        Standardisation("confidence", {"speech": (0.1, 0.1)}).standardised(evaluated)
