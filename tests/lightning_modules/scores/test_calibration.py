"""From confidence to expected SI-SDR."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from lightning_modules.errors import InputError
from lightning_modules.scores.calibration import CALIBRATION_COLUMNS, Calibration
from lightning_modules.scores.ensembles import choose, ensembles
from lightning_modules.scores.rows import numbers, read_table


@pytest.fixture
def evaluated(evaluated_factory):
    return evaluated_factory()


def with_confidence(evaluated, confidence):
    return replace(evaluated, scores=evaluated.scores | {"confidence": confidence})


def test_maps_are_isotonic_regressions_over_all_domains_constant_beyond_what_was_seen(evaluated):
    probe = np.repeat(np.linspace(-1, 1.5, 180)[:, None], 3, axis=1)
    expected = Calibration.fit(evaluated).expected(with_confidence(evaluated, probe))
    for m in range(3):
        regression = IsotonicRegression(out_of_bounds="clip").fit(evaluated.confidence[:, m], evaluated.si_sdr[:, m])
        np.testing.assert_allclose(expected[:, m], regression.predict(probe[:, m]), rtol=1e-12)


def test_with_one_map_for_all_models_the_choice_is_that_of_confidence(evaluated):
    same = Calibration(dict.fromkeys(evaluated.models, Calibration.fit(evaluated).knots["speech"]))
    confidence = np.random.default_rng(1).uniform(-1, 2, (180, 3))  # far beyond the knots: clipping makes ties
    expected = same.expected(with_confidence(evaluated, confidence))
    np.testing.assert_array_equal(choose(expected, ties=confidence), choose(confidence))


def test_a_model_whose_confidences_run_high_is_put_in_its_place(evaluated):
    boasting = with_confidence(evaluated, evaluated.confidence + np.array([0, 0.5, 0]))
    assert (choose(boasting.confidence) == 1).mean() > 0.9
    plain = Calibration.fit(evaluated).expected(evaluated)
    np.testing.assert_allclose(Calibration.fit(boasting).expected(boasting), plain, atol=1e-9)


def test_of_models_expected_alike_the_more_confident_is_taken_and_a_better_one_before_it(evaluated):
    expected = np.tile([4.99, 5.0, 5.0], (len(evaluated.domain), 1))
    picks = ensembles(evaluated, expected)["calibrated"]
    _, music, environmental = evaluated.confidence.T
    np.testing.assert_array_equal(picks.argmax(1), np.where(music >= environmental, 1, 2))


def test_a_constant_confidence_or_a_single_mixture_expects_the_mean_and_without_one_a_model_is_refused(
    evaluated, evaluated_factory
):
    constant = with_confidence(evaluated, np.full_like(evaluated.confidence, 0.3))
    np.testing.assert_allclose(Calibration.fit(constant).expected(evaluated)[:2], [constant.si_sdr.mean(0)] * 2)
    one = evaluated_factory(mixtures=1, domains=("speech",))
    np.testing.assert_allclose(Calibration.fit(one).expected(one), one.si_sdr)
    with pytest.raises(InputError, match="speech model: no validation mixture"):
        Calibration.fit(evaluated_factory(mixtures=0))


def test_a_mixture_without_confidence_is_not_learnt_from_and_has_no_expectation(evaluated):
    confidence = evaluated.confidence.copy()
    confidence[::4, 1] = np.nan
    holed = with_confidence(evaluated, confidence)
    expected = Calibration.fit(holed).expected(holed)
    np.testing.assert_array_equal(np.isnan(expected), np.isnan(confidence))
    assert not (choose(expected, ties=confidence)[::4] == 1).any()


def test_models_are_matched_by_name(evaluated):
    calibration = Calibration.fit(evaluated)
    scores = {name: values[:, ::-1] for name, values in evaluated.scores.items()}
    swapped = replace(evaluated, models=evaluated.models[::-1], scores=scores)
    np.testing.assert_array_equal(calibration.expected(swapped), calibration.expected(evaluated)[:, ::-1])
    with pytest.raises(InputError, match="birds model: its validation rows are missing"):
        calibration.expected(replace(evaluated, models=("speech", "music", "birds")))


def test_its_knots_are_written(evaluated, tmp_path):
    calibration = Calibration.fit(evaluated)
    calibration.write(tmp_path / "calibration.csv")
    table = read_table(tmp_path / "calibration.csv", CALIBRATION_COLUMNS)
    for model, knots in calibration.knots.items():
        of_model = numbers(tmp_path, table[table["model"] == model], CALIBRATION_COLUMNS[1:])
        np.testing.assert_array_equal(of_model.T, knots)
