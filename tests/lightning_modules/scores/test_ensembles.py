"""Ensembles, their scores, and the confusion of their picks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

from lightning_modules.errors import InputError
from lightning_modules.scores.ensembles import (
    COMPARED_SCORES,
    MEAN,
    choose,
    confusion,
    ensemble_scores,
    ensembles,
    one_hot,
    recovered_shares,
)
from lightning_modules.scores.fitted_ensembles import FittedEnsembles

DOMAINS = ("speech", "music", "environmental")


@pytest.fixture
def evaluated(evaluated_factory):
    return evaluated_factory()


def scores_of(evaluated, expected=None):
    scores = ensemble_scores(evaluated, ensembles(evaluated, expected))
    return {(score.row, score.domain): score for score in scores}


def test_scores_are_those_of_going_through_the_mixtures_one_by_one(evaluated):
    scores = scores_of(evaluated)
    for row in ("oracle", "confidence", *DOMAINS, *COMPARED_SCORES):
        for domain in DOMAINS:
            values = []
            for i in np.flatnonzero(evaluated.domain == domain):
                outputs = [float(np.mean(evaluated.source_si_sdr[i, m])) for m in range(3)]
                if row == "oracle":
                    values.append(max(outputs))
                elif row in DOMAINS:
                    values.append(outputs[DOMAINS.index(row)])
                else:
                    score = evaluated.scores[row][i].tolist()
                    values.append(outputs[score.index(max(score))])
            score = scores[row, domain]
            np.testing.assert_allclose((score.mean, score.std), (np.mean(values), np.std(values)), rtol=1e-9)
            assert score.n == len(values) == 60


def test_random_is_the_expectation_of_random_draws(evaluated):
    generator = np.random.default_rng(0)
    scores = scores_of(evaluated)
    for domain in DOMAINS:
        si_sdr = evaluated.si_sdr[evaluated.domain == domain]
        draws = generator.integers(3, size=(1000, len(si_sdr)))
        drawn = si_sdr[np.arange(len(si_sdr)), draws]
        score = scores["random", domain]
        assert score.mean == pytest.approx(np.mean([scores[model, domain].mean for model in DOMAINS]), abs=1e-12)
        assert (score.mean, score.std) == pytest.approx((drawn.mean(), drawn.std()), abs=0.05)


def test_the_share_of_the_way_is_one_for_the_oracle_and_none_for_chance(evaluated):
    scores = list(scores_of(evaluated).values())
    assert recovered_shares(scores, "oracle") == pytest.approx(dict.fromkeys((*DOMAINS, MEAN), 1.0))
    assert recovered_shares(scores, "random") == pytest.approx(dict.fromkeys((*DOMAINS, MEAN), 0.0))
    means = {(score.row, score.domain): score.mean for score in scores}
    worst, best = means["random", "music"], means["oracle", "music"]
    assert recovered_shares(scores, "confidence")["music"] == (means["confidence", "music"] - worst) / (best - worst)
    alike = scores_of(replace(evaluated, source_si_sdr=np.zeros_like(evaluated.source_si_sdr)))
    assert np.isnan([*recovered_shares(list(alike.values()), "confidence").values()]).all()


def test_a_domain_without_a_scored_mixture_has_no_score(evaluated_factory):
    evaluated = replace(evaluated_factory(domains=("speech", "music")), domains=DOMAINS)
    assert {domain for _, domain in scores_of(evaluated)} == {"speech", "music", MEAN}
    table = confusion(evaluated, ensembles(evaluated)["confidence"])
    assert table.counts[:, 2].tolist() == [0, 0, 0] and np.isnan(table.recall()["environmental"])
    assert 0 < table.accuracy() < 1
    empty = evaluated_factory(mixtures=0)
    assert scores_of(empty) == {} and recovered_shares([], "confidence") == {}


@given(arrays(float, (5, 3), elements=st.sampled_from([0.1, 0.2, 0.3, np.nan])))
def test_the_first_of_the_best_is_chosen_and_nan_never_beats_a_number(score):
    for values, choice in zip(score.tolist(), choose(score), strict=True):
        numbers = [value for value in values if value == value]
        assert choice == (values.index(max(numbers)) if numbers else 0)


@given(arrays(float, (5, 3), elements=st.sampled_from([-0.2, 0.1, 0.3, np.nan])))
def test_ties_go_to_the_higher_second_measure(confidence):
    assert choose(np.zeros((5, 3)), ties=confidence).tolist() == choose(confidence).tolist()
    values = np.array([[2.0, 1.0, 2.0 + 1e-12]] * 5)
    assert choose(values, ties=confidence).tolist() == (2 * choose(confidence[:, ::2])).tolist()


def test_confusion_precision_recall_and_accuracy_are_sklearns(evaluated):
    choice = choose(evaluated.confidence)
    picked = np.array(evaluated.models)[choice]
    table = confusion(evaluated, one_hot(choice, 3))
    np.testing.assert_array_equal(table.counts, confusion_matrix(picked, evaluated.domain, labels=DOMAINS))
    for ours, theirs in ((table.precision(), precision_score), (table.recall(), recall_score)):
        values = theirs(evaluated.domain, picked, labels=DOMAINS, average=None)
        assert ours == pytest.approx(dict(zip(DOMAINS, values, strict=True)))
    assert table.accuracy() == pytest.approx(accuracy_score(evaluated.domain, picked))
    assert table.by_pair()["music", "speech"] == table.counts[1, 0]


def test_models_that_no_domain_is_named_after_have_counts_only_and_one_never_picked_no_precision(evaluated_factory):
    evaluated = evaluated_factory(models=("speech", "speech, noisy", "instruments", "vocals"))
    table = confusion(evaluated, ensembles(evaluated)["confidence"])
    assert table.counts.shape == (4, 3) and table.counts.sum() == 180
    assert table.precision().keys() == table.recall().keys() == {"speech"} and np.isnan(table.accuracy())
    never = confusion(evaluated, one_hot(np.ones(180, dtype=int), 4))
    assert np.isnan(never.precision()["speech"]) and never.recall()["speech"] == 0


def test_rows_that_pick_another_model_than_the_most_confident_and_an_ensembles_name_are_refused(
    evaluated, evaluated_factory
):
    for picked in (np.roll(evaluated.picked, 1, axis=1), np.zeros_like(evaluated.picked)):
        with pytest.raises(InputError, match="speech mixture 0: its rows do not pick the most confident model"):
            ensembles(replace(evaluated, picked=picked))
    with pytest.raises(InputError, match="a model or score is called oracle"):
        ensembles(evaluated_factory(models=("speech", "oracle")))
    for name in ("expected", "standardised_masks"):  # of those that validation teaches
        own = replace(evaluated, scores=evaluated.scores | {name: -evaluated.confidence})
        with pytest.raises(InputError, match=f"a model or score is called {name}, as an ensemble is; rename it"):
            FittedEnsembles.fit(evaluated).probabilities(own)


def test_in_the_mean_domains_count_alike_however_many_mixtures_they_have(evaluated):
    kept = (evaluated.domain != "music") | (evaluated.index < 7)
    arrays = {name: getattr(evaluated, name)[kept] for name in ("domain", "index", "source_si_sdr", "picked")}
    scores = {name: values[kept] for name, values in evaluated.scores.items()}
    scores = scores_of(replace(evaluated, **arrays, scores=scores))
    for row in ("oracle", "random", "music"):
        parts = [scores[row, domain] for domain in DOMAINS]
        mean = np.mean([part.mean for part in parts])
        variance = np.mean([part.std**2 + (part.mean - mean) ** 2 for part in parts])
        assert scores[row, MEAN][2:] == pytest.approx((mean, np.sqrt(variance), 127))
