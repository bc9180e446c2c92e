from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from scipy import signal

from datamodules.corpora.corpus import Clip
from datamodules.corpora.procedural import ProceduralMusic
from datamodules.corpora.procedural.music import MAJOR, _compose, _note, _Song
from lightning_modules.errors import InputError

RATE = 8000


@pytest.fixture(scope="module")
def corpus() -> ProceduralMusic:
    return ProceduralMusic(songs=20, sample_rate=RATE)


@pytest.fixture(scope="module")
def sounds(corpus: ProceduralMusic) -> dict[Clip, np.ndarray]:
    return {clip: corpus.read(clip)[0] for clip in corpus.clips()}


@pytest.fixture(scope="module")
def sections(sounds: dict[Clip, np.ndarray]) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    together: dict[tuple[str, int], dict[str, np.ndarray]] = defaultdict(dict)
    for clip, sound in sounds.items():
        together[clip.recording, clip.section][clip.label] = sound
    return together


def chroma(sound: np.ndarray) -> np.ndarray:
    """Energy in each of the twelve pitch classes from A up, of the spectral peaks between 80 and 1000 Hz."""
    power = signal.welch(sound, RATE, "blackmanharris", nperseg=8192, noverlap=6144)[1]
    peaks = signal.find_peaks(power)[0]
    hertz = peaks * RATE / 8192
    peaks, hertz = peaks[(hertz > 80) & (hertz < 1000)], hertz[(hertz > 80) & (hertz < 1000)]
    return np.bincount(np.round(12 * np.log2(hertz / 55)).astype(int) % 12, power[peaks], 12)


def test_every_section_holds_vocals_and_accompaniment_and_folds_share_no_song() -> None:
    clips = ProceduralMusic().clips()
    assert len(clips) == len({clip.name for clip in clips}) == 240
    labels, folds = defaultdict(set), defaultdict(set)
    for clip in clips:
        assert clip.name == f"{clip.recording}/{clip.label}@{clip.section}"
        labels[clip.recording, clip.section].add(clip.label)
        folds[clip.recording].add(clip.fold)
    assert len(labels) == 120 and all(each == {"vocals", "accompaniment"} for each in labels.values())
    assert len(folds) == 60 and all(len(each) == 1 for each in folds.values())
    assert Clip("song/07/vocals@1", "vocals", 8, "song/07", section=1) in clips


def test_a_clip_keeps_its_sound_when_the_corpus_grows(corpus: ProceduralMusic) -> None:
    clip = corpus.clips()[50]
    np.testing.assert_array_equal(ProceduralMusic(200, 5, RATE).read(clip)[0], corpus.read(clip)[0])


def test_another_seed_gives_other_sounds_and_another_fingerprint(corpus: ProceduralMusic) -> None:
    clips = corpus.clips()
    other = ProceduralMusic(20, 2, RATE, seed=1)
    assert not np.array_equal(other.read(clips[0])[0], corpus.read(clips[0])[0])
    prints = {each.fingerprint(clips) for each in (corpus, other, ProceduralMusic(20), ProceduralMusic(21, 2, RATE))}
    assert len(prints) == 4
    assert corpus.fingerprint(clips[1:]) != corpus.fingerprint(clips)
    assert corpus.fingerprint(clips) == ProceduralMusic(20, 2, RATE).fingerprint(clips)


def test_sounds_are_finite_mono_without_offset_and_stay_below_full_scale_together(
    sections: dict[tuple[str, int], dict[str, np.ndarray]],
) -> None:
    balance = []
    for name, section in sections.items():
        for sound in section.values():
            assert sound.dtype == np.float32 and sound.ndim == 1, name
            assert np.isfinite(sound).all(), name
            assert abs(sound.mean(dtype=np.float64)) < 1e-6, name
            assert np.sqrt(np.mean(sound**2)) > 0.01, name
        assert np.abs(section["vocals"] + section["accompaniment"]).max() < 1, name
        balance.append(10 * np.log10(np.mean(section["vocals"] ** 2) / np.mean(section["accompaniment"] ** 2)))
    assert abs(np.median(balance)) < 3 and np.abs(balance).max() < 15  # dB


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_vocals_and_accompaniment_last_equally_long(rate: int) -> None:
    corpus = ProceduralMusic(10, 1, rate)
    for clip in corpus.clips()[:4]:
        sound, reported = corpus.read(clip)
        assert (len(sound), reported) == (int(4.5 * rate), rate), clip.name


def test_vocals_sound_in_the_key_of_their_accompaniment(
    sections: dict[tuple[str, int], dict[str, np.ndarray]],
) -> None:
    """Pitch classes of a song's voice agree with those of its chords more than with another song's chords."""
    songs = sorted({song for song, _ in sections})
    voices, chords = (
        np.stack([sum(chroma(sections[song, n][label]) for n in (0, 1)) ** 0.5 for song in songs])
        for label in ("vocals", "accompaniment")
    )
    agreement = np.corrcoef(voices, chords)[: len(songs), len(songs) :]
    own = np.diag(agreement).mean()
    others = agreement[~np.eye(len(songs), dtype=bool)].mean()
    assert own > 0.3 and own > others + 0.3


def test_syllables_begin_on_the_drums_grid(sections: dict[tuple[str, int], dict[str, np.ndarray]]) -> None:
    """Where vocals grow louder, measured from the nearest of the accompaniment's strokes, in shares of their spacing.

    The strokes of drums and chords are found in the sound, so that a shift of either clip would show.
    """

    def rises(sound: np.ndarray) -> np.ndarray:
        """Growth of the power in dB over 20 ms, every 10 ms."""
        power = np.square(sound[: len(sound) // 80 * 80]).reshape(-1, 80).mean(1)
        level = 10 * np.log10(power + 1e-4 * power.max())
        return np.maximum(0, level[2:] - level[:-2])

    lags = np.arange(-12, 13)
    total = np.zeros(len(lags))
    for section in sections.values():
        voice, strokes = rises(section["vocals"]), rises(section["accompaniment"])
        total += [np.sum(np.roll(voice, -lag) * strokes) for lag in lags]
    # Syllables rise for some 50 ms after the stroke.
    assert 0 <= lags[total.argmax()] <= 6
    assert total.max() > 1.5 * np.median(total)


def test_the_sung_pitch_is_that_of_a_voice_and_vibrates() -> None:
    """Within 0.3 s of a held note the pitch swings by a fraction of a semitone, 4.8 to 6.5 times a second."""
    rate = 16000
    corpus = ProceduralMusic(songs=10, sections_per_song=1, sample_rate=rate)
    window = np.hanning(rate // 25)
    swings = []
    for clip in corpus.clips()[::4]:
        frames = np.lib.stride_tricks.sliding_window_view(corpus.read(clip)[0], len(window))[:: rate // 100] * window
        lags = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048)) ** 2)[:, : rate // 70]
        lags /= np.fft.irfft(np.abs(np.fft.rfft(window, 2048)) ** 2)[: rate // 70]
        # The first peak of the autocorrelation that is nearly the highest, placed between samples by a parabola.
        left, middle, right = lags[:, :-2], lags[:, 1:-1], lags[:, 2:]
        peaks = np.where((middle > left) & (middle >= right), middle, 0)
        best = 1 + (peaks > 0.9 * peaks.max(1, keepdims=True)).argmax(1)
        low, top, high = (lags[np.arange(len(lags)), best + step] for step in (-1, 0, 1))
        period = best + 0.5 * (low - high) / (low - 2 * top + high)
        voiced = (top > 0.8 * lags[:, 0]) & (lags[:, 0] > 0.1 * lags[:, 0].mean())
        assert voiced.mean() > 0.3, clip.name
        assert 80 < np.median(rate / period[voiced]) < 700, clip.name
        semitones = np.where(voiced, 12 * np.log2(rate / period), np.nan)
        held = np.lib.stride_tricks.sliding_window_view(semitones, 30)
        swings += list(np.ptp(held[~np.isnan(held).any(1)], axis=1))
    assert 0.3 < np.percentile(swings, 25) < 2


@pytest.mark.parametrize("rate", [8000, 16000])
def test_notes_of_the_accompaniment_do_not_alias(rate: int) -> None:
    """Folded partials of 313 Hz would lie between its multiples."""
    note = _note(313.0, np.arange(1, 61) ** -0.8, decay=4.0, attack=0.003, length=2.0, rate=rate)
    steady = note[rate // 4 : -rate // 4]
    power = np.abs(np.fft.rfft(steady * signal.windows.blackmanharris(len(steady)))) ** 2
    hertz = np.fft.rfftfreq(len(steady), 1 / rate)
    apart = np.abs(hertz - 313 * np.round(hertz / 313))
    assert power[apart > 8].sum() < 1e-6 * power.sum()


def test_sections_of_a_song_share_key_and_tempo_and_differ_in_notes(
    sections: dict[tuple[str, int], dict[str, np.ndarray]],
) -> None:
    for number in range(5):
        plans = [_compose(np.random.default_rng(number), section) for section in range(3)]
        for one, two in pairwise(plans):
            assert one[:3] == two[:3]
            assert one.chords != two.chords
    for song in ("song/00", "song/07"):
        for label in ("vocals", "accompaniment"):
            assert not np.array_equal(sections[song, 0][label], sections[song, 1][label])


def test_degrees_of_the_scale_are_semitones_above_the_tonic() -> None:
    song = _Song(110.0, MAJOR, 0.25, (0,))
    notes = [song.hertz(degree) for degree in (-3, 0, 2, 4, 7)]
    np.testing.assert_allclose(notes, 110 * 2 ** (np.array([-5, 0, 4, 7, 12]) / 12))
    assert song.hertz(0, octave=2) == 440


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"songs": 9}, "songs=9.*set it to 10 or more"),
        ({"sections_per_song": 0}, "sections_per_song=0.*set it to 1 or more"),
        ({"sample_rate": 4000}, "sample_rate=4000.*set it to 8000 or more"),
        ({"seed": -1}, "seed=-1.*set it to 0 or more"),
        ({"folds": 0}, "folds=0.*set it to 1 or more"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ProceduralMusic(**settings)


@pytest.mark.parametrize("name", ["siren/07-1", "song/07/vocals", "song/07/drums@1", "song/x/vocals@0"])
def test_a_clip_of_another_corpus_is_refused(corpus: ProceduralMusic, name: str) -> None:
    with pytest.raises(InputError, match="not a clip of the corpus of procedural music"):
        corpus.read(Clip(name, "vocals", 8, "song/07"))
