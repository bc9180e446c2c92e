"""The five procedural sounds. None is a recording: each is computed from the physics of its namesake.

Every sound is a function of three generators: `recording` draws what the takes of one recording share (which horn,
which dog), `take` what differs between them (when, how long, how loud), `noise` the samples of noises, whose number
depends on the sampling rate. All draws of `recording` come first, so that every take hears the same instrument.

Each returns the excitation [T] and the impulse response of the body that radiates it.
"""

from collections.abc import Callable

import numpy as np

from datamodules.corpora.procedural.acoustics import CONTROL, body, sampled, strikes, tone, wander

Generator = np.random.Generator
Sound = Callable[[Generator, Generator, Generator, int], tuple[np.ndarray, np.ndarray]]

LONGEST = 4.0  # seconds, as in UrbanSound8K


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _log_uniforms(rng: Generator, low: float, high: float, count: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def _modes(rng: Generator, low: float, high: float, count: int) -> np.ndarray:
    """Frequencies of `count` modes, one in each equal share of the octaves between `low` and `high`, in Hz."""
    edges = np.geomspace(low, high, count + 1)
    return edges[:-1] * (edges[1:] / edges[:-1]) ** rng.random(count)


def car_horn(recording: Generator, take: Generator, noise: Generator, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Two reed tones about a third apart with a bright spectrum, honked in a pattern of short and long."""
    low = _log_uniform(recording, 190, 520)
    interval = recording.choice([1.0, recording.uniform(1.17, 1.28), recording.uniform(1.28, 1.36)], p=[0.2, 0.6, 0.2])
    slope = recording.uniform(0.3, 1.2)
    odd = recording.uniform(0.3, 1.0)
    bell = _modes(recording, 700, 5000, 3)
    radiator = body(bell, bell * recording.uniform(0.15, 0.6, 3), _log_uniforms(recording, 1, 6, 3), 0.4, rate)
    attack, release = _log_uniform(recording, 0.008, 0.05), _log_uniform(recording, 0.02, 0.12)
    sag = recording.uniform(0.0, 0.04)
    honk = _log_uniform(recording, 0.12, 1.2)

    end = take.choice([_log_uniform(take, 0.4, 1.6), take.uniform(1.2, LONGEST), LONGEST], p=[0.35, 0.35, 0.3])
    seconds = np.arange(int(end * CONTROL)) / CONTROL
    loudness = np.zeros(len(seconds))
    bend = np.ones(len(seconds))
    onset = take.uniform(-0.1, 0.05)
    while onset < end - 0.1:
        length = min(honk * _log_uniform(take, 0.6, 2.5), LONGEST)
        start, stop = (int(np.clip(edge * CONTROL, 0, len(seconds))) for edge in (onset, onset + length + 5 * release))
        since = seconds[start:stop] - onset
        swell = (1 - np.exp(-since / attack)) * np.exp(-np.maximum(since - length, 0) / release)
        loudness[start:stop] = np.maximum(loudness[start:stop], swell * take.uniform(0.7, 1.0))
        bend[start:stop] = 1 - sag * np.exp(-since / 0.04)  # the reed starts flat
        onset += length + _log_uniform(take, 0.06, 0.9)
    # A car that passes: up to a semitone of Doppler shift.
    bend *= 1 + take.choice([0.0, 0.03], p=[0.6, 0.4]) * np.tanh((take.uniform(0, end) - seconds) / 0.5)
    number = np.arange(1, 41)
    partials = number**-slope * np.where(number % 2, 1, odd)
    flutter = 1 + 0.004 * wander(take, len(seconds), 4 + int(20 * end))
    reeds = tone(low * bend * flutter, partials, rate) + tone(1.0007 * low * interval * bend, partials, rate)
    return sampled(loudness, rate) * reeds, radiator


def dog_bark(recording: Generator, take: Generator, noise: Generator, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Bursts of a rough, swept voice through the formants of a muzzle, in the dog's own rhythm."""
    size = recording.random()  # 0 terrier, 1 mastiff
    pitch = 1000 * 0.2**size * _log_uniform(recording, 0.85, 1.2)
    formants = np.array([1300, 2700, 4800]) * 0.42**size * recording.uniform(0.85, 1.2, 3)
    muzzle = body(formants, formants * recording.uniform(0.1, 0.3, 3), np.array([4, 2.5, 1.2]), 0.15, rate)
    length, pause = _log_uniform(recording, 0.07, 0.22), _log_uniform(recording, 0.1, 0.7)
    rise, fall = recording.uniform(0.1, 0.6), recording.uniform(0.2, 0.9)
    breath, rough = recording.uniform(0.1, 0.7), recording.uniform(0.0, 0.6)
    slope = recording.uniform(0.4, 1.3)
    pairs = recording.random() < 0.3  # some dogs bark in twos

    end = take.choice([_log_uniform(take, 0.3, 0.9), _log_uniform(take, 0.7, 2.2), LONGEST], p=[0.35, 0.35, 0.3])
    seconds = np.arange(int(end * CONTROL)) / CONTROL
    loudness, contour = np.zeros(len(seconds)), np.full(len(seconds), pitch)
    onset, bark = take.uniform(0.0, 0.06), 0
    while onset < end - 0.1:
        long = length * take.uniform(0.7, 1.5)
        start, stop = int(onset * CONTROL), min(int((onset + 4 * long) * CONTROL), len(seconds))
        since = (seconds[start:stop] - onset) / long
        burst = (1 - np.exp(-since / 0.06)) * np.exp(-np.maximum(since - 0.35, 0) / 0.3) * take.uniform(0.5, 1.0)
        louder = burst > loudness[start:stop]
        loudness[start:stop] = np.where(louder, burst, loudness[start:stop])
        sweep = (1 + rise * np.sin(np.pi * np.clip(since / 0.8, 0, 1))) * np.exp(-fall * np.maximum(since - 0.5, 0))
        contour[start:stop] = np.where(
            louder, pitch * take.uniform(0.9, 1.12) * np.maximum(sweep, 0.4), contour[start:stop]
        )
        bark += 1
        onset += long + pause * take.uniform(0.6, 1.7) * (0.35 if pairs and bark % 2 else 1.0)
    # Vocal folds under strain vibrate at half their pitch too: every other partial belongs to the roughness.
    number = np.arange(1, 81)
    partials = (number / 2) ** -slope * np.where(number % 2, 0.5 * rough, 1.0)
    voice = tone(contour / 2, partials, rate)
    hiss = noise.standard_normal(len(voice), dtype=np.float32)
    return sampled(loudness, rate) * ((1 - breath) * voice + breath * hiss), muzzle


def gun_shot(recording: Generator, take: Generator, noise: Generator, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """A sharp blast with an exponential decay, a thump beneath it and echoes behind it; single shots and bursts."""
    blast, tail = _log_uniform(recording, 0.006, 0.05), _log_uniform(recording, 0.08, 0.5)
    tail_level = _log_uniform(recording, 0.03, 0.3)
    thump, thump_decay = _log_uniform(recording, 60, 240), _log_uniform(recording, 0.01, 0.06)
    thump_level = recording.uniform(0.1, 0.8)
    cavity = _modes(recording, 250, 4500, 4)
    barrel = body(cavity, cavity * recording.uniform(0.3, 1.0, 4), _log_uniforms(recording, 0.4, 3, 4), 0.5, rate)
    echoes = _log_uniforms(recording, 0.05, 0.6, 3)
    echo_levels = recording.uniform(0.02, 0.3, 3) * np.exp(-echoes / 0.4)
    automatic = recording.random() < 0.35
    period = 1 / recording.uniform(8, 15) if automatic else _log_uniform(recording, 0.3, 1.5)

    shots = int(take.integers(3, 13)) if automatic else int(take.choice([1, 2, 3], p=[0.65, 0.22, 0.13]))
    first = take.uniform(0.0, 0.08)
    times = first + period * np.arange(shots) * take.uniform(0.97, 1.03, shots)
    end = min(times[-1] + _log_uniform(take, 0.4, 1.6), LONGEST)
    samples = int(end * rate)
    since = np.arange(int((0.05 + 5 * tail) * rate)) / rate
    hull = np.exp(-since / blast) + tail_level * np.exp(-since / tail)
    boom = thump_level * np.exp(-since / thump_decay) * np.sin(2 * np.pi * thump * since)
    crack = hull * noise.standard_normal(len(since), dtype=np.float32) + boom
    arrivals = (times[:, None] + np.append(0.0, echoes)).ravel()
    levels = (take.uniform(0.8, 1.0, (shots, 1)) * np.append(1.0, echo_levels)).ravel()
    return strikes((arrivals * rate).astype(int), levels, crack, samples), barrel


def jackhammer(recording: Generator, take: Generator, noise: Generator, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Blows at 15 to 30 Hz that ring chisel and ground, exhaust air between them, a compressor's drone behind."""
    blows = recording.uniform(13, 30)
    jitter, uneven = recording.uniform(0.01, 0.12), recording.uniform(0.05, 0.5)
    chisel = _modes(recording, 350, 7000, 5)
    steel = body(
        chisel, chisel * _log_uniforms(recording, 0.02, 0.25, 5), _log_uniforms(recording, 0.6, 6, 5), 0.3, rate
    )
    click, exhaust = _log_uniform(recording, 0.002, 0.012), _log_uniform(recording, 0.01, 0.04)
    exhaust_level = recording.uniform(0.03, 0.35)
    engine = recording.uniform(35, 95)
    drone, slope = _log_uniform(recording, 0.02, 0.3), recording.uniform(0.5, 1.2)
    thud, thud_level = recording.uniform(80, 250), recording.uniform(0.1, 0.8)

    end = take.choice([take.uniform(1.0, LONGEST), LONGEST], p=[0.2, 0.8])
    seconds = np.arange(int(end * CONTROL)) / CONTROL
    pace = blows * take.uniform(0.93, 1.07) * (1 + 0.06 * wander(take, len(seconds), 6))
    turns = take.random() + np.cumsum(pace) / CONTROL
    blow = np.arange(1, int(turns[-1]) + 1)
    times = np.interp(blow + jitter * take.standard_normal(len(blow)), turns, seconds)
    onsets = (times * rate).astype(int)
    strength = 1 - uneven * take.random(len(onsets))
    # The operator lifts the hammer now and then.
    if take.random() < 0.3:
        strength[np.abs(times - take.uniform(0.0, end)) < take.uniform(0.1, 0.5)] = 0.02
    motor = tone(engine * (1 + 0.01 * wander(take, len(seconds), 12)), np.arange(1, 41) ** -slope, rate)
    samples = len(motor)
    since = np.arange(int(0.12 * rate)) / rate
    blast = np.exp(-since / click) + exhaust_level * since / exhaust * np.exp(1 - since / exhaust)
    ground = thud_level * np.exp(-since / 0.015) * np.sin(2 * np.pi * thud * since)
    hiss = noise.standard_normal(samples, dtype=np.float32)
    hammer = strikes(onsets, strength, blast, samples) * hiss + strikes(onsets, strength, ground, samples)
    return hammer + drone * (motor + 0.3 * hiss), steel


def siren(recording: Generator, take: Generator, noise: Generator, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """A tone that wails, yelps or alternates between two pitches, from a horn on a moving car."""
    kind = recording.choice(["wail", "yelp", "hi-lo"], p=[0.45, 0.25, 0.3])
    low = _log_uniform(recording, 330, 750)
    high = low * recording.uniform(1.25, 1.42) if kind == "hi-lo" else low * recording.uniform(1.6, 2.8)
    period = {
        "wail": recording.uniform(2.0, 7.0),
        "yelp": recording.uniform(0.18, 0.5),
        "hi-lo": recording.uniform(0.6, 1.6),
    }[str(kind)]
    rising = recording.uniform(0.2, 0.7)
    slope, odd = recording.uniform(0.5, 1.6), recording.uniform(0.1, 1.0)
    bell = _modes(recording, 600, 4500, 3)
    horn = body(bell, bell * recording.uniform(0.2, 0.8, 3), _log_uniforms(recording, 0.5, 4, 3), 0.5, rate)
    doppler = recording.uniform(0.0, 0.05)

    end = take.choice([take.uniform(1.5, LONGEST), LONGEST], p=[0.15, 0.85])
    seconds = np.arange(int(end * CONTROL)) / CONTROL
    cycle = (take.random() + seconds / period) % 1
    if kind == "hi-lo":
        height = np.clip(0.5 + (0.25 - np.abs(cycle - 0.5)) * period / 0.03, 0, 1)
    else:
        height = np.where(cycle < rising, cycle / rising, (1 - cycle) / (1 - rising))
        height = 1 - (1 - height) ** 1.6  # a capacitor charges: fast at first
    passing = (seconds - take.uniform(-1, end + 1)) / take.uniform(0.4, 1.5)
    pitch = low * (high / low) ** height * (1 - doppler * np.tanh(passing))
    number = np.arange(1, 31)
    partials = number**-slope * np.where(number % 2, 1, odd)
    level = 10 ** (0.3 * wander(take, len(seconds), 5)) / np.sqrt(1 + 0.3 * passing**2)
    return sampled(level, rate) * tone(pitch, partials, rate), horn


SOUNDS: dict[str, Sound] = {
    "car_horn": car_horn,
    "dog_bark": dog_bark,
    "gun_shot": gun_shot,
    "jackhammer": jackhammer,
    "siren": siren,
}
