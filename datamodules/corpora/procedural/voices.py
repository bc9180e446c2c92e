"""Voices that speak and sing, and what accompanies a song."""

import numpy as np
from numpy.random import Generator
from scipy import signal

from datamodules.corpora.procedural.signals import TOP, add_at, instants, noise, tone

# Formants of men's vowels in Hz (Peterson and Barney, 1952), of beet, bat, father, bought and boot.
VOWELS = np.array([(270, 2290, 3010), (660, 1720, 2410), (730, 1090, 2440), (570, 840, 2410), (300, 870, 2240)])

SECONDS = 4.5  # of a section
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))  # major and minor, in semitones above the tonic
PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 2, 3, 4), (0, 3, 0, 4))  # scale degrees
RHYTHMS = ((0,), (0, 2), (0, 3), (0, 1, 2, 3), (0, 1.5, 3))  # strokes of a chord, in eighth notes


class Voice:
    """A speaker, or a singer, low (`height` 0, mostly with a long vocal tract) to high (1, mostly with a short one)."""

    def __init__(self, rng: Generator, height: float) -> None:
        accents = rng.uniform(0.93, 1.07, VOWELS.shape)
        self.formants = (0.92 + 0.22 * height + rng.uniform(-0.06, 0.06)) * accents * VOWELS
        self.slope, self.breath = rng.uniform(0.6, 1.2), rng.uniform(0.01, 0.08)

    def syllable(self, rng: Generator, pitch: np.ndarray, rate: int) -> np.ndarray:
        """A vowel at this pitch in Hz, [T], most often behind a consonant."""
        share, hiss = np.linspace(0, 1, len(pitch)), noise(rng, len(pitch))
        loudness = np.interp(share, [0, 0.1, 0.25, 0.8, 1], [0, 0.1, 1, 0.8, 0])
        sound = loudness * (tone(pitch, self.slope, 1.0, rate) + self.breath * hiss)
        for formant in rng.choice(self.formants):
            if formant < TOP * rate:
                pole = np.exp((-np.pi * (0.05 * formant + 40) + 2j * np.pi * formant) / rate)
                sound = signal.lfilter([abs(1 - pole) ** 2], [1, -2 * pole.real, abs(pole) ** 2], sound)
        # Where the noise of s, t, sh, k and p is strongest.
        centre, level = min(rng.choice([5500, 4200, 2900, 1900, 900]), TOP * rate), rng.choice([0, 0.15, 0.3, 0.6])
        consonant = level * np.interp(share, [0, 0.05, 0.2, 0.25], [0, 1, 1, 0]) * hiss
        return sound + signal.lfilter(*signal.iirpeak(centre, 2.0, fs=rate), consonant)


def babble(person: Generator, take: Generator, rate: int) -> np.ndarray:
    """3 to 5 s of syllables, in phrases with intonation and pauses, [T]."""
    height, tempo, liveliness = person.random(), person.uniform(3.5, 6.5), person.uniform(0.4, 1.2)
    voice, usual_pitch = Voice(person, height), 95 * (240 / 95) ** height
    total, onset, end = np.zeros(5 * rate), take.uniform(0.02, 0.15), take.uniform(3.0, 3.4)
    while onset < end:
        for declination in np.linspace(0.12, -0.18, take.integers(3, 7)):
            stress = take.random()
            share = np.linspace(0, 1, int((0.7 + 0.8 * stress) / tempo * rate))
            octaves = declination + np.interp(share, [0, 0.5, 1], [0, 0.3 * stress, 0])
            sound = voice.syllable(take, usual_pitch * 2 ** (liveliness * octaves), rate)
            add_at(total, onset, (0.4 + 0.6 * stress) * sound, rate)
            onset += 0.9 * (0.7 + 0.8 * stress) / tempo
        onset += take.uniform(0.12, 0.4)
    return total[: int(onset * rate)]


class Song:
    """What vocals and accompaniment of a section agree on: key, tempo and chords, one for every four eighths."""

    def __init__(self, rng: Generator, section: int) -> None:
        self.tonic, self.scale = 55.0 * 2 ** (rng.integers(12) / 12), SCALES[rng.integers(2)]
        self.eighth = 30 / rng.uniform(80, 140)  # seconds
        # Later sections start elsewhere in the same progression.
        self.roots = np.resize(np.roll(PROGRESSIONS[rng.integers(len(PROGRESSIONS))], -2 * section), 6)

    def hertz(self, degree: int) -> float:
        """Pitch of a degree of the scale: 0 the lowest tonic, 7 the octave above it."""
        return float(self.tonic * 2 ** (degree // 7 + self.scale[degree % 7] / 12))


def vocals(song: Song, singer: Generator, melody: Generator, rate: int) -> np.ndarray:
    """A melody of syllables with vibrato, in small steps about the singer's middle, with rests, [T]."""
    height = singer.random()
    voice, octave = Voice(singer, height), round(np.log2(115 * (300 / 115) ** height / song.tonic))
    vibrato, depth = singer.uniform(4.8, 6.5), singer.uniform(0.02, 0.05)  # Hz, octaves
    total, onset, degree = np.zeros(int(SECONDS * rate)), 0.0, melody.integers(-1, 4)
    while onset < SECONDS:
        degree = np.clip(degree + melody.integers(-2, 3), -3, 6)
        since = instants(melody.choice([1, 2, 2, 3, 4]) * song.eighth, rate)
        swing = depth * np.clip(5 * since - 0.75, 0, 1) * np.sin(2 * np.pi * vibrato * since)
        swing -= melody.uniform(0, 0.15) * np.exp(-since / 0.05)  # from below
        sung = voice.syllable(melody, song.hertz(degree + 7 * octave) * 2**swing, rate)
        add_at(total, onset, melody.choice([0.0, 0.6, 0.7, 0.8, 0.9, 1.0]) * sung, rate)
        onset += len(since) / rate
    return total


def accompaniment(song: Song, players: Generator, performance: Generator, rate: int) -> np.ndarray:
    """Triads, a bass far below them and drums, at levels of the song's own, [T]."""
    chords, drums = np.zeros((2, int(SECONDS * rate)))
    slope, even, bass = players.uniform(0.8, 2.0), players.uniform(0.1, 1.0), players.uniform(2, 5)
    rhythm, attack, decay = RHYTHMS[players.integers(5)], players.uniform(0.003, 0.05), players.uniform(0.6, 4)
    since = instants(4 * song.eighth, rate)
    loudness = np.clip(since / attack, 0, 1) * np.clip((since[-1] - since) / 0.03, 0, 1) * 10 ** (-3 * since / decay)
    for half, root in enumerate(song.roots):
        inversion = 7 * (np.arange(3) < performance.integers(3))
        triad = [(degree, slope, 1.0) for degree in 14 + root + np.array([0, 2, 4]) + inversion]
        for degree, fall, level in [(root - 7 * (root > 3), slope + 1, bass), *triad]:
            note = level * loudness * tone(np.full(len(since), song.hertz(degree)), fall, even, rate)
            for stroke in rhythm:
                add_at(chords, (4 * half + stroke) * song.eighth, performance.uniform(0.7, 1) * note, rate)

    since = instants(0.3, rate)
    hiss, deep, skin = noise(players, len(since)), players.uniform(50, 90), players.uniform(160, 240)
    kick = np.exp(-since / 0.07) * np.sin(2 * np.pi * deep * since)
    snare = 0.5 * hiss * np.exp(-since / 0.08) + np.exp(-since / 0.04) * np.sin(2 * np.pi * skin * since)
    hat = 0.2 * np.diff(hiss, prepend=0.0) * np.exp(-since / players.uniform(0.015, 0.06))
    for beat in range(int(np.ceil(SECONDS / song.eighth))):
        sound = hat if beat % 2 and performance.random() < 0.9 else hat + (kick, snare)[beat // 2 % 2]
        add_at(drums, beat * song.eighth, sound, rate)
    return chords / np.std(chords) + 10 ** (players.uniform(-6, 0) / 20) * drums / np.std(drums)
