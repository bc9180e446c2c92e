"""Songs: a singing voice, and what accompanies it."""

import numpy as np
from numpy.random import Generator

from datamodules.corpora.procedural.signals import add_at, instants, noise, tone
from datamodules.corpora.procedural.voices import Voice

SECONDS = 4.5  # of a section
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))  # major and minor, in semitones above the tonic
PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 2, 3, 4), (0, 3, 0, 4))  # scale degrees
RHYTHMS = ((0,), (0, 2), (0, 3), (0, 1, 2, 3), (0, 1.5, 3))  # strokes of a chord, in eighth notes


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
    voice, octave = Voice(singer, height), round(np.log2(165 * (300 / 165) ** height / song.tonic))
    vibrato, depth = singer.uniform(4.8, 6.5), singer.uniform(0.02, 0.05)  # Hz, octaves
    total, onset, degree = np.zeros(int(SECONDS * rate)), 0.0, melody.integers(-1, 4)
    while onset < SECONDS:
        degree = np.clip(degree + melody.integers(-2, 3), -3, 6)
        since = instants(melody.choice([1, 2, 2, 3, 4]) * song.eighth, rate)
        swing = depth * np.clip(5 * since - 0.75, 0, 1) * np.sin(2 * np.pi * vibrato * since)
        sung = voice.syllable(melody, song.hertz(degree + 7 * octave) * 2**swing, rate)
        add_at(total, onset, melody.choice([0.0, 0.6, 0.7, 0.8, 0.9, 1.0]) * sung, rate)
        onset += len(since) / rate
    return total


def accompaniment(song: Song, players: Generator, performance: Generator, rate: int) -> np.ndarray:
    """Chords above their roots, and drums, at levels of the song's own, [T]."""
    chords, drums = parts = np.zeros((2, int(SECONDS * rate)))
    slope, even, octave = players.uniform(0.8, 2.0), players.uniform(0.1, 1.0), 7 * players.integers(1, 3)
    rhythm, attack, decay = RHYTHMS[players.integers(5)], players.uniform(0.003, 0.05), players.uniform(0.6, 4)
    since = instants(4 * song.eighth, rate)
    loudness = np.clip(since / attack, 0, 1) * np.clip((since[-1] - since) / 0.03, 0, 1) * 10 ** (-3 * since / decay)
    for half, root in enumerate(song.roots):
        inversion = 7 * (np.arange(3) < performance.integers(3))
        for degree in (root, *(octave + root + np.array([0, 2, 4]) + inversion)):
            note = loudness * tone(np.full(len(since), song.hertz(degree)), slope, even, rate)
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
    levels = 10 ** (np.array([0.0, players.uniform(-8, 0)]) / 20)
    return levels / np.sqrt(np.mean(parts**2, axis=1)) @ parts
