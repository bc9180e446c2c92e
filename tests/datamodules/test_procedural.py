import pickle
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import permutations

import numpy as np
import pytest
from scipy import signal

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.procedural import Procedural, ProceduralMusic, ProceduralVoices
from datamodules.corpora.procedural.signals import add_at, tone
from lightning_modules.errors import InputError

CLASSES = ["car_horn", "dog_bark", "gun_shot", "jackhammer", "siren"]
RATE = 8000
Sounds = dict[str, dict[Clip, np.ndarray]]
Sections = dict[tuple[str, int], dict[str, np.ndarray]]
CORPORA = (Procedural(40, RATE), ProceduralVoices(30, 2, RATE), ProceduralMusic(20, 2, RATE))
each_corpus = pytest.mark.parametrize("corpus", CORPORA, ids=lambda corpus: corpus.name)
READ_BACKWARDS = """
import pickle, sys
chosen = pickle.load(sys.stdin.buffer)
pickle.dump([[corpus.read(clip)[0] for clip in reversed(clips)] for corpus, clips in chosen], sys.stdout.buffer)
"""


@pytest.fixture(scope="module")
def sounds() -> Sounds:
    return {corpus.name: {clip: corpus.read(clip)[0] for clip in corpus.clips()} for corpus in CORPORA}


@pytest.fixture(scope="module")
def sections(sounds: Sounds) -> Sections:
    together: Sections = defaultdict(dict)
    for clip, sound in sounds["procedural_music"].items():
        together[clip.recording, clip.section][clip.label] = sound
    return together


def spectrum(sound: np.ndarray) -> np.ndarray:
    power = signal.welch(sound, RATE, nperseg=256)[1]
    return power / power.sum()


@pytest.mark.parametrize(("clips_per_class", "folds"), [(60, 10), (20, 10), (41, 10), (7, 1)])
def test_every_fold_holds_every_class_in_recordings_of_two_to_four_clips(clips_per_class: int, folds: int) -> None:
    clips = Procedural(clips_per_class, folds=folds).clips()
    assert Counter(clip.label for clip in clips) == dict.fromkeys(CLASSES, clips_per_class)
    assert {(clip.label, clip.fold) for clip in clips} == {(c, f) for c in CLASSES for f in range(1, folds + 1)}
    assert set(Counter(clip.recording for clip in clips).values()) <= {2, 3, 4}


def test_speakers_are_recordings_and_songs_hold_both_stems_of_every_section() -> None:
    voices, music = ProceduralVoices().clips(), ProceduralMusic().clips()
    assert len(voices) == len(music) == 240
    assert set(Counter(clip.recording for clip in voices).values()) == {4}
    assert voices[30] == Clip("voice/07-2", "voice/07", 8, "voice/07")
    assert Clip("song/07/vocals@1", "vocals", 8, "song/07", section=1) in music
    stems = Counter((clip.recording, clip.section) for clip in music)
    assert len(stems) == 120 and set(stems.values()) == {2}
    assert {clip.label for clip in music} == {"vocals", "accompaniment"}


@each_corpus
def test_names_are_unique_and_a_recording_lies_in_one_fold(corpus: Corpus) -> None:
    folds = defaultdict(set)
    for clip in corpus.clips():
        folds[clip.recording].add(clip.fold)
    assert all(len(where) == 1 for where in folds.values())
    assert set().union(*folds.values()) == set(range(1, 11))
    assert len({clip.name for clip in corpus.clips()}) == len(corpus.clips())


def test_another_process_hears_the_same_clips_bit_for_bit(sounds: Sounds) -> None:
    chosen = [(corpus, corpus.clips()[::23]) for corpus in CORPORA]
    read = [sys.executable, "-c", READ_BACKWARDS]
    done = subprocess.run(read, input=pickle.dumps(chosen), capture_output=True, check=True)
    for (corpus, clips), elsewhere in zip(chosen, pickle.loads(done.stdout), strict=True):
        for clip, sound in zip(reversed(clips), elsewhere, strict=True):
            np.testing.assert_array_equal(sounds[corpus.name][clip], sound)


@each_corpus
def test_sounds_follow_from_seed_and_name_and_the_fingerprint_from_all_settings(corpus: Corpus) -> None:
    clips, settings = corpus.clips(), vars(corpus)
    other_seed = type(corpus)(**settings | {"seed": 1})
    changed = [type(corpus)(**settings | {setting: value * 2}) for setting, value in settings.items() if value > 0]
    changed[-1] = type(corpus)(**settings | {"folds": 5})
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


def test_durations_are_those_of_the_corpora_that_they_stand_for(sounds: Sounds) -> None:
    seconds = defaultdict(list)
    for clip, sound in (each for corpus in sounds.values() for each in corpus.items()):
        seconds[clip.label.split("/")[0]].append(len(sound) / RATE)
    assert all(0.25 < duration <= 4 for label in CLASSES for duration in seconds[label])
    assert np.median(seconds["gun_shot"]) < 2 and min(seconds["dog_bark"]) < 0.6
    assert np.median(seconds["jackhammer"]) == np.median(seconds["siren"]) == 4
    assert 3 <= min(seconds["voice"]) < max(seconds["voice"]) <= 5
    assert set(seconds["vocals"]) == set(seconds["accompaniment"]) == {4.5}


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


def test_recordings_of_a_class_differ_more_than_takes_of_a_recording(sounds: Sounds) -> None:
    for label in CLASSES:
        own = [
            (clip.recording, 10 * np.log10(spectrum(x)))
            for clip, x in sounds["procedural"].items()
            if clip.label == label
        ]
        apart = defaultdict(list)
        for (one, a), (two, b) in permutations(own, 2):
            apart[one == two].append(np.sqrt(np.mean((a - b) ** 2)))
        assert np.median(apart[False]) > 4, label  # dB
        assert np.median(apart[False]) > 1.3 * np.median(apart[True]), label


def test_speakers_keep_their_own_pitch_within_that_of_men_and_women(sounds: Sounds) -> None:
    """Pitch is the highest peak of the autocorrelation between 60 and 400 Hz, in the voiced frames."""
    window = np.hanning(RATE // 16)
    octaves = defaultdict(list)
    for clip, sound in sounds["procedural_voices"].items():
        frames = np.lib.stride_tricks.sliding_window_view(sound, len(window))[:: RATE // 50] * window
        lags = np.fft.irfft(np.abs(np.fft.rfft(frames, 1024)) ** 2)
        lags /= np.fft.irfft(np.abs(np.fft.rfft(window, 1024)) ** 2)[None] + 1e-3
        best = 20 + lags[:, 20:133].argmax(1)
        voiced = (lags[np.arange(len(lags)), best] > 0.6 * lags[:, 0]) & (lags[:, 0] > 0.1 * lags[:, 0].mean())
        assert voiced.sum() * 0.02 > 0.8, clip.name  # seconds
        octaves[clip.label].append(np.log2(np.median(RATE / best[voiced])))
    means = np.array([np.mean(own) for own in octaves.values()])
    assert np.log2(80) < means.min() and means.max() < np.log2(290)
    assert np.ptp(means) > 1.0  # octaves between the lowest and the highest speaker
    assert np.mean([np.ptp(own) for own in octaves.values()]) < 0.1


def test_stems_are_about_equally_loud_and_stay_below_full_scale_together(sections: Sections) -> None:
    stems = [(section["vocals"], section["accompaniment"]) for section in sections.values()]
    assert max(np.abs(vocals + accompaniment).max() for vocals, accompaniment in stems) < 1
    balance = [20 * np.log10(np.std(vocals) / np.std(accompaniment)) for vocals, accompaniment in stems]
    assert abs(np.median(balance)) < 3 and np.abs(balance).max() < 15  # dB


def test_vocals_sound_in_the_key_of_their_accompaniment(sections: Sections) -> None:
    """Pitch classes of a song's voice agree with those of its chords more than with another song's chords."""

    def chroma(sound: np.ndarray) -> np.ndarray:
        """Energy in each of the twelve pitch classes of the spectral peaks between 80 and 1000 Hz."""
        power = signal.welch(sound, RATE, "blackmanharris", nperseg=8192, noverlap=6144)[1]
        peaks = signal.find_peaks(power)[0]
        peaks = peaks[(peaks > 82) & (peaks < 1024)]
        return np.bincount(np.round(12 * np.log2(peaks * RATE / 8192 / 55)).astype(int) % 12, power[peaks], 12)

    def of_songs(label: str) -> np.ndarray:
        return np.stack([sum(chroma(sections[song, n][label]) for n in (0, 1)) ** 0.5 for song in songs])

    songs = sorted({song for song, _ in sections})
    agreement = np.corrcoef(of_songs("vocals"), of_songs("accompaniment"))[: len(songs), len(songs) :]
    own, others = np.diag(agreement).mean(), agreement[~np.eye(len(songs), dtype=bool)].mean()
    assert own > 0.3 and own > others + 0.3


def test_a_tone_has_no_energy_between_its_partials() -> None:
    samples = tone(np.full(2 * RATE, 1010.0), 0.0, 1.0, RATE)
    power = np.abs(np.fft.rfft(samples * signal.windows.blackmanharris(len(samples)))) ** 2
    partials = 2 * 1010 * np.arange(1, 4)  # bins of half a hertz; the fourth would be at 4040 Hz
    near = np.abs(np.arange(len(power))[:, None] - partials).min(1) < 8
    assert power[~near].sum() < 1e-6 * power.sum()


def test_sounds_add_up_and_are_cut_at_the_end() -> None:
    total = np.zeros(5)
    for onset in (0.0, 1.0, 4.0, 9.0):
        add_at(total, onset, np.array([1.0, 10.0]), 1)
    np.testing.assert_array_equal(total, [1, 11, 10, 0, 1])


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
