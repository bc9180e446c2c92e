"""Scenes and pairs: drawn from the distributions of their rules, and a function of (seed, split, index) alone."""

import random
from collections import Counter
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from datamodules.corpora.corpus import Clip
from datamodules.pair_recipes import PairRecipes, PairRules
from datamodules.recipes import PartlyLabelledRecipes, Recipe, SceneRecipes, SceneRules, generator_for
from datamodules.scene_statistics import distinct_classes_law
from datamodules.sound_bank import SoundBank
from lightning_modules.errors import InputError
from lightning_modules.spectrogram import Geometry

CLIPS_OF_CLASS = [np.arange(100 * i, 100 * i + 100) for i in range(5)]
STEMS = ("vocals", "drums")
RATE = 8_000
GEOMETRY = Geometry(RATE, 256, 128)


def bank_of(*rows: tuple[str, str, float] | tuple[str, str, float, int]) -> SoundBank:
    """Clips of no sound, from their label, recording, duration in seconds and section."""
    clips = [
        Clip(str(number), label, 1, recording, section=section[0] if section else 0)
        for number, (label, recording, _, *section) in enumerate(rows)
    ]
    lengths = np.array([round(row[2] * RATE) for row in rows], np.int64)
    return SoundBank(Path(), RATE, clips, np.cumsum(lengths) - lengths, lengths, np.full(len(rows), -25.0), [])


# Labels of very different numbers of clips; "a" and "b" have a recording in common.
UNEQUAL = bank_of(
    *(("a", f"a{i % 4}", 0.3 + 0.4 * i) for i in range(9)),
    *(("b", recording, 2.5) for recording in ("a0", "b0", "b1")),
    *(("c", f"c{i}", 1.0) for i in range(5)),
    ("d", "d0", 4.0),
)
SONGS = bank_of(*((stem, f"song{n % 3}", 3.0 + 0.1 * n, n // 3) for n in range(9) for stem in ("bass", *STEMS)))


def scenes(seed=0, split="train", clips=CLIPS_OF_CLASS, **rules) -> SceneRecipes:
    return SceneRecipes(SceneRules(**rules), clips, seed, split)


def pairs(bank: SoundBank = UNEQUAL, stems=None, seed=0, split="train", **rules) -> PairRecipes:
    return PairRecipes(PairRules(**{"duration": 1.0, **rules}), np.arange(len(bank.clips)), bank, stems, seed, split)


def clips_of(recipes: PairRecipes, indices) -> list[list[Clip]]:
    return [[recipes.bank.clips[number] for number in recipes(index).clips] for index in indices]


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def column(recipes: list[Recipe], field: str) -> np.ndarray:
    return np.concatenate([getattr(recipe, field) for recipe in recipes])


@pytest.fixture(scope="module")
def drawn() -> list[Recipe]:
    return [scenes()(index) for index in range(4000)]


@pytest.fixture(scope="module")
def drawn_pairs() -> list[Recipe]:
    recipes = pairs()
    return [recipes(index) for index in range(2000)]


@pytest.mark.parametrize("draw", [scenes, pairs])
def test_a_recipe_depends_on_seed_split_and_index_alone(draw):
    first = draw()(7)
    for seed in (np.random.seed, torch.manual_seed, random.seed):
        seed(1)
    other = draw()
    other(3)
    assert same(other(7), first)
    others = [draw()(8), draw(seed=1)(7), draw(split="validation")(7), draw(split="test")(7)]
    assert not any(same(first, other) for other in others)


def test_recipes_stay_the_same_from_version_to_version():
    # Stored when they were first drawn: should this fail, recorded results are of mixtures that are not made any more.
    scene = scenes()(12345)
    assert scene.clips.tolist() == [421, 236] and scene.classes.tolist() == [4, 2]
    np.testing.assert_allclose(scene.onsets, [3.12544956, 1.96654341], atol=1e-8)
    np.testing.assert_allclose(scene.loudness, [-28.03100756, -27.36111171], atol=1e-8)
    pair, song = pairs()(12345), pairs(SONGS, STEMS, coherent=0.5)(12345)
    assert pair.clips.tolist() == [17, 9] and song.clips.tolist() == [13, 14]
    starts = [1.29012994, 0.32759156, 0.28127879, 0.28127879]
    np.testing.assert_allclose([*pair.starts, *song.starts], starts, atol=1e-8)
    np.testing.assert_allclose(pair.loudness, [-25, -26.964928], atol=1e-5)


def test_generators_of_different_identities_are_different():
    identities = product((0, 1), ("train", "validation", "test"), ("scene", "order"), (0, 1, 2**40))
    assert len({generator_for(*identity).random() for identity in identities}) == 36


def test_the_number_of_events_is_zero_truncated_poisson(drawn):
    counts = np.bincount([len(recipe.clips) for recipe in drawn], minlength=14)
    assert counts[0] == 0
    expected = scipy.stats.poisson.pmf(np.arange(1, 13), 5) / (1 - np.exp(-5))
    expected = np.append(expected, 1 - expected.sum()) * len(drawn)
    assert scipy.stats.chisquare(np.append(counts[1:13], counts[13:].sum()), expected).pvalue > 0.001


def test_classes_and_clips_are_uniform_and_distinct_classes_follow_the_closed_form(drawn):
    assert scipy.stats.chisquare(np.bincount(column(drawn, "classes"), minlength=5)).pvalue > 0.001
    assert scipy.stats.chisquare(np.bincount(column(drawn, "clips"), minlength=500)).pvalue > 0.001
    distinct = np.bincount([len(np.unique(recipe.classes)) for recipe in drawn], minlength=6)[1:]
    assert scipy.stats.chisquare(distinct, distinct_classes_law(5, 5.0) * len(drawn)).pvalue > 0.001


@pytest.mark.parametrize(("field", "low", "high"), [("onsets", 0.0, 3.5), ("loudness", -30.0, -25.0)])
def test_onsets_and_loudness_are_uniform_between_their_limits(drawn, field, low, high):
    values = column(drawn, field)
    assert low <= values.min() and values.max() <= high
    assert scipy.stats.kstest((values - low) / (high - low), "uniform").pvalue > 1e-6


@pytest.mark.parametrize(("rate", "sizes"), [(0.5, (1, 2, 30, 9)), (5, (1, 2, 30, 10_500)), (60, (50, 70, 99, 10_500))])
def test_clips_are_the_draws_of_numpys_choice_without_replacement(rate, sizes):
    # One draw after the other, in the order of the classes, by the library's own function for it.
    clips_of_class = [np.arange(3, 3 + 7 * size, 7) for size in sizes]
    for index in range(30):
        recipe = scenes(4, "test", clips_of_class, event_rate=rate)(index)
        generator = np.random.default_rng([4, 2, 0, index])
        while True:
            classes = generator.integers(4, size=generator.poisson(rate))
            counts = np.bincount(classes, minlength=4)
            if len(classes) and (counts <= sizes).all():
                break
        for label in np.flatnonzero(counts):
            expected = generator.choice(clips_of_class[label], counts[label], replace=False)
            assert recipe.clips[classes == label].tolist() == expected.tolist()
        assert recipe.classes.tolist() == classes.tolist()


def test_a_rate_far_beyond_the_clips_is_refused_instead_of_drawn_for_ever():
    with pytest.raises(InputError, match=r"event_rate: 60 .*\[2, 2\] clips in the train split"):
        scenes(clips=[np.arange(2), np.arange(2, 4)], event_rate=60)(0)


def test_unlabelled_events_leave_those_of_the_classes_as_they_are_and_their_number_is_poisson():
    rules = SceneRules(event_rate=1.5, quietest=-20, loudest=-20)
    others = SceneRecipes(rules, [np.arange(500, 530), np.arange(600, 690)], 0, "train", None, 0, "unlabelled")
    both = PartlyLabelledRecipes(scenes(), others)
    counts, classes = [], []
    for index in range(2000):
        recipe, scene = both(index), scenes()(index)
        known = len(scene.clips)
        assert same([field[:known] for field in recipe[:5]], scene[:5])
        assert (recipe.classes[known:] == 5).all() and (recipe.loudness[known:] == -20).all()
        counts.append(len(recipe.clips) - known)
        classes += (recipe.clips[known:] >= 600).tolist()
    expected = scipy.stats.poisson.pmf(np.arange(5), 1.5)
    found = np.bincount(np.minimum(counts, 5), minlength=6)
    assert scipy.stats.chisquare(found, 2000 * np.append(expected, 1 - expected.sum())).pvalue > 0.001
    assert scipy.stats.binomtest(sum(classes), len(classes)).pvalue > 0.001
    # Stored when they were first drawn.
    assert both(12345).clips.tolist() == [421, 236, 514, 616, 517, 503]


@pytest.mark.parametrize("sources", [2, 4])
def test_sources_are_of_different_labels_and_recordings(sources):
    for clips in clips_of(pairs(sources=sources), range(300)):
        assert len({clip.label for clip in clips}) == len({clip.recording for clip in clips}) == sources


def test_mixtures_hold_from_the_fewest_to_the_most_sources_each_number_as_likely():
    recipes = pairs(sources=4, fewest_sources=2)
    sizes = Counter(len(clips) for clips in clips_of(recipes, range(600)))
    assert sizes.keys() == {2, 3, 4} and scipy.stats.chisquare(list(sizes.values())).pvalue > 0.001
    for index in range(50):
        recipe, whole = recipes(index), pairs(sources=4)(index)
        assert recipe.clips.tolist() == whole.clips.tolist()[: len(recipe.clips)]
        assert recipe.classes.tolist() == list(range(len(recipe.clips))) and len(recipe.loudness) == len(recipe.clips)


def test_ordered_pairs_of_labels_and_clips_of_a_label_are_equally_likely(drawn_pairs):
    counts = {"a": 9, "b": 3, "c": 1}
    bank = bank_of(*((label, f"{label}{n}", 1.0) for label, count in counts.items() for n in range(count)))
    labels = Counter(tuple(clip.label for clip in clips) for clips in clips_of(pairs(bank), range(2000)))
    assert labels.keys() == set(permutations(counts, 2))
    assert scipy.stats.chisquare(list(labels.values())).pvalue > 0.001
    clips = np.bincount(column(drawn_pairs, "clips"))
    assert scipy.stats.chisquare(clips[12:17]).pvalue > 0.001


@pytest.mark.parametrize("sources", [2, 3])
def test_the_first_source_is_louder_than_each_other_one_by_what_is_drawn_between_the_limits(sources):
    recipes = pairs(sources=sources, quietest=1.0, loudest=6.0)
    loudness = np.array([recipes(index).loudness for index in range(400)])
    ratios = loudness[:, :1] - loudness[:, 1:]
    assert (loudness[:, 0] == -25).all() and ratios.min() >= 1 and ratios.max() <= 6
    for ratio in ratios.T:
        assert scipy.stats.kstest((ratio - 1) / 5, "uniform").pvalue > 0.001
    assert sources == 2 or abs(np.corrcoef(ratios[:, 0], ratios[:, 1])[0, 1]) < 0.2  # each of its own


def test_longer_clips_are_cut_from_anywhere_each_by_itself_and_shorter_ones_played_from_their_start(drawn_pairs):
    clips, starts = column(drawn_pairs, "clips"), column(drawn_pairs, "starts")
    spare = np.maximum(UNEQUAL.lengths / RATE - 1.0, 0)[clips]
    assert not starts[spare == 0].any()
    shares = starts[spare > 0] / spare[spare > 0]
    assert len(shares) > 1000 and shares.min() >= 0 and shares.max() <= 1
    assert scipy.stats.kstest(shares, "uniform").pvalue > 1e-6
    recipes = pairs(bank_of(("a", "a", 3.0), ("b", "b", 3.0)))
    assert abs(np.corrcoef(np.array([recipes(index).starts for index in range(400)]).T)[0, 1]) < 0.2


def test_coherent_stems_are_of_one_section_of_one_song_and_of_one_moment_that_lies_in_both():
    bank = bank_of(("drums", "x", 1.5, 0), ("vocals", "x", 4.0, 0), ("vocals", "x", 2.0, 1), ("drums", "x", 3.0, 1))
    recipes = pairs(bank, STEMS, coherent=1.0)
    shares = []
    for index, clips in enumerate(clips_of(recipes, range(200))):
        assert tuple(clip.label for clip in clips) == STEMS and clips[0].section == clips[1].section
        first, second = recipes(index).starts
        assert first == second
        shares.append(first / {0: 0.5, 1: 1.0}[clips[0].section])
    assert scipy.stats.kstest(shares, "uniform").pvalue > 1e-6


@pytest.mark.parametrize(("share", "stems"), [(0.0, STEMS), (0.3, STEMS[::-1]), (1.0, STEMS)])
def test_stems_are_in_their_order_coherent_by_the_rules_share_and_else_of_different_songs(share, stems):
    drawn = clips_of(pairs(SONGS, stems, coherent=share), range(1000))
    assert {tuple(clip.label for clip in clips) for clips in drawn} == {stems}
    together = [clips[0] for clips in drawn if clips[0].recording == clips[1].recording]
    assert scipy.stats.binomtest(len(together), 1000, share).pvalue > 0.001
    if share == 1:
        counts = Counter((clip.recording, clip.section) for clip in together)
        assert len(counts) == 9 and scipy.stats.chisquare(list(counts.values())).pvalue > 0.001


def test_sections_without_all_stems_are_never_coherent():
    bank = bank_of(("vocals", "x", 2.0), ("vocals", "y", 2.0), ("drums", "y", 2.0), ("drums", "z", 2.0))
    recipes = pairs(bank, STEMS, coherent=1.0)
    assert all(recipes(index).clips.tolist() == [1, 2] for index in range(20))


@pytest.mark.parametrize(
    ("rules", "setting", "message"),
    [
        (SceneRules, {"duration": 0}, "duration: 0; a number above 0"),
        (SceneRules, {"event_rate": -1}, "event_rate: -1; a number above 0"),
        (SceneRules, {"latest_onset": 4.0}, r"latest_onset: 4.0; less than the duration \(4.0 s\)"),
        (SceneRules, {"quietest": -20.0}, "quietest: -20.0 LUFS is louder than loudest, -25.0 LUFS"),
        (PairRules, {"duration": 0}, "duration: 0; a number above 0"),
        (PairRules, {"quietest": 3.0}, "quietest: 3.0 dB is louder than loudest, 2.5 dB"),
        (PairRules, {"fewest_sources": 1}, "fewest_sources: 1; at least 2 is needed"),
        (PairRules, {"fewest_sources": 3}, "fewest_sources: 3; at most 2 is possible"),
    ],
)
def test_impossible_rules_are_named_in_one_line(rules, setting, message):
    with pytest.raises(InputError, match=message) as caught:
        rules(**setting)
    assert "\n" not in str(caught.value)


VOCALS, DRUMS = ("vocals", "x", 1.0), ("drums", "x", 1.0)


@pytest.mark.parametrize(
    ("rows", "stems", "rules", "message"),
    [
        ([], None, {}, "0 of the 2 labels that a mixture needs; give other folds"),
        ([("a", "x", 1.0), ("b", "y", 1.0)], None, {"sources": 3}, "2 of the 3 labels"),
        ([("a", "x", 1.0), ("b", "x", 1.0)], None, {}, "no 2 labels of different recordings"),
        ([VOCALS, DRUMS], STEMS, {"coherent": 0.5}, "no 2 labels of different recordings; give more clips"),
        ([("bass", "x", 1.0)], STEMS, {}, "no clip of vocals, drums; give other folds"),
        ([VOCALS, ("drums", "y", 1.0)], STEMS, {"coherent": 1.0}, r"no section has all stems \(vocals, drums\); set"),
    ],
)
def test_clips_that_make_no_mixture_are_refused_before_the_first_one_in_one_line(rows, stems, rules, message):
    with pytest.raises(InputError, match=f"^test split: {message}") as caught:
        pairs(bank_of(*rows), stems, split="test", **rules)
    assert "\n" not in str(caught.value)
    # Coherent ones alone need no second recording.
    assert pairs(bank_of(VOCALS, DRUMS), STEMS, coherent=1.0)(0).clips.tolist() == [0, 1]
