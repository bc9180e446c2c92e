"""Building blocks of the procedural sounds: band-limited tones, resonant bodies, rooms and background noise."""

from collections.abc import Sequence

import numpy as np
from scipy import fft, signal

TABLE = 16384  # samples of one period of a tone
TOP = 0.45  # highest partial as a share of the sampling rate
CONTROL = 2000  # rate of the slow curves (pitch, loudness), in Hz


def sampled(curve: np.ndarray, rate: int) -> np.ndarray:
    """A curve at the control rate, [C], joined by straight lines at the sampling rate, [C · rate / CONTROL]."""
    return np.interp(np.arange(len(curve) * rate // CONTROL) * (CONTROL / rate), np.arange(len(curve)), curve)


def tone(frequency: np.ndarray, partials: np.ndarray, rate: int) -> np.ndarray:
    """A harmonic tone of moving pitch without aliasing: one period is tabulated and read at the running phase.

    Args:
        frequency: fundamental in Hz at the control rate, [C].
        partials: amplitudes of the harmonics from the fundamental on, [K]; those that could pass `TOP` are left out.
        rate: sampling rate in Hz.

    Returns:
        Samples, [C · rate / CONTROL].
    """
    spectrum = np.zeros(TABLE // 2 + 1, dtype=complex)
    partials = partials[: max(1, int(TOP * rate / frequency.max()))]
    spectrum[1 : len(partials) + 1] = -0.5j * TABLE * partials
    period = fft.irfft(spectrum).astype(np.float32)
    position = np.cumsum(sampled(frequency * (TABLE / rate), rate))
    return period[position.astype(np.int64) & (TABLE - 1)]


def strikes(onsets: np.ndarray, levels: np.ndarray, stroke: np.ndarray, samples: int) -> np.ndarray:
    """The same stroke [S] at several sample numbers [N] with levels [N], added up over [samples]; the rest is cut."""
    total = np.zeros(samples)
    for onset, level in zip(onsets, levels, strict=True):
        heard = stroke[: max(0, samples - onset)]
        total[onset : onset + len(heard)] += level * heard
    return total


def body(centres: np.ndarray, widths: np.ndarray, gains: np.ndarray, direct: float, rate: int) -> np.ndarray:
    """Impulse response of a resonant body: damped modes beside the unfiltered sound.

    Args:
        centres: frequency of each mode in Hz, [M].
        widths: its -3 dB bandwidth in Hz, [M].
        gains: its gain at resonance, [M].
        direct: gain of the unfiltered sound.
        rate: sampling rate in Hz; modes above `TOP` of it are inaudible and left out.

    Returns:
        Impulse response until the narrowest mode has fallen by 60 dB, at most 0.25 s.
    """
    seconds = np.arange(int(min(0.25, 2.2 / widths.min()) * rate)) / rate
    gains = np.where(centres < TOP * rate, gains * 2 * np.pi * widths / rate, 0.0)
    modes = np.exp(-np.pi * widths[:, None] * seconds) * np.sin(2 * np.pi * centres[:, None] * seconds)
    response = (gains[:, None] * modes).sum(0)
    response[0] += direct
    return response


def room(rng: np.random.Generator, noise: np.random.Generator, wetness: float, rate: int) -> np.ndarray:
    """Impulse response of a street or yard: the direct sound, a few reflections, an exponentially decaying tail.

    Args:
        rng: draws the place: 0.15 to 0.7 s of reverberation time, 3 to 8 reflections.
        noise: draws the tail's samples.
        wetness: energy of the reflections and of the tail relative to the direct sound.
        rate: sampling rate in Hz.

    Returns:
        Impulse response of unit energy.
    """
    reverberation = rng.uniform(0.15, 0.7)
    reflections = rng.uniform(0.004, 0.09, rng.integers(3, 9))
    seconds = np.arange(int(0.7 * reverberation * rate)) / rate
    tail = noise.standard_normal(len(seconds)) * 10 ** (-3 * seconds / reverberation)
    tail = signal.lfilter([0.5], [1, -0.5], tail)  # air and walls absorb the treble
    tail[: int(0.008 * rate)] = 0
    late = wetness * rng.uniform(0.3, 0.7)
    response = tail * np.sqrt(late / np.sum(tail**2))
    early = rng.choice([-1.0, 1.0], len(reflections)) * np.exp(-reflections / 0.04)
    early *= np.sqrt((wetness - late) / np.sum(early**2))
    np.add.at(response, (reflections * rate).astype(int), early)
    response[0] += 1
    return response / np.sqrt(np.sum(response**2))


def through(dry: np.ndarray, *responses: np.ndarray) -> np.ndarray:
    """The signal [T] convolved with every impulse response in turn and cut to its own length, [T]."""
    size = fft.next_fast_len(len(dry) + sum(map(len, responses)), real=True)
    spectrum = fft.rfft(dry.astype(np.float32), size)
    for response in responses:
        spectrum *= fft.rfft(response.astype(np.float32), size)
    return fft.irfft(spectrum, size)[: len(dry)]


def background(noise: np.random.Generator, samples: int, tilt: float) -> np.ndarray:
    """Broadband noise of unit power, [samples]: white at `tilt` 0, the rumble of traffic towards 1."""
    white = noise.standard_normal(samples, dtype=np.float32)
    rumble = signal.lfilter(np.array([1 - tilt], np.float32), np.array([1, -tilt], np.float32), white)
    return rumble / np.sqrt(np.mean(rumble**2))


def wander(rng: np.random.Generator, length: int, points: int) -> np.ndarray:
    """A slow random curve, [length]: values in [-1, 1] drawn at `points` instants and joined by straight lines."""
    return np.interp(np.linspace(0, points - 1, length), np.arange(points), rng.uniform(-1, 1, points))


def microphone(sound: np.ndarray, cutoff: float, rate: int) -> np.ndarray:
    """The sound [T] without the lows that a pocket recorder misses: second-order high-pass at `cutoff` Hz, [T]."""
    return signal.sosfilt(signal.butter(2, cutoff, "highpass", fs=rate, output="sos").astype(sound.dtype), sound)


def recorded(
    dry: np.ndarray,
    responses: Sequence[np.ndarray],
    hum: float,
    tilt: float,
    cutoff: float,
    peak: float,
    noise: np.random.Generator,
    rate: int,
) -> np.ndarray:
    """What a recorder keeps of a sound.

    Args:
        dry: the sound at its source, [T].
        responses: impulse responses between the source and the recorder.
        hum: level of steady background noise in dB relative to the mean level of the sound.
        tilt: spectral tilt of that noise, see `background`.
        cutoff: below this frequency in Hz the recorder is deaf.
        peak: highest absolute sample, in dB relative to full scale.
        noise: draws the background's samples.
        rate: sampling rate in Hz.

    Returns:
        float32 samples without offset, [T].
    """
    wet = through(dry, *responses)
    wet = wet / np.sqrt(np.mean(wet**2))
    heard = wet + 10 ** (hum / 20) * background(noise, len(wet), tilt)
    heard = microphone(heard, cutoff, rate)
    heard = heard - heard.mean()
    level = 10 ** (peak / 20)
    return (heard * (level / np.abs(heard).max())).astype(np.float32)
