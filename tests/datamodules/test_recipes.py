import random

import numpy as np
import pytest
import scipy.stats
import torch

from datamodules.recipes import SceneRecipes, SceneRules, identity_generator
from datamodules.scene_statistics import distinct_classes_law
from lightning_modules.errors import InputError

CLIPS_OF_CLASS = [np.arange(100 * i, 100 * i + 100) for i in range(5)]
DRAWN = 4000


@pytest.fixture(scope="module")
def recipes() -> SceneRecipes:
    return SceneRecipes(SceneRules(), CLIPS_OF_CLASS, seed=0, split="train")


@pytest.fixture(scope="module")
def drawn(recipes):
    return [recipes(i) for i in range(DRAWN)]


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_recipe_depends_on_nothing_but_its_identity(recipes, drawn):
    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    other = SceneRecipes(SceneRules(), [clips.copy() for clips in CLIPS_OF_CLASS], seed=0, split="train")
    assert all(same(other(i), drawn[i]) for i in (17, 3, 17, DRAWN - 1, 0))


def test_another_index_seed_or_split_gives_another_recipe(recipes):
    others = [
        recipes(8),
        SceneRecipes(SceneRules(), CLIPS_OF_CLASS, seed=1, split="train")(7),
        SceneRecipes(SceneRules(), CLIPS_OF_CLASS, seed=0, split="validation")(7),
        SceneRecipes(SceneRules(), CLIPS_OF_CLASS, seed=0, split="test")(7),
    ]
    assert not any(same(recipes(7), other) for other in others)


def test_recipes_stay_the_same_from_version_to_version(recipes):
    # Stored when it was first drawn: should this fail, recorded results belong to mixtures that are not made any more.
    recipe = recipes(12345)
    assert recipe.clips.tolist() == [421, 236] and recipe.classes.tolist() == [4, 2]
    np.testing.assert_allclose(recipe.onsets, [3.12544956, 1.96654341], atol=1e-8)
    np.testing.assert_allclose(recipe.loudness, [-28.03100756, -27.36111171], atol=1e-8)


def test_the_number_of_events_is_zero_truncated_poisson(drawn):
    counts = np.bincount([len(recipe.clips) for recipe in drawn], minlength=14)
    assert counts[0] == 0
    expected = scipy.stats.poisson.pmf(np.arange(1, 13), 5) / (1 - np.exp(-5))
    expected = np.append(expected, 1 - expected.sum()) * DRAWN
    observed = np.append(counts[1:13], counts[13:].sum())
    assert scipy.stats.chisquare(observed, expected).pvalue > 0.001


def test_classes_are_uniform_and_the_number_of_distinct_ones_follows_the_closed_form(drawn):
    events = np.concatenate([recipe.classes for recipe in drawn])
    assert scipy.stats.chisquare(np.bincount(events, minlength=5)).pvalue > 0.001
    distinct = np.bincount([len(np.unique(recipe.classes)) for recipe in drawn], minlength=6)[1:]
    assert scipy.stats.chisquare(distinct, distinct_classes_law(5, 5.0) * DRAWN).pvalue > 0.001


def test_clips_of_a_class_are_uniform(drawn):
    clips = np.concatenate([recipe.clips for recipe in drawn])
    assert scipy.stats.chisquare(np.bincount(clips, minlength=500)).pvalue > 0.001


@pytest.mark.parametrize(("field", "low", "high"), [("onsets", 0.0, 3.5), ("loudness", -30.0, -25.0)])
def test_onsets_and_loudness_are_uniform_between_their_limits(drawn, field, low, high):
    values = np.concatenate([getattr(recipe, field) for recipe in drawn])
    assert low <= values.min() and values.max() <= high
    assert scipy.stats.kstest((values - low) / (high - low), "uniform").pvalue > 1e-6


def test_every_clip_is_one_of_its_class_and_occurs_once_in_a_mixture(drawn):
    for recipe in drawn:
        assert len(np.unique(recipe.clips)) == len(recipe.clips)
        assert np.array_equal(recipe.clips // 100, recipe.classes)


def test_few_clips_still_make_mixtures_without_repeating_one():
    recipes = SceneRecipes(SceneRules(), [np.array([4]), np.array([7, 9])], seed=0, split="test")
    drawn = [recipes(i) for i in range(200)]
    assert all(len(np.unique(recipe.clips)) == len(recipe.clips) for recipe in drawn)
    assert {clip for recipe in drawn for clip in recipe.clips.tolist()} == {4, 7, 9}


def test_other_rules_are_followed():
    rules = SceneRules(duration=1.0, event_rate=0.5, latest_onset=0.0, quietest=-20.0, loudest=-20.0)
    recipe = SceneRecipes(rules, CLIPS_OF_CLASS, seed=0, split="train")(0)
    assert not recipe.onsets.any() and np.all(recipe.loudness == -20)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"duration": 0}, "duration: 0; a number above 0"),
        ({"event_rate": -1}, "event_rate: -1; a number above 0"),
        ({"latest_onset": 4.0}, r"latest_onset: 4.0 s; between 0 and the duration \(4.0 s\)"),
        ({"latest_onset": -0.1}, "latest_onset: -0.1; a number from 0 to 4 is needed"),
        ({"quietest": -20.0}, "quietest: -20.0 LUFS is louder than loudest, -25.0 LUFS"),
    ],
)
def test_impossible_rules_are_named_in_one_line(setting, message):
    with pytest.raises(InputError, match=message) as caught:
        SceneRules(**setting)
    assert "\n" not in str(caught.value)


def test_generators_of_different_identities_are_different():
    draws = {
        identity_generator(seed, split, purpose, number).random()
        for seed in (0, 1)
        for split in ("train", "validation", "test")
        for purpose in ("scene", "order")
        for number in (0, 1, 2**40)
    }
    assert len(draws) == 36


def test_a_rate_far_beyond_the_clips_is_refused_instead_of_drawn_for_ever():
    recipes = SceneRecipes(SceneRules(event_rate=60), [np.arange(2), np.arange(2, 4)], seed=0, split="train")
    with pytest.raises(InputError, match=r"event_rate: 60 .*\[2, 2\] clips in the train split"):
        recipes(0)


@pytest.mark.parametrize(("rate", "sizes"), [(0.5, (1, 2, 30, 9)), (5, (1, 2, 30, 10_500)), (60, (50, 70, 99, 10_500))])
def test_clips_are_the_draws_of_numpys_choice_without_replacement(rate, sizes):
    # One draw after the other, in the order of the classes, by the library's own function for it.
    clips_of_class = [np.arange(3, 3 + 7 * size, 7) for size in sizes]
    for index in range(60):
        recipe = SceneRecipes(SceneRules(event_rate=rate), clips_of_class, seed=4, split="test")(index)
        generator = np.random.default_rng([4, 2, 0, index])
        while True:
            classes = generator.integers(4, size=generator.poisson(rate))
            counts = np.bincount(classes, minlength=4)
            if len(classes) and (counts <= sizes).all():
                break
        for label in range(4):
            if counts[label]:
                expected = generator.choice(clips_of_class[label], counts[label], replace=False)
                assert recipe.clips[classes == label].tolist() == expected.tolist()
        assert recipe.classes.tolist() == classes.tolist()
        assert recipe.onsets.tolist() == generator.uniform(0, 3.5, len(classes)).tolist()
        assert recipe.loudness.tolist() == generator.uniform(-30, -25, len(classes)).tolist()
