"""Stand-ins for five classes of UrbanSound8K.

`recording` draws what the takes of a recording share (which horn, which dog), `take` when, how long and how loud.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.random import Generator
from scipy import signal

from datamodules.corpora.procedural.signals import instants, noise, resonant, tone


def car_horn(recording: Generator, take: Generator, rate: int) -> np.ndarray:
    """Two bright reed tones about a third apart, honked in a pattern of short and long."""
    low, high = recording.uniform(190, 520) * np.array([1, recording.choice([1.003, 1.19, 1.25, 1.33])])
    slope, even = recording.uniform(0.2, 0.8), recording.uniform(0.6, 1.0)
    seconds = instants(take.choice([take.uniform(0.4, 1.6), take.uniform(1.2, 4.0), 4.0]), rate)
    at = _events(take, recording.uniform(0.15, 1.0), recording.uniform(0.1, 0.6), [0, 0.1, 0.95, 1])
    loudness = np.interp(seconds, at, np.tile([0, 1, 0.9, 0], len(at) // 4))
    reeds = tone(np.full(len(seconds), low), slope, even, rate) + tone(np.full(len(seconds), high), slope, even, rate)
    return resonant(loudness * reeds, recording, 700, 5000, 3.0, rate)


def dog_bark(recording: Generator, take: Generator, rate: int) -> np.ndarray:
    """Bursts of a rough, swept voice through the formants of a muzzle, in the dog's own rhythm."""
    size = 0.2 ** recording.random()  # 1 terrier, 0.2 mastiff
    rise, breath, slope = recording.uniform(0.2, 0.8), recording.uniform(0.3, 0.7), recording.uniform(0.5, 1.0)
    seconds = instants(take.choice([take.uniform(0.3, 0.9), take.uniform(0.7, 2.2), 4.0]), rate)
    at = _events(take, recording.uniform(0.15, 0.35), recording.uniform(0.1, 0.7), [0, 0.1, 0.4, 0.7, 1])
    loudness = np.interp(seconds, at, np.tile([0, 1, 0.8, 0.3, 0], len(at) // 5))
    sweep = np.interp(seconds, at, np.tile([1, 1 + 0.4 * rise, 1 + rise, 0.9, 0.7], len(at) // 5))
    # Vocal folds under strain vibrate at half their pitch too: the odd harmonics are the weaker ones.
    voice = tone(500 * size * sweep, slope, recording.uniform(2, 4), rate)
    bark = loudness * ((1 - breath) * voice + 2 * breath * noise(take, len(seconds)))
    return resonant(bark, recording, 1000 * np.sqrt(size), 6000 * np.sqrt(size), 4.0, rate)


def gun_shot(recording: Generator, take: Generator, rate: int) -> np.ndarray:
    """A sharp blast with an exponential decay; single shots and bursts."""
    blast, tail, level = recording.uniform(0.006, 0.04), recording.uniform(0.08, 0.5), recording.uniform(0.03, 0.3)
    automatic = recording.random() < 0.35
    period = recording.uniform(0.07, 0.12) if automatic else recording.uniform(0.3, 1.0)
    shots = take.integers(3, 13) if automatic else take.choice([1, 2, 3], p=[0.65, 0.22, 0.13])
    onsets = take.uniform(0, 0.08) + period * np.arange(shots)
    pulses = np.zeros(int((onsets[-1] + take.uniform(0.4, 1.4)) * rate))
    pulses[(onsets * rate).astype(int)] = take.uniform(0.8, 1.0, shots)
    since = instants(3 * tail, rate)
    crack = (np.exp(-since / blast) + level * np.exp(-since / tail)) * noise(take, len(since))
    return resonant(signal.oaconvolve(pulses, crack)[: len(pulses)], recording, 200, 4500, 1.5, rate)


def jackhammer(recording: Generator, take: Generator, rate: int) -> np.ndarray:
    """Blows at 13 to 30 Hz that ring chisel and ground, and a compressor's drone behind them."""
    blows, engine, drone = recording.uniform(13, 30), recording.uniform(35, 95), recording.uniform(0.02, 0.2)
    click, slope = recording.uniform(0.003, 0.015), recording.uniform(0.5, 1.2)
    seconds = instants(take.choice([take.uniform(1.0, 4.0), 4.0], p=[0.2, 0.8]), rate)
    pulses = np.zeros(len(seconds))
    onsets = (np.arange(int(seconds[-1] * blows)) + take.uniform(0.4, 0.6, int(seconds[-1] * blows))) / blows
    pulses[(onsets * rate).astype(int)] = take.uniform(0.6, 1.0, len(onsets))
    # Blows decay exponentially: a filter of one pole.
    blast = signal.lfilter([1], [1, -np.exp(-1 / (click * rate))], pulses) * noise(take, len(seconds))
    motor = tone(np.full(len(seconds), engine), slope, 1.0, rate)
    return resonant(blast + drone * motor, recording, 150, 6000, 2.0, rate)


def howl(recording: Generator, take: Generator, rate: int) -> np.ndarray:
    """A dog's long clear note that rises, holds with a slow vibrato and falls."""
    top, span, slope = recording.uniform(350, 900), recording.uniform(1.2, 1.8), recording.uniform(1.4, 2.4)
    vibrato, breath = recording.uniform(3, 6), recording.uniform(0.02, 0.1)
    seconds = instants(take.choice([take.uniform(1.5, 3.0), 4.0]), rate)
    at = _events(take, recording.uniform(1.2, 2.5), recording.uniform(0.2, 0.8), [0, 0.15, 0.3, 0.8, 1])
    loudness = np.interp(seconds, at, np.tile([0, 0.7, 1, 0.8, 0], len(at) // 5))
    octaves = np.interp(seconds, at, np.tile([-1.0, -0.2, 0, -0.1, -0.8], len(at) // 5)) * np.log2(span)
    octaves += 0.02 * np.sin(2 * np.pi * vibrato * seconds)
    voice = tone(top * 2**octaves, slope, recording.uniform(0.5, 1.0), rate)
    sound = loudness * ((1 - breath) * voice + breath * noise(take, len(seconds)))
    return resonant(sound, recording, 500, 3000, 2.0, rate)


def siren(recording: Generator, take: Generator, rate: int, kind: str | None = None) -> np.ndarray:
    """A tone that wails, yelps or alternates between two pitches, from a horn on a moving car: any or one kind."""
    low, span, slope = recording.uniform(330, 750), recording.uniform(1.3, 2.8), recording.uniform(1.2, 2.2)
    periods = [recording.uniform(0.2, 0.6), recording.uniform(0.6, 2), recording.uniform(2, 7)]
    period = recording.choice(periods)
    rising, even, steep = recording.uniform(0.2, 0.7), recording.uniform(0.1, 0.6), recording.choice([1, 1, 8])
    if kind is not None:
        period, steep = {"yelp": (periods[0], 1), "two_tone": (periods[1], 8), "wail": (periods[2], 1)}[kind]
    seconds = instants(take.choice([take.uniform(1.5, 4.0), 4.0], p=[0.15, 0.85]), rate)
    sweep = np.clip(steep * signal.sawtooth(2 * np.pi * (take.random() + seconds / period), rising), -1, 1)
    passing = (seconds - take.uniform(-1, 5)) / take.uniform(0.4, 1.5)
    pitch = low * span ** (0.5 + 0.5 * sweep) * (1 - 0.03 * np.tanh(passing))  # Doppler's shift
    return resonant(tone(pitch, slope, even, rate) / np.sqrt(1 + 0.3 * passing**2), recording, 600, 4500, 1.0, rate)


def _events(take: Generator, length: float, pause: float, shape: list[float]) -> np.ndarray:
    """The time, in s, when each event of about this length has each share in `shape` of it behind it, [N · S]."""
    lengths = length * np.exp(take.uniform(-0.5, 0.5, 64))
    spacing = lengths + pause * np.exp(take.uniform(-0.8, 0.8, 64))
    return ((np.cumsum(spacing) - spacing)[:, None] + np.outer(lengths, shape)).ravel()


Sound = Callable[[Generator, Generator, int], np.ndarray]  # of recording, take and rate, [T]
SOUNDS: dict[str, Sound] = {sound.__name__: sound for sound in (car_horn, dog_bark, gun_shot, jackhammer, siren)}
KINDS: dict[str, Sound] = {
    "jackhammer": jackhammer,
    "bark": dog_bark,
    "howl": howl,
    **{kind: partial(siren, kind=kind) for kind in ("wail", "yelp", "two_tone")},
}
