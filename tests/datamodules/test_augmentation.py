from dataclasses import replace
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import torch
from scipy import signal

from datamodules.augmentation import Augmentation, AugmentedRecipes, k_weighting, play, played_lengths
from datamodules.corpora.corpus import Clip
from datamodules.corpora.procedural import Procedural
from datamodules.recipes import Recipe, SceneRecipes, SceneRules, Variants
from datamodules.rendering import event_interval, render
from datamodules.sampling import EpochSampler
from datamodules.sound_bank import BankOnDemand
from datamodules.source_pairs import SourcePairs
from datamodules.urban_scenes import UrbanScenes
from lightning_modules.errors import InputError
from lightning_modules.spectrogram import Geometry

RATE = 16_000
GEOMETRY = Geometry(RATE, 512, 128)
FULL = Augmentation(speed=0.3, tilt=3.0, start=0.25, polarity=True)


def tone(frequency: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("speed", [0.7, 0.9, 1.0, 1.25, 1.3])
def test_a_tone_played_faster_is_a_shorter_higher_tone(speed):
    length = int(played_lengths(np.array(RATE), np.array(speed)))
    assert length == np.ceil(RATE / speed - 1e-6)
    played = play(tone(440, 1.0), length, speed, 0.0, RATE)
    assert played.dtype == np.float32 and len(played) == length
    inner = slice(500, length - 500)  # a tone that begins and ends suddenly is no tone there
    expected = np.sin(2 * np.pi * 440 * speed * np.arange(length) / RATE)
    scale = played[inner] @ expected[inner] / (expected[inner] @ expected[inner])
    assert np.abs(played[inner] - scale * expected[inner]).max() < 0.01


def test_lengths_are_those_of_fractions_to_the_sample():
    speeds = np.arange(240, 721)  # in 480ths
    for samples in (1, 245, 490, 16_000, 64_000):
        expected = [-(-samples * 480 // int(speed)) for speed in speeds]
        assert played_lengths(np.array(samples), speeds / 480).tolist() == expected


def test_what_lies_above_half_the_rate_is_gone_and_no_alias():
    played = play(tone(7000, 1.0), 12_000, 1.25, 0.0, RATE)
    within = play(tone(7000, 1.0) + tone(1000, 1.0), 12_000, 1.25, 0.0, RATE)
    _, power = signal.welch(within, RATE, nperseg=2048)
    assert np.argmax(power) == round(1250 / (RATE / 2048)) and power[400:1000].max() < 1e-3 * power.max()
    assert np.isfinite(played).all()


@pytest.mark.parametrize("tilt", [-3.0, 2.0])
def test_a_tilt_is_so_many_decibels_an_octave(tilt):
    white = noise(4.0)
    _, before = signal.welch(white, RATE, nperseg=1024)
    _, after = signal.welch(play(white, len(white), 1.0, tilt, RATE), RATE, nperseg=1024)
    level = 10 * np.log10(after / before)
    octaves = [level[16 * 2**n - 3 : 16 * 2**n + 4].mean() for n in range(5)]  # 250 Hz to 4 kHz
    np.testing.assert_allclose(np.diff(octaves), tilt, atol=0.25)
    rumble = level[2:6].mean() - level[61:68].mean()  # 30 to 80 Hz, as at 100, beside 1 kHz
    assert rumble == pytest.approx(tilt * np.log2(0.1), abs=0.3)


@pytest.mark.parametrize(("speed", "tilt"), [(0.7, 3.0), (1.3, -3.0), (1.0, 2.0), (1.25, 0.0)])
def test_loudness_stays_within_some_tenths_of_a_decibel(speed, tilt):
    brown = signal.lfilter([1], [1, -0.95], noise(4.0)).astype(np.float32)
    length = int(played_lengths(np.array(len(brown)), np.array(speed)))
    meter = pyloudnorm.Meter(RATE)
    loudness = [meter.integrated_loudness(s.astype(float)) for s in (brown, play(brown, length, speed, tilt, RATE))]
    assert loudness[1] == pytest.approx(loudness[0], abs=0.4)


def test_the_weighting_is_the_loudness_meters():
    frequencies = np.array([20.0, 60, 200, 1000, 2000, 4000, 7000])
    response = np.ones(len(frequencies), complex)
    for stage in pyloudnorm.Meter(RATE)._filters.values():
        response *= signal.freqz(stage.b, stage.a, frequencies, fs=RATE)[1]
    ours = 10 * np.log10(k_weighting(frequencies.astype(np.float32)))
    np.testing.assert_allclose(ours, 20 * np.log10(np.abs(response)), atol=0.3)


def test_silence_stays_silent():
    assert not play(np.zeros(5000, np.float32), 6000, 0.8, 1.0, RATE).any()
    assert play(np.zeros(0, np.float32), 0, 0.8, 1.0, RATE).size == 0


@pytest.fixture(scope="module")
def bank() -> BankOnDemand:
    seconds = (0.3, 1.0, 2.0, 4.0, 6.0, 6.0)
    clips = [Clip(str(number), "ab"[number % 2], 1, f"r{min(number, 4)}") for number in range(6)]
    samples = [noise(length, number) for number, length in enumerate(seconds)]
    lengths = np.array([len(each) for each in samples])
    bank = BankOnDemand(Path(), RATE, clips, np.cumsum(lengths) - lengths, lengths, np.zeros(6), [])
    bank.__dict__["samples"] = np.concatenate(samples)
    object.__setattr__(bank, "clip", lambda i: samples[i])
    return bank


def recipes(bank: BankOnDemand, augmentation: Augmentation = FULL, mixtures: int = 50) -> AugmentedRecipes:
    scenes = SceneRecipes(SceneRules(), [np.array([0, 2, 4]), np.array([1, 3, 5])], 3, "train")
    return AugmentedRecipes(scenes, augmentation, bank, mixtures, 4.0, 3, "train")


def test_a_variant_is_a_function_of_seed_split_and_number_and_another_at_each_pass(bank):
    draw = recipes(bank)
    one, again, next_pass, other_seed = draw(7), recipes(bank)(7), draw(57), replace(draw, seed=4)(7)
    for a, b in zip((*one[:5], *one.variants), (*again[:5], *again.variants), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.onsets, next_pass.onsets)
    np.testing.assert_array_equal(one.clips, next_pass.clips)
    assert not np.array_equal(one.variants.speeds, next_pass.variants.speeds)
    assert not np.array_equal(one.variants.tilts, other_seed.variants.tilts)


def test_variants_are_spread_over_what_was_asked_for(bank):
    drawn = [recipes(bank, mixtures=2000)(index) for index in range(1500)]
    speeds, tilts, signs = (np.concatenate(each) for each in zip(*(recipe.variants for recipe in drawn), strict=True))
    for values, low, high in ((speeds, 0.7, 1.3), (tilts, -3, 3)):
        assert low <= values.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.01 * (high - low))
    assert signs.mean() == pytest.approx(0, abs=0.05)
    shares = np.concatenate([recipe.starts / (bank.lengths[recipe.clips] / RATE) for recipe in drawn])
    assert shares.min() >= 0 and 0.24 < shares.max() <= 0.25
    off = recipes(bank, Augmentation())(0)
    assert (off.variants.speeds == 1).all() and not off.variants.tilts.any() and (off.variants.signs == 1).all()


def test_events_of_one_recording_are_played_at_one_speed_from_one_moment_on_and_still_fill_the_mixture(bank):
    pair = Recipe(np.array([4, 5]), np.arange(2), np.zeros(2), np.full(2, -25.0), np.full(2, 1.9))
    draw = AugmentedRecipes(lambda index: pair, Augmentation(speed=0.3), bank, 10, 4.0, 0, "train")
    for number in range(40):
        recipe = draw(number)
        assert len(set(recipe.variants.speeds)) == len(set(recipe.starts)) == 1
        assert (event_interval(bank, recipe, 4 * RATE)[1] == 4 * RATE).all()
    later = replace(draw, augmentation=Augmentation(start=0.5))
    starts = [start for number in range(200) for start in later(number).starts]
    assert 1.9 <= min(starts) < 1.95 and 3.9 < max(starts) <= 3.95  # of the 4.1 s that are left


def test_sources_add_up_and_labels_follow_the_new_lengths(bank):
    drawn = [recipes(bank)(index) for index in range(20)]
    batch = render(drawn, range(20), bank, GEOMETRY, 4 * RATE, 2)
    torch.testing.assert_close(batch.sources.sum(1), batch.mixture, atol=1e-4, rtol=0)
    for recipe, labels in zip(drawn, batch.frame_labels, strict=True):
        expected = np.zeros((2, 501))
        for clip, label, onset, begin, speed in zip(
            recipe.clips, recipe.classes, recipe.onsets, recipe.starts, recipe.variants.speeds, strict=True
        ):
            first = round(onset * RATE)
            last = min(first + (bank.lengths[clip] - round(begin * RATE)) / speed, 4 * RATE)
            for frame in range(501):
                if first < frame * 128 + 256 and frame * 128 - 256 < last - 1e-6 * last and last > first:
                    expected[label, frame] = 1
        np.testing.assert_array_equal(labels.numpy(), expected)


def test_a_variant_with_nothing_changed_is_the_recording(bank):
    plain = Recipe(np.array([2, 3]), np.array([0, 1]), np.array([0.5, 1.0]), np.full(2, -25.0), np.zeros(2))
    same = plain._replace(variants=Variants(np.ones(2), np.zeros(2), np.array([1.0, -1.0])))
    one, other = (render([each], [0], bank, GEOMETRY, 4 * RATE, 2) for each in (plain, same))
    torch.testing.assert_close(other.sources[:, 0], one.sources[:, 0], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(other.sources[:, 1], -one.sources[:, 1], atol=1e-6, rtol=1e-4)


def test_passes_of_a_training_number_their_mixtures_on():
    plain, varied = (EpochSampler(10, 25, 5, seed=0, variants=variants) for variants in (False, True))
    numbers = np.array(list(varied))
    assert [number % 10 for number in numbers] == list(plain)
    assert (numbers // 10 == np.repeat([0, 1, 2], [10, 10, 5])).all()
    plain.set_epoch(1), varied.set_epoch(1)
    assert {number // 10 for number in varied} == {2, 3, 4} and [number % 10 for number in varied] == list(plain)


@pytest.mark.parametrize("kind", ["scenes", "pairs"])
def test_both_data_modules_augment_training_mixtures_and_no_others(tmp_path, kind):
    settings = {"bank_folder": str(tmp_path), "sample_rate": 8000, "window": 256, "hop": 128, "train_mixtures": 6}
    settings |= {"validation_mixtures": 4, "test_mixtures": 4, "batch_size": 2}

    def data(augmentation: Augmentation | None):
        corpus = Procedural(sample_rate=8000, clips_per_class=20)
        if kind == "scenes":
            return UrbanScenes(corpus, augmentation=augmentation, **settings)
        folds = {"train_folds": range(1, 9), "validation_folds": [9], "test_folds": [10]}
        return SourcePairs(corpus, "environmental", augmentation=augmentation, **folds, **settings)

    data(None).build()
    plain, varied = data(None), data(FULL)
    for split in ("validation", "test"):
        assert torch.equal(plain.dataset(split).batch([0, 1]).mixture, varied.dataset(split).batch([0, 1]).mixture)
    dataset = varied.dataset("train")
    batch = dataset.batch([1, 7, 1])
    assert torch.equal(batch.mixture[0], batch.mixture[2]) and not torch.equal(batch.mixture[0], batch.mixture[1])
    assert not torch.equal(plain.dataset("train").batch([1]).mixture[0], batch.mixture[0])
    loader = varied.train_dataloader()
    loader.sampler.set_epoch(1)
    assert {int(index) // 6 for batch in loader for index in batch.indices} == {1}
    assert varied.state_dict()["augmentation"]["speed"] == 0.3
    assert data(Augmentation()).state_dict() == plain.state_dict()


@pytest.mark.parametrize("wrong", [{"speed": 0.6}, {"tilt": -1}, {"start": 1.0}])
def test_what_is_not_possible_is_refused_by_name(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Augmentation(**wrong)


def test_training_events_can_be_drawn_evenly_from_recordings(tmp_path):
    settings = {"sample_rate": 8000, "window": 256, "hop": 128, "bank_folder": str(tmp_path)}
    corpus = Procedural(sample_rate=8000, clips_per_class=40)
    data = UrbanScenes(corpus, train_draw="recordings", **settings)
    plain = UrbanScenes(corpus, **settings)
    data.build(), plain.build()
    clips = data.bank.clips
    # The corpus has two clips of every recording: here, most of a class's clips are of one.
    data.bank.clips[:] = [
        clip._replace(recording=f"{clip.label}-many") if int(clip.recording.rsplit("/", 1)[-1]) < 10 else clip
        for clip in clips
    ]
    recipes = data.recipes("train")
    for label, shares, numbers in zip(data.classes, recipes.shares_of_class, recipes.clips_of_class, strict=True):
        of_recording: dict[str, float] = {}
        for share, number in zip(shares, numbers, strict=True):
            of_recording[clips[number].recording] = of_recording.get(clips[number].recording, 0) + share
        np.testing.assert_allclose(list(of_recording.values()), 1 / len(of_recording), err_msg=label)
    of_mixtures = [recipes(index).clips for index in range(4000)]
    assert all(len({*of_mixture}) == len(of_mixture) for of_mixture in of_mixtures)
    drawn = np.bincount(np.concatenate(of_mixtures), minlength=len(clips))
    events = drawn.sum()
    for shares, numbers in zip(recipes.shares_of_class, recipes.clips_of_class, strict=True):
        np.testing.assert_allclose(drawn[numbers] / events * len(data.classes), shares, atol=0.04)
    assert plain.recipes("train").shares_of_class is None and data.recipes("validation").shares_of_class is None
    assert data.state_dict()["train_draw"] == "recordings" != plain.state_dict()["train_draw"]
