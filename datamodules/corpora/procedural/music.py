"""A corpus of procedural songs, sung and accompanied, for when no recorded music is at hand."""

import re
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.procedural.acoustics import CONTROL, recorded, room, strikes, tone
from datamodules.corpora.procedural.settings import check, digest
from datamodules.corpora.procedural.vocal_tract import CONSONANTS, SILENCE, draw_voice, utter
from lightning_modules.errors import InputError

VERSION = 1  # of the synthesis: raise it whenever any clip sounds different
LABELS = ("vocals", "accompaniment")
# In dB: about equally loud although drums peak higher, and never at full scale together.
PEAKS = {"vocals": (-14.0, -8.0), "accompaniment": (-9.0, -5.5)}
SECONDS = 4.5  # of a section
MAJOR = (0, 2, 4, 5, 7, 9, 11)  # semitones above the tonic
MINOR = (0, 2, 3, 5, 7, 8, 10)
PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 2, 3, 4), (0, 3, 0, 4))  # scale degrees
STROKES = ((0,), (0, 2), (0, 3), (0, 1, 2, 3), (0, 1.5, 3), (1, 3))  # of the chords, in eighth notes after the change
ONSETS = ("", "m", "n", "l", "w", "y", "d", "b", "t", "s", "h")


class _Song(NamedTuple):
    """What vocals and accompaniment agree on.

    Attributes:
        tonic: pitch of the bass's lowest tonic, in Hz.
        scale: semitones of the seven degrees above it.
        eighth: duration of an eighth note in seconds.
        chords: scale degree of each chord's root; a chord lasts half a bar of four eighths.
    """

    tonic: float
    scale: tuple[int, ...]
    eighth: float
    chords: tuple[int, ...]

    def hertz(self, degree: int, octave: int = 0) -> float:
        """Pitch of a degree of the scale (0 the tonic, 7 the octave above it)."""
        return float(self.tonic * 2 ** (octave + degree // 7 + self.scale[degree % 7] / 12))


class ProceduralMusic(Corpus):
    """Synthetic songs: a singing voice, and the chords, bass and drums beneath it. No clip is a recording.

    A section of a song is two clips of 4.5 s that sound together: label `vocals`, syllables sung to a melody with
    rests, and label `accompaniment`. Both follow the song's key, chords and tempo; singer, instruments and room stay
    the same from section to section, the notes differ. Their sum stays below full scale. All of a song lies in one
    fold. A clip's sound is a pure function of the seed, the sampling rate and its name, in any process and order.

    Args:
        songs: number of songs, at least one for every fold.
        sections_per_song: sections of each song.
        sample_rate: rate at which the music is synthesised, without aliasing, in Hz; at least 8000.
        seed: another seed gives other songs.
        folds: number of folds, counted from 1.

    Raises:
        InputError: a setting out of its range.
    """

    name = "procedural_music"

    def __init__(
        self, songs: int = 60, sections_per_song: int = 2, sample_rate: int = 16000, seed: int = 0, folds: int = 10
    ) -> None:
        check(
            "corpus of procedural music",
            sample_rate,
            seed,
            folds,
            ("songs", songs, folds, "every fold needs a song"),
            ("sections_per_song", sections_per_song, 1, "a song has a section"),
        )
        self.songs = songs
        self.sections_per_song = sections_per_song
        self.sample_rate = sample_rate
        self.seed = seed
        self.folds = folds

    def clips(self) -> list[Clip]:
        """Every clip, by song, section and label; names such as `song/07/vocals@1`, in section 1 of song 7."""
        return [
            Clip(
                name=f"song/{song:02d}/{label}@{section}",
                label=label,
                fold=song % self.folds + 1,
                recording=f"song/{song:02d}",
                section=section,
            )
            for song in range(self.songs)
            for section in range(self.sections_per_song)
            for label in LABELS
        ]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """Synthesise one clip: mono float32 samples [T] without offset, peak below 1, and their rate in Hz.

        Raises:
            InputError: the name is not one of this corpus.
        """
        parts = re.fullmatch(r"song/([0-9]+)/(vocals|accompaniment)@([0-9]+)", clip.name)
        if not parts:
            raise InputError(f"{clip.name}: not a clip of the corpus of procedural music; take one from its clips()")
        return self._synthesise(int(parts[1]), parts[2], int(parts[3])), self.sample_rate

    def _synthesise(self, number: int, label: str, section: int) -> np.ndarray:
        track = LABELS.index(label)
        composer, place, reverberation, players, performance, noise, gain = (
            np.random.default_rng([self.seed, number, *aspect])
            for aspect in ((0,), (1,), (2,), (3, track), (4, track, section), (5, track, section), (6, track))
        )
        song = _compose(composer, section)
        play = _sing if label == "vocals" else _accompany
        dry = play(song, players, performance, noise, self.sample_rate)
        wetness = 10 ** place.uniform(-2.0, -0.7)
        responses = (room(place, reverberation, wetness, self.sample_rate),)
        peak = gain.uniform(*PEAKS[label])
        return recorded(dry, responses, -70.0, 0.5, 30.0, peak, noise, self.sample_rate)

    def fingerprint(self, clips: list[Clip]) -> str:
        """A digest of the synthesis's version, the settings and the clips' table."""
        settings = (self.songs, self.sections_per_song, self.sample_rate, self.seed, self.folds)
        return digest(VERSION, settings, clips)


def _compose(rng: np.random.Generator, section: int) -> _Song:
    """Key, tempo and chords; later sections start elsewhere in the same progression."""
    tonic = 55.0 * 2 ** (rng.integers(12) / 12)
    scale = MAJOR if rng.random() < 0.6 else MINOR
    eighth = 30 / rng.uniform(80, 140)
    progression = PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    halves = 2 * section + np.arange(int(np.ceil(SECONDS / (4 * eighth))))
    return _Song(tonic, scale, eighth, tuple(progression[half % len(progression)] for half in halves))


def _sing(
    song: _Song, singer: np.random.Generator, melody: np.random.Generator, noise: np.random.Generator, rate: int
) -> np.ndarray:
    """A melody of syllables with vibrato: steps about the singer's middle, chord notes on the beat, rests, [T]."""
    height = singer.random()
    voice = draw_voice(singer, height)
    middle = 165 * (300 / 165) ** height
    octave = round(np.log2(middle / song.tonic))
    vibrato, depth = singer.uniform(4.8, 6.5), singer.uniform(0.25, 0.6)  # Hz, semitones

    total = int(SECONDS * CONTROL)
    phones, steps, levels, breaths = [SILENCE], [int(melody.choice([0, 0, 2]) * song.eighth * CONTROL)], [0.0], []
    pitch = np.full(total, song.hertz(0, octave))
    elapsed, degree = steps[0], int(melody.integers(-1, 4))
    while elapsed < total:
        rest = levels[-1] > 0 and melody.random() < 0.16
        eighths = melody.choice([1, 2]) if rest else melody.choice([1, 2, 3, 4], p=[0.3, 0.4, 0.15, 0.15])
        length = int(eighths * song.eighth * CONTROL)
        breaths.append(elapsed)
        if rest:
            phones.append(SILENCE)
            steps.append(length)
            levels.append(0.0)
        else:
            degree = int(np.clip(degree + melody.choice([-2, -1, -1, 0, 1, 1, 2]), -3, 6))
            root = song.chords[min(len(song.chords) - 1, int(elapsed / CONTROL / song.eighth / 4))]
            if melody.random() < 0.5 and (degree - root) % 7 not in (0, 2, 4):
                degree += 1 if (degree + 1 - root) % 7 in (0, 2, 4) else -1
            onset = ONSETS[melody.integers(len(ONSETS))]
            spoken = [(phone, int(phone.seconds * CONTROL)) for phone in CONSONANTS.get(onset, ())]
            gap = int(melody.choice([0.02, 0.02, 0.25]) * length)
            vowel = voice.vowels[melody.integers(len(voice.vowels))]
            spoken.append((vowel, length - gap - sum(duration for _, duration in spoken)))
            spoken.append((SILENCE, gap))
            phones += [phone for phone, _ in spoken]
            steps += [duration for _, duration in spoken]
            levels += [melody.uniform(0.6, 1.0)] * len(spoken)
            since = np.arange(min(length, total - elapsed)) / CONTROL
            swing = depth * np.clip((since - 0.15) / 0.2, 0, 1) * np.sin(2 * np.pi * vibrato * since)
            scoop = -melody.uniform(0, 1.5) * np.exp(-since / 0.04)
            pitch[elapsed : elapsed + length] = song.hertz(degree, octave) * 2 ** ((swing + scoop) / 12)
        elapsed += length
    # The last note is cut where the section ends.
    ends = np.minimum(np.cumsum(steps), total)
    cut = np.diff(ends, prepend=0)
    drift = ndimage.uniform_filter1d(melody.standard_normal(total), int(0.01 * CONTROL), mode="nearest")
    sung = utter(voice, phones, cut, np.array(levels), pitch * 2 ** (0.004 * drift), np.array(breaths), noise, rate)
    return _faded(sung, rate)


def _accompany(
    song: _Song, players: np.random.Generator, performance: np.random.Generator, noise: np.random.Generator, rate: int
) -> np.ndarray:
    """Chords, bass and drums at levels of the song's own, [T]."""
    parts = (
        _chords(song, players, performance, rate),
        _bass(song, players, performance, rate),
        _drums(song, players, performance, noise, rate),
    )
    total = np.zeros(int(SECONDS * rate))
    for part, level in zip(parts, (0.0, players.uniform(-5, 1), players.uniform(-6, 1)), strict=True):
        total += part * (10 ** (level / 20) / np.sqrt(np.mean(part**2)))
    return _faded(total, rate)


def _faded(sound: np.ndarray, rate: int) -> np.ndarray:
    """The sound [T] with its last 20 ms faded out."""
    fade = int(0.02 * rate)
    sound[-fade:] *= np.linspace(1, 0, fade)
    return sound


def _note(hertz: float, partials: np.ndarray, decay: float, attack: float, length: float, rate: int) -> np.ndarray:
    """One note of steady pitch that swells for `attack` s, then falls by 60 dB in `decay` s; released at `length` s."""
    sound = tone(np.full(int(length * CONTROL), hertz), partials, rate)
    since = np.arange(len(sound)) / rate
    loudness = np.minimum(1, since / attack) * 10 ** (-3 * since / decay) * np.clip((length - since) / 0.03, 0, 1)
    return sound * loudness


def _chords(song: _Song, player: np.random.Generator, performance: np.random.Generator, rate: int) -> np.ndarray:
    """Triads plucked (each note bright at first) or sustained, struck together or one note after another, [T]."""
    plucked = player.random() < 0.65
    slope, even = player.uniform(0.8, 1.8), player.uniform(0.1, 1.0)
    attack, decay = (0.003, player.uniform(0.6, 2.5)) if plucked else (player.uniform(0.02, 0.08), 30.0)
    strum = player.choice([0.0, 0.015, 1.0], p=[0.3, 0.4, 0.3])  # seconds; one eighth where broken
    stagger = song.eighth if strum == 1.0 else strum
    rhythm = STROKES[player.integers(len(STROKES))] if plucked and strum < 1.0 else (0,)
    octave = int(player.choice([1, 2]))
    number = np.arange(1, 61)
    partials = number**-slope * np.where(number % 2, 1, even)

    samples = int(SECONDS * rate)
    total = np.zeros(samples)
    half = 4 * song.eighth
    for count, root in enumerate(song.chords):
        inversion = int(performance.integers(3))
        for voice in range(3):
            degree = root + 2 * voice + (7 if voice < inversion else 0) - (7 if root > 3 else 0)
            hertz = song.hertz(degree, octave)
            late = stagger * voice
            length = half - late if plucked else half - late + 0.02
            stroke = _note(hertz, partials / number, decay, attack, length, rate)
            if plucked:
                bright = _note(hertz, partials, decay / 5, attack, min(length, decay / 4), rate)
                stroke[: len(bright)] += bright
            onsets = (count * half + late + np.array(rhythm) * song.eighth) * rate
            total += strikes(onsets.astype(int), performance.uniform(0.7, 1.0, len(onsets)), stroke, samples)
    return total


def _bass(song: _Song, player: np.random.Generator, performance: np.random.Generator, rate: int) -> np.ndarray:
    """The chords' roots, and sometimes their fifths, in a pattern of eighths, [T]."""
    slope, decay = player.uniform(1.2, 2.2), player.uniform(0.8, 3.0)
    pattern = ((0,), (0, 2), (0, 3), (0, 1, 2, 3))[player.integers(4)]
    number = np.arange(1, 31)

    samples = int(SECONDS * rate)
    total = np.zeros(samples)
    for count, root in enumerate(song.chords):
        for place, (beat, after) in enumerate(zip(pattern, (*pattern[1:], 4), strict=True)):
            degree = root + (4 if place and performance.random() < 0.25 else 0) - (7 if root > 3 else 0)
            length = (after - beat) * song.eighth * 0.95
            stroke = _note(song.hertz(degree), number**-slope, decay, 0.006, length, rate)
            onset = np.array([(4 * count + beat) * song.eighth * rate]).astype(int)
            total += strikes(onset, performance.uniform(0.8, 1.0, 1), stroke, samples)
    return total


def _drums(
    song: _Song, player: np.random.Generator, performance: np.random.Generator, noise: np.random.Generator, rate: int
) -> np.ndarray:
    """Kick on one, snare on the back beat, hat in eighths, and a few strokes of this section's own, [T]."""
    deep, click = player.uniform(42, 62), player.uniform(80, 200)
    skin, rattle = player.uniform(160, 240), player.uniform(0.04, 0.12)
    sizzle, edge = player.uniform(0.015, 0.06), player.uniform(0.85, 0.97)
    offbeat = player.random() < 0.5

    since = np.arange(int(0.3 * rate)) / rate
    kick = np.exp(-since / 0.07) * np.sin(2 * np.pi * (deep * since - 0.02 * click * np.expm1(-since / 0.02)))
    hiss = noise.standard_normal((2, len(since)))
    snare = 0.5 * hiss[0] * np.exp(-since / rattle) + np.exp(-since / 0.04) * np.sin(2 * np.pi * skin * since)
    hat = np.diff(hiss[1], prepend=0.0) * edge * np.exp(-since / sizzle)

    eighths = np.arange(int(np.ceil(SECONDS / song.eighth)))
    beat = eighths % 8
    extra = performance.random((2, len(eighths)))
    struck = (
        (kick, 1.0 * ((beat == 0) | ((beat == 5) if offbeat else (beat == 4)) | (extra[0] < 0.08))),
        (snare, 0.6 * ((beat == 2) | (beat == 6)) + 0.15 * (extra[1] < 0.06)),
        (hat, 0.2 + 0.15 * (beat % 2 == 0)),
    )
    onsets = (eighths * song.eighth * rate).astype(int)
    samples = int(SECONDS * rate)
    parts = [
        strikes(onsets, level * performance.uniform(0.85, 1.0, len(onsets)), drum, samples) for drum, level in struck
    ]
    return np.sum(parts, axis=0)
