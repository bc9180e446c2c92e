"""Building blocks of the procedural sounds: tones, noise, resonances, rooms."""

import numpy as np
from numpy.random import Generator
from scipy import fft, signal

PERIOD = 16384  # samples of one tabulated period of a tone
TOP = 0.45  # highest partial as a share of the sampling rate


def instants(seconds: float, rate: int) -> np.ndarray:
    """The time of every sample in seconds, [T]."""
    return np.arange(int(seconds * rate)) / rate


def noise(rng: Generator, samples: int) -> np.ndarray:
    """White noise of unit power, [samples]. A child draws it: what `rng` draws later is the same at every rate."""
    return rng.spawn(1)[0].standard_normal(samples, np.float32)


def tone(frequency: np.ndarray, slope: float, even: float, rate: int) -> np.ndarray:
    """A harmonic tone of this fundamental in Hz, [T]: one period is tabulated and read at the running phase.

    Harmonic n has the amplitude 1/n^slope, times `even` where n is even. Those that could pass `TOP` are left out.
    """
    number = np.arange(1, min(80, max(1, int(TOP * rate / frequency.max()))) + 1)
    spectrum = np.zeros(PERIOD // 2 + 1, complex)
    spectrum[number] = -0.5j * PERIOD * number**-slope * np.where(number % 2, 1, even)
    position = np.cumsum(frequency * (PERIOD / rate)).astype(int)
    return fft.irfft(spectrum).astype(np.float32)[position & (PERIOD - 1)]


def add_at(total: np.ndarray, onset: float, sound: np.ndarray, rate: int) -> None:
    """Add a sound to `total` in place, from `onset` in seconds on; what would pass the end is cut."""
    part = total[int(onset * rate) :][: len(sound)]
    part += sound[: len(part)]


def resonant(sound: np.ndarray, rng: Generator, low: float, high: float, gain: float, rate: int) -> np.ndarray:
    """The sound [T] beside three resonances of its body, about `gain` times as strong, from `low` to `high` Hz."""
    total = 0.4 * sound
    for centre in np.geomspace(low, high, 3) * np.exp(rng.uniform(-0.4, 0.4, 3)):
        quality, level = rng.uniform(2, 15), gain * rng.uniform(0.4, 2)
        if centre < TOP * rate:
            total += level * signal.lfilter(*signal.iirpeak(centre, quality, fs=rate), sound)
    return total


def recorded(dry: np.ndarray, place: Generator, take: Generator, hum: float, peak: float, rate: int) -> np.ndarray:
    """What a recorder keeps of a sound [T]: reverberation, background noise, no lows; float32 without offset, [T].

    `place` draws the room and the recorder, `take` the background at `hum` dB relative to the mean level of the sound.
    `peak` is the highest absolute sample in dB relative to full scale.
    """
    reverberation, wetness = place.uniform(0.15, 0.7), 10 ** (place.uniform(-18, -3) / 20)
    tilt, cutoff = place.uniform(0, 0.95), place.uniform(40, 150)  # Hz
    seconds = instants(0.5 * reverberation, rate).astype(np.float32)
    tail = noise(place, len(seconds)) * 10 ** (-3 * seconds / reverberation)
    sound = dry.astype(np.float32)
    sound += signal.oaconvolve(sound, tail * (wetness / np.sqrt(np.sum(tail**2))))[: len(dry)]
    rumble = signal.lfilter([np.sqrt(1 - tilt**2)], [1, -tilt], noise(take, len(dry)))
    sound += 10 ** (hum / 20) * np.sqrt(np.mean(sound**2)) * rumble
    sound = signal.lfilter([1, -1], [1, -np.exp(-2 * np.pi * cutoff / rate)], sound)
    sound -= sound.mean()
    return (sound * (10 ** (peak / 20) / np.abs(sound).max())).astype(np.float32)
