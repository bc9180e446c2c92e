"""Speech-like babble, and the voice that also sings."""

import numpy as np
from numpy.random import Generator
from scipy import signal

from datamodules.corpora.procedural.signals import TOP, add_at, noise, tone

# Formants of men's vowels in Hz (Peterson and Barney, 1952), of beet, bat, father, bought and boot.
VOWELS = np.array([(270, 2290, 3010), (660, 1720, 2410), (730, 1090, 2440), (570, 840, 2410), (300, 870, 2240)])
HISSES = (5500, 4200, 2900, 1900, 900)  # where the noise of s, t, sh, k and p is strongest, in Hz


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
        centre, level = min(rng.choice(HISSES), TOP * rate), rng.choice([0, 0.15, 0.3, 0.6])
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
