"""Correlation of confidence with SI-SDR, and its intervals."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from callbacks.bootstrap import multiplicities
from callbacks.correlation import correlations, pearson, points, spearman


@pytest.fixture
def evaluated(evaluated_factory):
    return evaluated_factory()


def found(results):
    return {(result.domain, result.models, result.coefficient): result for result in results}


@pytest.mark.parametrize("levels", [4, 10**6])
def test_weighted_correlations_are_scipys_of_repeated_points(levels):
    generator = np.random.default_rng(0)
    for _ in range(20):
        x = generator.integers(levels, size=30).astype(float)
        y = x + generator.integers(2 * levels, size=30)
        weights = generator.integers(1, 5, size=30)
        repeated = np.repeat(x, weights), np.repeat(y, weights)
        assert pearson(x, y, weights) == pytest.approx(scipy.stats.pearsonr(*repeated).statistic, abs=1e-12)
        assert spearman(x, y, weights) == pytest.approx(scipy.stats.spearmanr(*repeated).statistic, abs=1e-12)


@pytest.mark.parametrize("coefficient", [pearson, spearman])
def test_too_few_or_constant_points_have_no_correlation(coefficient):
    line, flat = np.arange(4.0), np.full(4, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(coefficient(line[:2], line[:2], np.array([5.0, 5.0])))
        assert np.isnan(coefficient(line, flat, np.ones(4)))
        assert np.isnan(coefficient(flat, line, np.ones(4)))
        assert np.isnan(coefficient(line[:0], line[:0], np.ones(0)))
    assert coefficient(line, line, np.ones(4)) == pytest.approx(1)


def test_there_is_a_point_for_every_separated_source(evaluated):
    number, confidence, si_sdr = points(evaluated, "music", "music")
    of_domain = np.flatnonzero(evaluated.domain == "music")
    assert number.tolist() == np.repeat(of_domain, 2).tolist()
    assert confidence.tolist() == np.repeat(evaluated.confidence[of_domain, 1], 2).tolist()
    assert si_sdr.tolist() == evaluated.source_si_sdr[of_domain, 1].ravel().tolist()
    assert len(points(evaluated, "music")[0]) == 3 * len(number)


def test_values_are_scipys_for_the_own_model_and_for_all(evaluated):
    results = found(correlations(evaluated, draws=10))
    assert len(results) == 3 * 2 * 2
    for (domain, models, name), result in results.items():
        member = evaluated.domain == domain
        chosen = [evaluated.models.index(domain)] if models == "own" else [0, 1, 2]
        x = np.repeat(evaluated.confidence[member][:, chosen].ravel(), 2)
        y = evaluated.source_si_sdr[member][:, chosen].ravel()
        reference = scipy.stats.pearsonr if name == "pearson" else scipy.stats.spearmanr
        assert result.value == pytest.approx(reference(x, y).statistic, abs=1e-12)
        assert result.points == len(y) and result.recordings == 12
        assert result.low < result.value < result.high


def test_a_mixture_comes_as_often_as_the_product_of_its_recordings():
    recordings = [("a",), ("a", "b"), ("b", "c"), ("c", "c"), ("d", "a", "b")]
    draws = list(multiplicities(recordings, 300, seed=3))
    generator = np.random.default_rng(3)
    for weights in draws:
        times = dict(zip("abcd", generator.multinomial(4, [0.25] * 4), strict=True))
        expected = [np.prod([times[name] for name in dict.fromkeys(mixture)]) for mixture in recordings]
        assert weights.tolist() == expected
    # E[n_a] = 1 and E[n_a n_b] = 1 - 1/R
    assert np.mean(draws, axis=0)[:3] == pytest.approx([1, 0.75, 0.75], abs=0.15)


def test_intervals_are_those_of_repeating_rows(evaluated):
    results = found(correlations(evaluated, draws=200, seed=5))
    member = np.flatnonzero(evaluated.domain == "speech")
    recordings = [evaluated.recordings[i] for i in member]
    x, y = evaluated.confidence[member, 0], evaluated.source_si_sdr[member, 0]
    drawn = {"pearson": [], "spearman": []}
    for weights in multiplicities(recordings, 200, seed=5):
        rows = np.repeat(np.arange(len(member)), weights.astype(int))
        repeated = np.repeat(x[rows], 2), y[rows].ravel()
        drawn["pearson"].append(scipy.stats.pearsonr(*repeated).statistic)
        drawn["spearman"].append(scipy.stats.spearmanr(*repeated).statistic)
    for name, values in drawn.items():
        result = results["speech", "own", name]
        assert (result.low, result.high) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=1e-12)


def test_mixtures_of_few_recordings_tell_less_than_as_many_of_different_ones(evaluated_factory):
    evaluated = evaluated_factory(mixtures=300, domains=("speech",))
    generator = np.random.default_rng(0)
    recording = np.arange(300) % 6  # both confidence and SI-SDR are much the same for all mixtures of a recording
    confidence, si_sdr = (generator.normal(size=6)[recording] + generator.normal(0, 0.1, 300) for _ in range(2))
    evaluated = replace(
        evaluated,
        measures={"confidence": np.tile(confidence[:, None], 3)},
        source_si_sdr=np.tile(si_sdr[:, None, None], (1, 3, 2)),
    )
    by_recording, by_row = (
        found(correlations(replace(evaluated, recordings=made_of), draws=300))["speech", "own", "pearson"]
        for made_of in ([(f"{r}",) for r in recording], [(f"{i}",) for i in range(300)])
    )
    assert by_recording.value == by_row.value
    assert by_recording.high - by_recording.low > 4 * (by_row.high - by_row.low)


def test_the_same_seed_gives_the_same_intervals(evaluated):
    assert correlations(evaluated, draws=20, seed=1) == correlations(evaluated, draws=20, seed=1)
    assert correlations(evaluated, draws=20, seed=1) != correlations(evaluated, draws=20, seed=2)


def test_degenerate_draws_are_skipped_and_counted(evaluated_factory):
    evaluated = replace(
        evaluated_factory(mixtures=3, domains=("speech",)), recordings=(("a",), ("b",), ("c",)), domains=("speech",)
    )
    result = found(correlations(evaluated, draws=500))["speech", "own", "pearson"]
    drawn = [np.count_nonzero(weights) for weights in multiplicities(evaluated.recordings, 500, seed=0)]
    assert result.skipped == drawn.count(1) > 0  # one mixture: two points of one confidence
    assert -1 <= result.low <= result.high <= 1


def test_without_points_there_is_no_result(evaluated_factory):
    assert correlations(evaluated_factory(mixtures=0), draws=10) == []


def test_mixtures_without_confidence_are_no_points(evaluated):
    confidence = evaluated.confidence.copy()
    confidence[:10, 0] = np.nan
    holed = replace(evaluated, measures=evaluated.measures | {"confidence": confidence})
    results = found(correlations(holed, draws=10))
    assert results["speech", "own", "pearson"].points == 100
    assert results["speech", "all", "pearson"].points == 340
    assert not np.isnan(results["speech", "all", "spearman"].low)


def test_a_domain_without_a_model_of_its_name_has_only_all_models(evaluated_factory):
    results = found(correlations(evaluated_factory(models=("speech", "songs")), draws=10))
    assert {key[:2] for key in results} == {
        *(("speech", models) for models in ("own", "all")),
        ("music", "all"),
        ("environmental", "all"),
    }
