from collections import Counter, defaultdict
from itertools import permutations

import numpy as np
import pytest
from scipy import signal

from datamodules.corpora.corpus import Clip
from datamodules.corpora.procedural import Procedural
from datamodules.corpora.procedural.acoustics import CONTROL, strikes, through, tone
from lightning_modules.errors import InputError

CLASSES = ["car_horn", "dog_bark", "gun_shot", "jackhammer", "siren"]
RATE = 8000


@pytest.fixture(scope="module")
def corpus() -> Procedural:
    return Procedural(clips_per_class=40, sample_rate=RATE)


@pytest.fixture(scope="module")
def sounds(corpus: Procedural) -> dict[Clip, np.ndarray]:
    return {clip: corpus.read(clip)[0] for clip in corpus.clips()}


def spectrum(sound: np.ndarray) -> np.ndarray:
    """Long-term power spectrum, normalised to unit sum."""
    power = signal.welch(sound, RATE, nperseg=256)[1]
    return power / power.sum()


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    scaled = (estimate @ target) / (target @ target) * target
    return float(10 * np.log10(np.sum(scaled**2) / np.sum((estimate - scaled) ** 2)))


@pytest.mark.parametrize(("clips_per_class", "folds"), [(60, 10), (20, 10), (25, 10), (41, 10), (4, 2), (7, 1)])
def test_every_fold_holds_every_class_and_every_recording_has_two_to_four_clips(
    clips_per_class: int, folds: int
) -> None:
    clips = Procedural(clips_per_class, folds=folds).clips()
    assert Counter(clip.label for clip in clips) == dict.fromkeys(CLASSES, clips_per_class)
    assert len({clip.name for clip in clips}) == len(clips)
    assert {(clip.label, clip.fold) for clip in clips} == {(c, f) for c in CLASSES for f in range(1, folds + 1)}
    assert set(Counter(clip.recording for clip in clips).values()) <= {2, 3, 4}


def test_a_recording_lies_in_one_fold(corpus: Procedural) -> None:
    folds = defaultdict(set)
    for clip in corpus.clips():
        folds[clip.recording].add(clip.fold)
    assert all(len(where) == 1 for where in folds.values())


def test_a_clip_keeps_its_sound_when_the_corpus_grows(corpus: Procedural) -> None:
    clip = corpus.clips()[50]
    np.testing.assert_array_equal(Procedural(400, RATE).read(clip)[0], corpus.read(clip)[0])


def test_another_seed_gives_other_sounds_and_another_fingerprint(corpus: Procedural) -> None:
    clips = corpus.clips()
    other = Procedural(40, RATE, seed=1)
    assert not np.array_equal(other.read(clips[0])[0][:1000], corpus.read(clips[0])[0][:1000])
    prints = {each.fingerprint(clips) for each in (corpus, other, Procedural(40, 16000), Procedural(50, RATE))}
    assert len(prints) == 4
    assert corpus.fingerprint(clips[1:]) != corpus.fingerprint(clips) == Procedural(40, RATE).fingerprint(clips)


def test_sounds_are_finite_mono_without_offset_below_full_scale_and_audible(sounds: dict[Clip, np.ndarray]) -> None:
    for clip, sound in sounds.items():
        assert sound.dtype == np.float32 and sound.ndim == 1, clip.name
        assert np.isfinite(sound).all(), clip.name
        assert np.abs(sound).max() < 1, clip.name
        level = np.sqrt(np.mean(sound**2))
        assert 0.001 < level < 0.5, clip.name  # -60 to -6 dB
        assert abs(sound.mean(dtype=np.float64)) < 1e-3 * level, clip.name


def test_durations_are_those_of_urbansound8k(sounds: dict[Clip, np.ndarray]) -> None:
    seconds = {label: [len(x) / RATE for clip, x in sounds.items() if clip.label == label] for label in CLASSES}
    assert all(0.25 < duration <= 4 for label in CLASSES for duration in seconds[label])
    assert (
        np.median(seconds["gun_shot"]) < 2 and np.median(seconds["dog_bark"]) < 2.5 and min(seconds["dog_bark"]) < 0.6
    )
    assert np.median(seconds["jackhammer"]) == np.median(seconds["siren"]) == 4


def test_a_fixed_filter_for_each_pair_of_classes_hardly_separates_them(sounds: dict[Clip, np.ndarray]) -> None:
    """The Wiener filter of two class-average spectra knows which classes are there; the ideal mask gains 14 dB."""
    rng = np.random.default_rng(0)
    loud = {clip: sound / np.sqrt(np.mean(sound**2)) for clip, sound in sounds.items()}
    mean = {
        c: np.mean([spectrum(x) for clip, x in loud.items() if clip.label == c and clip.fold <= 6], 0) for c in CLASSES
    }
    unseen = {c: [x for clip, x in loud.items() if clip.label == c and clip.fold > 6] for c in CLASSES}
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


def test_recordings_of_a_class_differ_more_than_takes_of_a_recording(sounds: dict[Clip, np.ndarray]) -> None:
    for label in CLASSES:
        own = [(clip.recording, 10 * np.log10(spectrum(x))) for clip, x in sounds.items() if clip.label == label]
        apart = defaultdict(list)
        for (one, a), (two, b) in permutations(own, 2):
            apart[one == two].append(np.sqrt(np.mean((a - b) ** 2)))
        assert np.median(apart[False]) > 4, label  # dB
        assert np.median(apart[False]) > 1.3 * np.median(apart[True]), label


@pytest.mark.parametrize("label", CLASSES)
def test_a_clip_lasts_equally_long_at_every_sampling_rate(label: str) -> None:
    clip = Clip(f"{label}/03-1", label, 4, f"{label}/03")
    seconds = [len(Procedural(sample_rate=rate).read(clip)[0]) / rate for rate in (8000, 16000, 22050)]
    assert max(seconds) - min(seconds) < 1e-3


def test_a_tone_has_no_energy_between_its_partials() -> None:
    samples = tone(np.full(2 * CONTROL, 1010.0), np.ones(40), RATE)
    power = np.abs(np.fft.rfft(samples * signal.windows.blackmanharris(len(samples)))) ** 2
    partials = 2 * 1010 * np.arange(1, 4)  # bins of half a hertz; the fourth would be at 4040 Hz
    near = np.abs(np.arange(len(power))[:, None] - partials).min(1) < 8
    assert power[~near].sum() < 1e-6 * power.sum()


def test_sound_passes_through_responses_one_after_another() -> None:
    dry, first, second = (np.random.default_rng(n).standard_normal(n) for n in (500, 40, 70))
    expected = np.convolve(np.convolve(dry, first), second)[:500]
    np.testing.assert_allclose(through(dry, first, second), expected, atol=1e-3)


def test_strokes_add_up_and_are_cut_at_the_end() -> None:
    total = strikes(np.array([0, 1, 4, 9]), np.array([1.0, 2.0, 1.0, 5.0]), np.array([1.0, 10.0]), 5)
    np.testing.assert_array_equal(total, [1, 12, 20, 0, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clips_per_class": 19}, "clips_per_class=19.*set it to 20 or more"),
        ({"sample_rate": 4000}, "sample_rate=4000.*set it to 8000 or more"),
        ({"seed": -1}, "seed=-1.*set it to 0 or more"),
        ({"folds": 0}, "folds=0.*set it to 1 or more"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Procedural(**settings)


@pytest.mark.parametrize("name", ["audio/fold3/103199-4-0-0.wav", "siren/7", "children_playing/01-1"])
def test_a_clip_of_another_corpus_is_refused(corpus: Procedural, name: str) -> None:
    with pytest.raises(InputError, match="not a clip of the procedural corpus"):
        corpus.read(Clip(name, "siren", 1, "siren/07"))
