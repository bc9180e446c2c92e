"""Confidences in deviations from their mean at home."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import zscore

from lightning_modules.scores.ensembles import choose
from lightning_modules.scores.standardisation import standardised


@pytest.fixture
def evaluated(evaluated_factory):
    return evaluated_factory()


def with_confidence(evaluated, confidence):
    return replace(evaluated, scores=evaluated.scores | {"confidence": confidence})


def test_at_home_it_is_the_z_score_of_every_models_confidence(evaluated):
    found = standardised(evaluated, evaluated)
    for m, model in enumerate(evaluated.models):
        home = evaluated.domain == model
        np.testing.assert_allclose(found[home, m], zscore(evaluated.confidence[home, m]), rtol=1e-12)


def test_how_high_and_wide_a_models_confidences_run_does_not_matter(evaluated):
    boasting = with_confidence(evaluated, evaluated.confidence * np.array([1, 3, 0.2]) + np.array([0, 0.5, -0.1]))
    assert (choose(boasting.confidence) == 1).all()
    plain, theirs = (standardised(each, each) for each in (evaluated, boasting))
    np.testing.assert_allclose(theirs, plain, atol=1e-9)


def test_no_score_of_a_separation_is_looked_at(evaluated):
    unscored = replace(evaluated, source_si_sdr=np.full_like(evaluated.source_si_sdr, np.nan))
    np.testing.assert_array_equal(standardised(evaluated, unscored), standardised(evaluated, evaluated))


def test_another_score_has_statistics_of_its_own_and_nan_stays(evaluated):
    masks = evaluated.scores["confidence_masks"].copy()
    masks[5] = np.nan
    odd = replace(evaluated, scores=evaluated.scores | {"confidence_masks": masks})
    found = standardised(odd, odd, "confidence_masks")
    home = np.delete(masks[:60, 0], 5)
    np.testing.assert_allclose(found[:, 0], (masks[:, 0] - home.mean()) / home.std())
    assert np.isnan(found).all(1).nonzero()[0].tolist() == [5]


def test_models_that_have_no_home_or_never_change_have_none(evaluated_factory, evaluated):
    for validation in (
        evaluated_factory(models=("speech", "speech-2")),
        with_confidence(evaluated, np.full_like(evaluated.confidence, 0.3)),
    ):
        assert standardised(evaluated, validation) is None
