"""From confidence to expected SI-SDR."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from callbacks.calibration import CALIBRATION_COLUMNS, Calibration
from callbacks.model_selection import choose, ensembles
from callbacks.rows import read_rows, write_rows
from lightning_modules.errors import InputError


@pytest.fixture
def evaluated(evaluated_factory):
    return evaluated_factory()


def with_confidence(evaluated, confidence):
    return replace(evaluated, measures=evaluated.measures | {"confidence": confidence})


def test_maps_are_isotonic_regressions_over_all_domains(evaluated):
    calibration = Calibration.fit(evaluated)
    probe = np.linspace(-1, 1.5, 500)
    expected = calibration(np.repeat(probe[:, None], 3, axis=1))
    for m in range(3):
        regression = IsotonicRegression(out_of_bounds="clip").fit(evaluated.confidence[:, m], evaluated.si_sdr[:, m])
        np.testing.assert_allclose(expected[:, m], regression.predict(probe), rtol=1e-12)


def test_maps_never_decrease_and_stay_within_what_was_seen(evaluated):
    expected = Calibration.fit(evaluated)(np.repeat(np.linspace(-1, 2, 2000)[:, None], 3, axis=1))
    assert (np.diff(expected, axis=0) >= -1e-9).all()
    assert (expected >= evaluated.si_sdr.min(0) - 1e-9).all() and (expected <= evaluated.si_sdr.max(0) + 1e-9).all()


def test_on_its_own_mixtures_a_map_keeps_the_mean_and_errs_less_than_a_line(evaluated):
    expected = Calibration.fit(evaluated).expected(evaluated)
    np.testing.assert_allclose(expected.mean(0), evaluated.si_sdr.mean(0))
    for x, y, guess in zip(evaluated.confidence.T, evaluated.si_sdr.T, expected.T, strict=True):
        line = np.polyval(np.polyfit(x, y, 1), x)
        assert np.square(guess - y).sum() < np.square(line - y).sum()


def test_with_one_map_for_all_models_the_choice_is_that_of_confidence(evaluated):
    knots = Calibration.fit(evaluated).knots["speech"]
    same = Calibration(dict.fromkeys(evaluated.models, knots))
    confidence = np.random.default_rng(1).uniform(-1, 2, (5000, 3))  # far beyond the knots: clipping makes ties
    np.testing.assert_array_equal(choose(same(confidence), ties=confidence), choose(confidence))


def test_a_model_whose_confidences_run_high_is_put_in_its_place(evaluated):
    boasting = with_confidence(evaluated, evaluated.confidence + np.array([0, 0.5, 0]))
    expected = Calibration.fit(boasting).expected(boasting)
    plain = Calibration.fit(evaluated).expected(evaluated)
    np.testing.assert_allclose(expected, plain, atol=1e-9)
    assert (choose(boasting.confidence) == 1).mean() > 0.9
    best = evaluated.si_sdr.max(1).mean()
    chosen = np.take_along_axis(evaluated.si_sdr, choose(expected)[:, None], 1).mean()
    assert best - chosen < 0.5 * (best - evaluated.si_sdr[:, 1].mean())


def test_of_models_expected_alike_the_more_confident_is_taken_and_a_better_one_before_it(evaluated):
    expected = np.tile([4.99, 5.0, 5.0], (len(evaluated.domain), 1))
    picks = ensembles(evaluated, expected)["calibrated"]
    speech, music, environmental = evaluated.confidence.T
    np.testing.assert_array_equal(picks.argmax(1), np.where(music >= environmental, 1, 2))
    assert set(picks.argmax(1)) == {1, 2} and (speech > np.maximum(music, environmental)).any()


def test_a_constant_confidence_expects_the_mean(evaluated):
    constant = with_confidence(evaluated, np.full_like(evaluated.confidence, 0.3))
    calibration = Calibration.fit(constant)
    assert all(len(x) == 1 for x, _ in calibration.knots.values())
    np.testing.assert_allclose(calibration(np.array([[0.0, 0.3, 0.9]])), [constant.si_sdr.mean(0)])


def test_one_mixture_is_enough_and_none_is_refused(evaluated_factory):
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
    swapped = replace(
        evaluated,
        models=evaluated.models[::-1],
        measures={name: values[:, ::-1] for name, values in evaluated.measures.items()},
    )
    np.testing.assert_array_equal(calibration.expected(swapped), calibration.expected(evaluated)[:, ::-1])
    with pytest.raises(InputError, match="birds model: its validation rows are missing"):
        calibration.expected(replace(evaluated, models=("speech", "music", "birds")))


def test_written_and_read_it_is_the_same(evaluated, tmp_path):
    calibration = Calibration.fit(evaluated)
    calibration.write(tmp_path / "calibration.csv")
    again = Calibration.read(tmp_path / "calibration.csv")
    np.testing.assert_array_equal(again.expected(evaluated), calibration.expected(evaluated))
    assert tuple(read_rows(tmp_path / "calibration.csv")[0]) == CALIBRATION_COLUMNS


@pytest.mark.parametrize("knots", [[(0.1, 2.0), (0.1, 3.0)], [(0.1, 2.0), (0.2, 1.0)], [(0.1, 2.0), (0.2, np.nan)]])
def test_a_map_that_does_not_increase_is_refused(tmp_path, knots):
    write_rows(tmp_path / "calibration.csv", CALIBRATION_COLUMNS, [("music", *knot) for knot in knots])
    with pytest.raises(InputError, match="the map of music does not increase"):
        Calibration.read(tmp_path / "calibration.csv")
