"""Songs as scenes: when stems are heard, and that labels, sources and mixtures say the same of it."""

from collections import Counter

import numpy as np
import pyloudnorm
import pytest
import soundfile
import torch

from datamodules.augmentation import Augmentation
from datamodules.corpora import musdb18
from datamodules.corpora.procedural import Procedural, ProceduralMusic
from datamodules.stem_recipes import momentary_loudness
from datamodules.stem_scenes import StemScenes
from lightning_modules.errors import InputError

RATE, STEMS = 8000, ("vocals", "accompaniment")
SIZE = {"sample_rate": RATE, "window": 256, "hop": 128, "duration": 2.0, "train_mixtures": 300, "test_mixtures": 30}


class OneTake(Procedural):
    """A clip of every recording."""

    def clips(self):
        return list({clip.recording: clip for clip in super().clips()}.values())


@pytest.fixture(scope="module")
def bank_folder(tmp_path_factory):
    return str(tmp_path_factory.mktemp("banks"))


@pytest.fixture
def songs(bank_folder):
    def build(**settings) -> StemScenes:
        folds = {"train_folds": [1, 2, 3], "validation_folds": [4], "test_folds": [5]}
        corpus = ProceduralMusic(songs=10, sample_rate=RATE, folds=5)
        data = StemScenes(corpus, STEMS, **folds, **{**SIZE, **settings}, bank_folder=bank_folder)
        data.build()
        return data

    return build


def test_momentary_loudness_is_that_of_the_meter_in_every_400_ms():
    rng = np.random.default_rng(0)
    levels = np.repeat([0.1, 0.001, 0.03], RATE)
    samples = (rng.normal(size=3 * RATE) * levels).astype(np.float32)
    found = momentary_loudness(samples, RATE)
    meter = pyloudnorm.Meter(RATE)
    for middle in (50, 150, 250):  # far from the changes, where filters ring
        around = samples[(middle - 20) * RATE // 100 : (middle + 20) * RATE // 100]
        assert found[middle] == pytest.approx(meter.integrated_loudness(around.astype(float)), abs=0.2)
    click = np.zeros(3 * RATE, np.float32)
    click[10_040] = 1  # in block 125: within 200 ms of the ends of 40 blocks
    found = momentary_loudness(click, RATE)
    assert np.flatnonzero(found > found.max() - 1).tolist() == list(range(105, 145))
    assert np.isneginf(momentary_loudness(np.zeros(1001, np.float32), RATE)).all()


def test_sources_are_the_songs_where_they_are_heard_and_labels_say_where(songs):
    data = songs(threshold=-30.0)  # so high that stems come and go
    dataset, bank, samples, seen = data.dataset("test"), data.bank, data.samples, Counter()
    for index in range(len(dataset)):
        recipe, batch = dataset.recipes(index), dataset[index]
        (section,) = {(bank.clips[clip].recording, bank.clips[clip].section) for clip in recipe.clips}
        of_section = [n for n, clip in enumerate(bank.clips) if (clip.recording, clip.section) == section]
        of_song = [n for n, clip in enumerate(bank.clips) if clip.recording == section[0]]
        sections = len(of_song) / len(STEMS)  # of one length
        song = 10 * np.log10(sum(10 ** (bank.loudness[of_song] / 10)) / sections)
        level = (recipe.loudness - bank.loudness[recipe.clips])[0] + song
        assert -30 <= level <= -25 and (recipe.lengths * RATE > 0.5).all()
        begin = round((recipe.starts - recipe.onsets)[0] * RATE)
        for stem, source in enumerate(batch.sources.numpy()):
            (clip,) = (clip for clip in of_section if bank.clips[clip].label == STEMS[stem])
            loud = momentary_loudness(bank.clip(clip), RATE) - song - 23 > -30
            heard = np.repeat(loud, RATE // 100)[begin : begin + samples]
            whole = bank.clip(clip)[begin : begin + samples] * 10 ** ((level - song) / 20)
            # Moments are not on the grid of blocks, but for half a sample.
            differs = np.abs(source - whole * heard) > 1e-6
            assert not (differs & (np.abs(np.diff(heard, prepend=heard[0])) == 0)[: len(differs)]).any()
            frames = np.arange(data.geometry.frames(samples)) * 128
            labels = [heard[max(frame - 128, 0) : frame + 128].any() for frame in frames]
            assert np.mean(batch.frame_labels[stem].numpy() != np.array(labels)) < 0.02
            seen[heard.all(), heard.any()] += 1
        assert torch.allclose(batch.sources.sum(0), batch.mixture, atol=1e-6)
    assert seen[True, True] and seen[False, True]


def test_training_stems_are_muted_and_mixed_as_asked_for_and_never_those_of_the_test(songs):
    data = songs(threshold=-60.0, train_fewest_stems=1, train_coherent=0.5)
    for split, fewest in (("train", 1), ("test", 2)):
        dataset = data.dataset(split)
        recipes = [dataset.recipes(index) for index in range(len(dataset))]
        numbers = Counter(len(set(recipe.classes.tolist())) for recipe in recipes)
        assert set(numbers) == set(range(fewest, 3))
        pairs = [{data.bank.clips[clip][3:] for clip in recipe.clips} for recipe in recipes]
        apart = sum(len(of) > 1 for of in pairs)
        if split == "train":
            assert 110 < numbers[1] < 190 and 40 < apart < 110  # of 300: half, a quarter
        else:
            assert not apart
    assert data.class_prior().tolist() == pytest.approx(
        data.dataset("train").batch(range(300)).frame_labels.mean((0, 2)).tolist(), abs=1e-6
    )


def test_augmented_parts_of_stems_stay_where_they_lie_in_their_song(songs):
    dataset = songs(threshold=-30.0, augmentation=Augmentation(tilt=2.0, polarity=True)).dataset("train")
    pairs = [(dataset.recipes(index), dataset.recipes.recipes(index)) for index in range(50)]
    assert any(len(plain.clips) > len(set(plain.clips)) for _, plain in pairs)  # stems of several parts
    assert all(np.array_equal(augmented.starts, plain.starts) for augmented, plain in pairs)
    for augmented, _ in pairs:  # a stem is one sound, however often it rests
        played = set(zip(augmented.clips, augmented.variants.tilts, augmented.variants.signs, strict=True))
        assert len(played) == len(set(augmented.clips))


def test_a_quiet_section_of_a_loud_song_is_quiet(tmp_path):
    rng = np.random.default_rng(0)
    for track in ("train/One", "train/Leaf - Summerghost", "test/Two"):
        (tmp_path / track).mkdir(parents=True)
        for stem in musdb18.STEMS:
            samples = rng.normal(size=16 * RATE) * np.repeat([0.1, 0.001], [10 * RATE, 6 * RATE])  # a section each
            soundfile.write(tmp_path / track / f"{stem}.wav", samples, RATE)
    corpus = musdb18.MUSDB18(tmp_path, accompaniment=False)
    data = StemScenes(corpus, musdb18.STEMS, **SIZE, bank_folder=str(tmp_path / "banks"))
    data.build()
    recipes, bank = data.dataset("test").recipes, data.bank
    own = [clip for clip, of in enumerate(bank.clips) if of.fold == "test"]
    song = 10 * np.log10(4 * np.average(10 ** (bank.loudness[own] / 10), weights=bank.lengths[own]))
    for index in range(30):
        recipe = recipes(index)
        assert {bank.clips[clip].section for clip in recipe.clips} == {0}
        levels = recipe.loudness - bank.loudness[recipe.clips] + song
        assert levels.min() >= -30 and levels.max() <= -25 and np.ptp(levels) < 1e-3


def test_a_recipe_is_a_function_of_seed_split_and_index(songs):
    one, other = songs().dataset("train"), songs().dataset("train")
    assert all(map(np.array_equal, one.recipes(7), other.recipes(7)))
    assert torch.equal(one.batch([3, 8]).mixture[1], other[8].mixture)


def test_what_cannot_be_drawn_is_told_at_the_start(songs):
    with pytest.raises(InputError, match=r"^threshold: 0.0 LUFS; no stem of the train split is as loud: lower it"):
        songs(threshold=0.0)
    with pytest.raises(InputError, match=r"^augmentation: speed and start take stems out of their song's time"):
        songs(augmentation=Augmentation(speed=0.1))
    with pytest.raises(InputError, match=r"^fewest_stems: 3"):
        songs(train_fewest_stems=3)


def test_a_corpus_without_stems_is_told_at_the_start(bank_folder):
    folds = {"train_folds": [1, 2, 3], "validation_folds": [4], "test_folds": [5]}
    wrong = {
        Procedural: "a section has several clips of one stem",
        OneTake: "no two stems of the train split sounded together",
    }
    for kind, told in wrong.items():
        data = StemScenes(kind(sample_rate=RATE), ("siren", "dog_bark"), **folds, **SIZE, bank_folder=bank_folder)
        with pytest.raises(InputError, match=rf"^corpus: {told}; give a corpus of songs and their stems$"):
            data.build()
