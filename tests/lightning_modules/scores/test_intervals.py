"""Correlation of confidence with SI-SDR, gains of ensembles, and their intervals."""

import warnings
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import scipy.stats

from lightning_modules.scores.ensembles import ensembles
from lightning_modules.scores.intervals import (
    COEFFICIENTS,
    COMPARED,
    correlation,
    correlations,
    differences,
    mean_interval,
    multiplicities,
    points,
)

SCIPYS = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}


@pytest.fixture
def evaluated(evaluated_factory):
    return evaluated_factory()


def found(results):
    return {(result.domain, result.models, result.coefficient): result for result in results}


@pytest.mark.parametrize("coefficient", COEFFICIENTS)
def test_too_few_or_constant_points_have_no_correlation(coefficient):
    line, flat = np.arange(4.0), np.full(4, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x, y in ((line[:2], line[:2]), (line, flat), (flat, line), (line[:0], line[:0])):
            assert np.isnan(correlation(x, y, coefficient))
    assert correlation(line, line, coefficient) == pytest.approx(1)


def test_there_is_a_point_for_every_separated_source_with_a_confidence(evaluated):
    evaluated.confidence[:10, 0] = np.nan
    number, confidence, si_sdr = points(evaluated, "music", "music")
    of_domain = np.flatnonzero(evaluated.domain == "music")
    assert number.tolist() == np.repeat(of_domain, 2).tolist()
    assert confidence.tolist() == np.repeat(evaluated.confidence[of_domain, 1], 2).tolist()
    assert si_sdr.tolist() == evaluated.source_si_sdr[of_domain, 1].ravel().tolist()
    assert [len(points(evaluated, "speech", model)[0]) for model in ("speech", None)] == [100, 340]


def test_values_are_scipys_for_the_own_model_and_for_all(evaluated):
    results = found(correlations(evaluated, draws=10))
    assert len(results) == 3 * 2 * 2
    for (domain, models, name), result in results.items():
        member = evaluated.domain == domain
        chosen = [evaluated.models.index(domain)] if models == "own" else [0, 1, 2]
        x = np.repeat(evaluated.confidence[member][:, chosen].ravel(), 2)
        y = evaluated.source_si_sdr[member][:, chosen].ravel()
        assert result.value == pytest.approx(SCIPYS[name](x, y).statistic, abs=1e-12)
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
    x, y = evaluated.confidence[member, 0], evaluated.source_si_sdr[member, 0]
    drawn = {name: [] for name in SCIPYS}
    for weights in multiplicities([evaluated.recordings[i] for i in member], 200, seed=5):
        rows = np.repeat(np.arange(len(member)), weights.astype(int))
        for name, reference in SCIPYS.items():
            drawn[name].append(reference(np.repeat(x[rows], 2), y[rows].ravel()).statistic)
    for name, values in drawn.items():
        result = results["speech", "own", name]
        assert (result.low, result.high) == pytest.approx(tuple(np.percentile(values, (2.5, 97.5))), abs=1e-12)


def test_groups_keep_their_shares_in_every_draw_whatever_their_mixtures_are_made_of():
    recordings = [of for count in (2, 3) for of in combinations("abcde", count)]  # ten mixtures of each number
    number = np.array([len(of) for of in recordings])
    for groups, between in ((number, (0.5, 0.5)), (None, (0.5, 1.0))):  # fewer draws hold all three recordings
        low, high = mean_interval((number == 2).astype(float), recordings, groups=groups)[1:3]
        assert (low, high) == pytest.approx(between, abs=1e-12 if groups is not None else 0.1)
    values = np.random.default_rng(0).normal(size=20)
    assert mean_interval(values, recordings, groups=np.ones(20, np.int64)) == mean_interval(values, recordings)
    assert np.isnan(mean_interval(np.array([]), [])[:3]).all()


def test_degenerate_draws_are_skipped_and_counted(evaluated_factory):
    evaluated = replace(evaluated_factory(mixtures=3, domains=("speech",)), recordings=(("a",), ("b",), ("c",)))
    result = found(correlations(evaluated, draws=100))["speech", "own", "pearson"]
    drawn = [np.count_nonzero(weights) for weights in multiplicities(evaluated.recordings, 100, seed=0)]
    assert result.skipped == drawn.count(1) > 0  # one mixture: two points of one confidence
    assert -1 <= result.low <= result.high <= 1


def test_a_domain_without_points_has_no_result_and_without_a_model_of_its_name_only_all_models(evaluated_factory):
    assert correlations(evaluated_factory(mixtures=0), draws=10) == []
    results = found(correlations(evaluated_factory(models=("speech", "songs"), domains=("speech", "music")), draws=10))
    assert {key[:2] for key in results} == {("speech", "own"), ("speech", "all"), ("music", "all")}


def test_gains_are_paired_differences_of_the_chosen_outputs_with_intervals_of_drawn_recordings(evaluated):
    probabilities = ensembles(evaluated, evaluated.si_sdr)
    gains = differences(evaluated, probabilities, draws=100, seed=2)
    places = [(*pair, domain) for pair in COMPARED if pair[0] in probabilities for domain in evaluated.domains]
    assert [(gain.row, gain.reference, gain.domain) for gain in gains] == places
    for gain in gains:
        member = np.flatnonzero(evaluated.domain == gain.domain)
        scores, picked = evaluated.si_sdr[member], (evaluated.si_sdr * evaluated.picked).sum(1)[member]
        own = picked - scores.mean(1) if gain.row == "confidence" else scores.max(1) - picked
        recordings = [evaluated.recordings[i] for i in member]
        drawn = [np.average(own, weights=weights) for weights in multiplicities(recordings, 100, 2) if weights.any()]
        expected = (own.mean(), *np.percentile(drawn, (2.5, 97.5)))
        assert (gain.mean, gain.low, gain.high) == pytest.approx(expected)
        assert (gain.mixtures, gain.recordings) == (60, len({name for made in recordings for name in made}))
