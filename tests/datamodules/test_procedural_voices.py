from collections import Counter, defaultdict

import numpy as np
import pytest
from scipy import signal

from datamodules.corpora.corpus import Clip
from datamodules.corpora.procedural import ProceduralVoices
from datamodules.corpora.procedural.acoustics import CONTROL
from datamodules.corpora.procedural.vocal_tract import VOWELS, Phone, draw_voice, utter
from lightning_modules.errors import InputError

RATE = 8000


@pytest.fixture(scope="module")
def corpus() -> ProceduralVoices:
    return ProceduralVoices(speakers=30, utterances_per_speaker=2, sample_rate=RATE)


@pytest.fixture(scope="module")
def sounds(corpus: ProceduralVoices) -> dict[Clip, np.ndarray]:
    return {clip: corpus.read(clip)[0] for clip in corpus.clips()}


def pitches(sound: np.ndarray) -> np.ndarray:
    """Pitch in Hz of the voiced frames: the highest peak of the autocorrelation between 60 and 400 Hz."""
    window = np.hanning(RATE // 16)
    frames = np.lib.stride_tricks.sliding_window_view(sound, len(window))[:: RATE // 50] * window
    lags = np.fft.irfft(np.abs(np.fft.rfft(frames, 1024)) ** 2)
    lags /= np.fft.irfft(np.abs(np.fft.rfft(window, 1024)) ** 2)[None] + 1e-3
    low, high = RATE // 400, RATE // 60
    best = low + lags[:, low:high].argmax(1)
    strength = lags[np.arange(len(lags)), best] / lags[:, 0]
    loud = lags[:, 0] > 0.1 * lags[:, 0].mean()
    return RATE / best[loud & (strength > 0.6)]


def test_speakers_are_recordings_and_folds_share_none() -> None:
    clips = ProceduralVoices().clips()
    assert Counter(Counter(clip.recording for clip in clips).values()) == {4: 60}
    assert len({clip.name for clip in clips}) == 240
    assert {clip.fold for clip in clips} == set(range(1, 11))
    assert clips[30] == Clip("voice/07-2", "voice/07", 8, "voice/07")
    folds = defaultdict(set)
    for clip in clips:
        assert clip.label == clip.recording
        folds[clip.recording].add(clip.fold)
    assert all(len(where) == 1 for where in folds.values())


def test_a_clip_keeps_its_sound_when_the_corpus_grows(corpus: ProceduralVoices) -> None:
    clip = corpus.clips()[50]
    np.testing.assert_array_equal(ProceduralVoices(200, 9, RATE).read(clip)[0], corpus.read(clip)[0])


def test_another_seed_gives_other_sounds_and_another_fingerprint(corpus: ProceduralVoices) -> None:
    clips = corpus.clips()
    other = ProceduralVoices(30, 2, RATE, seed=1)
    assert not np.array_equal(other.read(clips[0])[0][:1000], corpus.read(clips[0])[0][:1000])
    prints = {
        each.fingerprint(clips) for each in (corpus, other, ProceduralVoices(30, 2), ProceduralVoices(31, 2, RATE))
    }
    assert len(prints) == 4
    assert corpus.fingerprint(clips[1:]) != corpus.fingerprint(clips)
    assert corpus.fingerprint(clips) == ProceduralVoices(30, 2, RATE).fingerprint(clips)


def test_utterances_are_finite_mono_without_offset_below_full_scale_and_last_3_to_5_s(
    sounds: dict[Clip, np.ndarray],
) -> None:
    for clip, sound in sounds.items():
        assert sound.dtype == np.float32 and sound.ndim == 1, clip.name
        assert np.isfinite(sound).all(), clip.name
        assert 0.2 < np.abs(sound).max() < 1, clip.name
        assert abs(sound.mean(dtype=np.float64)) < 1e-6, clip.name
        assert 3 <= len(sound) / RATE <= 5, clip.name


def test_speakers_keep_their_own_pitch_within_that_of_men_and_women(sounds: dict[Clip, np.ndarray]) -> None:
    by_speaker = defaultdict(list)
    for clip, sound in sounds.items():
        voiced = pitches(sound)
        assert len(voiced) * 0.02 > 0.8, clip.name  # seconds
        assert 85 < np.median(voiced) < 280, clip.name
        by_speaker[clip.label].append(np.log2(np.median(voiced)))
    means = np.array([np.mean(octaves) for octaves in by_speaker.values()])
    assert np.ptp(means) > 1.0  # octaves between the lowest and the highest speaker
    assert max(np.ptp(octaves) for octaves in by_speaker.values()) < 0.35
    assert np.mean([np.ptp(octaves) for octaves in by_speaker.values()]) < 0.1


def test_folds_do_not_sort_speakers_by_pitch() -> None:
    corpus = ProceduralVoices(speakers=40, utterances_per_speaker=1, sample_rate=RATE, folds=4)
    octaves = np.array([np.log2(np.median(pitches(corpus.read(clip)[0]))) for clip in corpus.clips()])
    by_fold = octaves.reshape(-1, 4)  # speakers of a fold in a column
    assert np.all(np.ptp(by_fold, axis=0) > 0.8)
    assert np.ptp(np.median(by_fold, axis=0)) < 0.6


def test_speech_has_pauses_and_a_syllabic_rhythm(sounds: dict[Clip, np.ndarray]) -> None:
    """Loudness of speech varies by tens of dB, and mostly 2 to 8 times a second (Houtgast and Steeneken, 1985)."""
    dips = []
    modulation = np.zeros(100)
    for sound in sounds.values():
        power = np.square(sound[: len(sound) // 160 * 160]).reshape(-1, 160).mean(1)  # every 20 ms
        dips.append(10 * np.log10(np.percentile(power, 90) / np.percentile(power, 5)))
        modulation += np.abs(np.fft.rfft(np.sqrt(power[:145]) - np.sqrt(power[:145]).mean(), 198)) ** 2
    assert np.median(dips) > 20
    hertz = np.fft.rfftfreq(198, 0.02)
    syllabic = modulation[(hertz > 1.5) & (hertz < 8)].sum()
    assert syllabic > 2 * modulation[hertz >= 8].sum()


@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_vowel_has_harmonics_only_with_formants_where_they_were_put(rate: int) -> None:
    """Without breath noise, aliases would lie between the multiples of 171 Hz."""
    voice = draw_voice(np.random.default_rng(3), 0.5)._replace(breath=0.0, shortness=1.0)
    pitch = np.full(2 * CONTROL, 171.0)
    steps, levels = np.array([len(pitch)]), np.ones(1)
    none = np.array([], dtype=int)
    vowel = Phone((684.0, 1197.0, 2394.0), voicing=1.0)  # on the fourth, seventh and fourteenth harmonic
    sound = utter(voice, [vowel], steps, levels, pitch, none, np.random.default_rng(0), rate)
    steady = sound[rate // 4 : -rate // 4]
    power = np.abs(np.fft.rfft(steady * signal.windows.blackmanharris(len(steady)))) ** 2
    hertz = np.fft.rfftfreq(len(steady), 1 / rate)
    apart = np.abs(hertz - 171 * np.round(hertz / 171))
    assert power[apart > 6].sum() < 1e-6 * power.sum()
    harmonics = np.array([power[np.abs(hertz - 171 * k) < 6].sum() for k in range(1, 20)])
    peaks = 1 + signal.find_peaks(harmonics)[0]
    assert {4, 7, 14} <= set(peaks)


def test_formants_differ_between_vowels_and_speakers() -> None:
    low, high = (draw_voice(np.random.default_rng(5), height) for height in (0.0, 1.0))
    assert high.shortness > 1.1 * low.shortness
    other = draw_voice(np.random.default_rng(6), 0.0)
    assert all(a.formants != b.formants for a, b in zip(low.vowels, other.vowels, strict=True))
    assert all(
        np.allclose(vowel.formants, usual.formants, rtol=0.08) for vowel, usual in zip(low.vowels, VOWELS, strict=True)
    )


@pytest.mark.parametrize("rate", [16000, 22050])
def test_a_clip_lasts_equally_long_at_every_sampling_rate(rate: int, sounds: dict[Clip, np.ndarray]) -> None:
    clip, sound = next(iter(sounds.items()))
    elsewhere, reported = ProceduralVoices(sample_rate=rate).read(clip)
    assert reported == rate
    assert abs(len(elsewhere) / rate - len(sound) / RATE) < 1e-3


@pytest.mark.parametrize("name", ["voice/07-2", "voice/12-0"])
def test_the_lower_band_sounds_alike_at_both_sampling_rates(name: str) -> None:
    """Noises differ; the loudness of the tones below 2 kHz does not."""
    clip = Clip(name, "voice/07", 8, "voice/07")
    levels = []
    for rate in (8000, 16000):
        sound = ProceduralVoices(sample_rate=rate).read(clip)[0]
        low = signal.sosfilt(signal.butter(4, 2000, fs=rate, output="sos"), sound)
        low = low[: len(low) // (rate // 20) * (rate // 20)].reshape(-1, rate // 20)
        levels.append(np.sqrt(np.mean(low**2, axis=1)))
    assert np.corrcoef(*levels)[0, 1] > 0.95


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"speakers": 9}, "speakers=9.*set it to 10 or more"),
        ({"utterances_per_speaker": 0}, "utterances_per_speaker=0.*set it to 1 or more"),
        ({"sample_rate": 4000}, "sample_rate=4000.*set it to 8000 or more"),
        ({"seed": -1}, "seed=-1.*set it to 0 or more"),
        ({"folds": 0}, "folds=0.*set it to 1 or more"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ProceduralVoices(**settings)


@pytest.mark.parametrize("name", ["siren/07-1", "voice/7", "voice/-1-2", "voice/07-2.wav"])
def test_a_clip_of_another_corpus_is_refused(corpus: ProceduralVoices, name: str) -> None:
    with pytest.raises(InputError, match="not a clip of the corpus of procedural voices"):
        corpus.read(Clip(name, "voice/07", 8, "voice/07"))
