from collections import Counter, defaultdict
from itertools import permutations

import numpy as np
import pytest
from scipy import signal

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.procedural import Procedural, ProceduralKinds, ProceduralMusic, ProceduralVoices
from lightning_modules.errors import InputError

CLASSES = ["car_horn", "dog_bark", "gun_shot", "jackhammer", "siren"]
RATE = 8000
Sounds = dict[str, dict[Clip, np.ndarray]]
CORPORA = (Procedural(40, RATE), ProceduralKinds(40, RATE), ProceduralVoices(30, 2, RATE), ProceduralMusic(20, 2, RATE))
each_corpus = pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: corpus.name)


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    return {corpus.name: {clip: corpus.read(clip)[0] for clip in corpus.clips()} for corpus in CORPORA}


def spectrum(sound: np.ndarray) -> np.ndarray:
    power = signal.welch(sound, RATE, nperseg=256)[1]
    return power / power.sum()


@pytest.mark.parametrize(("clips_per_class", "folds"), [(60, 10), (20, 10), (41, 10), (7, 1)])
def test_every_fold_holds_every_class_in_recordings_of_two_to_four_clips(clips_per_class: int, folds: int) -> None:
    clips = Procedural(clips_per_class, folds=folds).clips()
    assert Counter(clip.label for clip in clips) == dict.fromkeys(CLASSES, clips_per_class)
    assert {(clip.label, clip.fold) for clip in clips} == {(c, f) for c in CLASSES for f in range(1, folds + 1)}
    assert set(Counter(clip.recording for clip in clips).values()) <= {2, 3, 4}


@each_corpus
def test_names_are_unique_and_a_recording_lies_in_one_fold(corpus: Corpus) -> None:
    folds = defaultdict(set)
    for clip in corpus.clips():
        folds[clip.recording].add(clip.fold)
    assert all(len(where) == 1 for where in folds.values())
    assert set().union(*folds.values()) == set(range(1, 11))
    assert len({clip.name for clip in corpus.clips()}) == len(corpus.clips())


@each_corpus
def test_sounds_follow_from_seed_and_name_and_the_fingerprint_from_all_settings(corpus: Corpus, sounds: Sounds) -> None:
    clips, settings = corpus.clips(), vars(corpus)
    other_seed = type(corpus)(**settings | {"seed": 1})
    changed = [type(corpus)(**settings | {setting: value * 2}) for setting, value in settings.items() if value > 0]
    changed[-1] = type(corpus)(**settings | {"folds": 5})
    for clip in clips[::-23]:  # whatever was read before
        np.testing.assert_array_equal(corpus.read(clip)[0], sounds[corpus.name][clip])
    np.testing.assert_array_equal(changed[0].read(clips[50])[0], corpus.read(clips[50])[0])
    assert not np.array_equal(other_seed.read(clips[50])[0], corpus.read(clips[50])[0])
    assert len({each.fingerprint(clips) for each in (corpus, other_seed, *changed)}) == 1 + len(settings)
    assert corpus.fingerprint(clips[1:]) != corpus.fingerprint(clips) == type(corpus)(**settings).fingerprint(clips)


def test_sounds_are_finite_mono_without_offset_below_full_scale_and_audible(sounds: Sounds) -> None:
    for clip, sound in (each for corpus in sounds.values() for each in corpus.items()):
        assert sound.dtype == np.float32 and sound.ndim == 1, clip.name
        assert np.isfinite(sound).all() and np.abs(sound).max() < 1, clip.name
        level = np.sqrt(np.mean(sound**2))
        assert 0.001 < level < 0.5, clip.name  # -60 to -6 dB
        assert abs(sound.mean(dtype=np.float64)) < 1e-3 * level, clip.name


@each_corpus
def test_a_clip_lasts_equally_long_at_every_sampling_rate(corpus: Corpus) -> None:
    for clip in corpus.clips()[:: len(corpus.clips()) // 5]:
        lengths = []
        for rate in (8000, 16000, 22050):
            sound, reported = type(corpus)(sample_rate=rate).read(clip)
            assert reported == rate
            lengths.append(len(sound) / rate)
        assert max(lengths) - min(lengths) < 1e-3, clip.name


def test_a_fixed_filter_for_each_pair_of_classes_hardly_separates_them(sounds: Sounds) -> None:
    """The Wiener filter of two class-average spectra knows which classes are there; the ideal mask gains 14 dB."""
    rng = np.random.default_rng(0)
    loud = {clip: sound / np.sqrt(np.mean(sound**2)) for clip, sound in sounds["procedural"].items()}
    seen = {c: [spectrum(x) for clip, x in loud.items() if clip.label == c and clip.fold <= 6] for c in CLASSES}
    mean = {label: np.mean(spectra, 0) for label, spectra in seen.items()}
    unseen = {c: [x for clip, x in loud.items() if clip.label == c and clip.fold > 6] for c in CLASSES}

    def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
        scaled = (estimate @ target) / (target @ target) * target
        return float(10 * np.log10(np.sum(scaled**2) / np.sum((estimate - scaled) ** 2)))

    gains = []
    for wanted, other in permutations(CLASSES, 2):
        gain = mean[wanted] / (mean[wanted] + mean[other])
        wiener = signal.firwin2(255, np.linspace(0, 1, len(gain)), gain)
        for _ in range(6):
            target, masker = np.zeros((2, 4 * RATE))
            for track, label in ((target, wanted), (masker, other)):
                sound = unseen[label][rng.integers(len(unseen[label]))]
                track[: len(sound)] = sound
            mixture = target + masker
            gains.append(si_sdr(signal.convolve(mixture, wiener, "same"), target) - si_sdr(mixture, target))
    assert np.mean(gains) < 2


@pytest.mark.parametrize(
    ("corpus", "setting", "value", "least"),
    [
        (Procedural, "clips_per_class", 19, 20),
        (ProceduralVoices, "speakers", 9, 10),
        (ProceduralVoices, "utterances_per_speaker", 0, 1),
        (ProceduralMusic, "songs", 9, 10),
        (ProceduralMusic, "sections_per_song", 0, 1),
        *((Procedural, *limits) for limits in (("sample_rate", 4000, 8000), ("seed", -1, 0), ("folds", 0, 1))),
    ],
)
def test_settings_out_of_range_are_named(corpus: type[Corpus], setting: str, value: int, least: int) -> None:
    with pytest.raises(InputError, match=f"{setting}={value}: .*; set it to {least} or more"):
        corpus(**{setting: value})


@pytest.mark.parametrize(
    "name", ["audio/fold3/1-4-0-0.wav", "siren/7", "voice/-1-2", "voice/07-2.wav", "song/x/vocals@0"]
)
@each_corpus
def test_a_clip_of_another_corpus_is_refused(corpus: Corpus, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: not a clip of the .*; take one from its clips"):
        corpus.read(Clip(name, "siren", 1, "siren/07"))
