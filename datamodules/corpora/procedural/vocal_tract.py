"""Speech and song from source and filter: a glottal tone, breath and friction through a moving vocal tract."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft, ndimage

from datamodules.corpora.procedural.acoustics import CONTROL, sampled, tone

Formants = tuple[float, float, float]


class Phone(NamedTuple):
    """A position of the mouth and the sounds made in it.

    Attributes:
        formants: the three lowest resonances of a tract 17 cm long, in Hz.
        voicing, breath, friction: levels of the glottal tone, of noise at the glottis and of noise at a narrowing.
        centre: where friction is strongest, in Hz.
        seconds: usual duration.
    """

    formants: Formants
    voicing: float = 0.0
    breath: float = 0.0
    friction: float = 0.0
    centre: float = 2000.0
    seconds: float = 0.06


# Averages of men's vowels by Peterson and Barney (1952): beet, bit, bet, bat, father, bought, book, boot, but, bird.
VOWELS = tuple(
    Phone(formants, voicing=1.0, seconds=0.12)
    for formants in (
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    )
)
LIPS, TEETH, PALATE = (350, 900, 2300), (350, 1750, 2600), (320, 2100, 2450)
SILENCE = Phone((500, 1500, 2500))


def _stop(place: Formants, centre: float, voiced: bool) -> tuple[Phone, ...]:
    """A closure, the burst that opens it and, without voice, breath after it."""
    if voiced:
        return Phone(place, voicing=0.12, seconds=0.05), Phone(place, 0.2, 0.0, 0.8, centre, 0.008)
    return (
        Phone(place, seconds=0.055),
        Phone(place, friction=1.2, centre=centre, seconds=0.012),
        Phone(place, breath=0.25, seconds=0.03),
    )


CONSONANTS: dict[str, tuple[Phone, ...]] = {
    "s": (Phone(TEETH, friction=0.8, centre=5800, seconds=0.1),),
    "z": (Phone(TEETH, voicing=0.25, friction=0.5, centre=5200, seconds=0.07),),
    "sh": (Phone(PALATE, friction=0.8, centre=2900, seconds=0.1),),
    "f": (Phone(LIPS, friction=0.25, centre=4000, seconds=0.08),),
    "h": (Phone((500, 1500, 2500), breath=0.3, seconds=0.06),),
    "p": _stop(LIPS, 900, voiced=False),
    "t": _stop(TEETH, 4200, voiced=False),
    "k": _stop(PALATE, 1900, voiced=False),
    "b": _stop(LIPS, 900, voiced=True),
    "d": _stop(TEETH, 4200, voiced=True),
    "g": _stop(PALATE, 1900, voiced=True),
    "m": (Phone((250, 1000, 2300), voicing=0.4, seconds=0.06),),
    "n": (Phone((250, 1600, 2600), voicing=0.4, seconds=0.06),),
    "l": (Phone((360, 1100, 2700), voicing=0.6, seconds=0.05),),
    "r": (Phone((350, 1150, 1650), voicing=0.6, seconds=0.05),),
    "w": (Phone((300, 700, 2200), voicing=0.6, seconds=0.06),),
    "y": (Phone((280, 2200, 3000), voicing=0.6, seconds=0.06),),
}


class Voice(NamedTuple):
    """What one person sounds like at any pitch.

    Attributes:
        vowels: this person's vowels.
        shortness: 17 cm over the length of the tract: the factor on every resonance.
        upper: resonances above the third, which hardly move, in Hz.
        sharpness: factor on how narrow the resonances are.
        partials: amplitudes of the glottal tone's harmonics, radiation at the lips included, [K].
        breath: noise of the glottis while it vibrates.
    """

    vowels: tuple[Phone, ...]
    shortness: float
    upper: np.ndarray
    sharpness: float
    partials: np.ndarray
    breath: float


def draw_voice(rng: np.random.Generator, height: float) -> Voice:
    """Draw a person whose voice is low (`height` 0, mostly a long tract) to high (1, mostly a short one)."""
    shortness = 0.92 + 0.22 * height + rng.uniform(-0.06, 0.06)
    accents = rng.uniform(0.93, 1.07, (len(VOWELS), 3))
    vowels = tuple(
        vowel._replace(formants=tuple(accent * vowel.formants)) for vowel, accent in zip(VOWELS, accents, strict=True)
    )
    upper = shortness * (np.arange(3500, 8000, 1000) + rng.uniform(-200, 200, 5))
    number = np.arange(1, 101)
    partials = number ** -rng.uniform(0.6, 1.2)
    partials[0] *= rng.uniform(0.8, 1.8)
    return Voice(vowels, shortness, upper, rng.uniform(0.8, 1.2), partials, 10 ** rng.uniform(-2.3, -1.1))


def utter(
    voice: Voice,
    phones: Sequence[Phone],
    steps: np.ndarray,
    levels: np.ndarray,
    pitch: np.ndarray,
    breaths: np.ndarray,
    noise: np.random.Generator,
    rate: int,
) -> np.ndarray:
    """Let a voice say or sing phones one after another, each flowing into the next.

    Args:
        voice: who speaks.
        phones: what, [P].
        steps: how long, in periods of the control rate, [P].
        levels: how loud, [P].
        pitch: fundamental in Hz at the control rate, [C], C the sum of `steps`.
        breaths: control steps at which the glottal tone starts anew, best where it is quiet; increasing, [B].
        noise: draws the samples of breath and friction.
        rate: sampling rate in Hz.

    Returns:
        Samples, [C · rate / CONTROL].
    """

    def glide(values: Sequence[float] | np.ndarray, seconds: float) -> np.ndarray:
        """The phones' values at the control rate, each reached within about `seconds`."""
        steady = np.repeat(np.asarray(values, dtype=float), steps)
        width = max(1, int(seconds / 2 * CONTROL))
        return ndimage.uniform_filter1d(ndimage.uniform_filter1d(steady, width, mode="nearest"), width, mode="nearest")

    voicing = glide([phone.voicing for phone in phones] * levels, 0.03)
    breath = glide([phone.breath for phone in phones] * levels, 0.02) + voice.breath * voicing
    friction = glide([phone.friction for phone in phones] * levels, 0.008)
    tracks = np.array([phone.formants for phone in phones]).T
    formants = voice.shortness * np.stack([glide(track, 0.08) for track in tracks])
    centre = np.repeat([phone.centre for phone in phones], steps) * voice.shortness

    # A tone's harmonics end where its highest pitch allows: each breath group keeps as many as it can.
    samples = len(pitch) * rate // CONTROL
    glottis = np.zeros(samples)
    for group, first in zip(np.split(pitch, breaths), np.append(0, breaths), strict=True):
        if len(group):
            start = first * rate // CONTROL
            sound = tone(group, voice.partials, rate)[: samples - start]
            glottis[start : start + len(sound)] = sound
    hiss = noise.standard_normal(samples, dtype=np.float32)
    throat = sampled(voicing, rate) * glottis + sampled(breath, rate) * hiss
    return _resonate(throat, sampled(friction, rate) * hiss, formants, centre, voice, rate)


def _resonate(
    throat: np.ndarray, narrowing: np.ndarray, formants: np.ndarray, centre: np.ndarray, voice: Voice, rate: int
) -> np.ndarray:
    """Filter glottal sound [T] by moving `formants` [3, C] and friction [T] by a resonance at `centre` [C], in Hz.

    Short overlapping frames are each filtered by the tract of their middle and added up.
    """
    hop, size = (rate * 12) // 1000, 6  # the frame's two hops, and 48 ms for the resonances to ring
    frames = -(-len(throat) // hop) + 1
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)).astype(np.float32) ** 2

    def spectra(sound: np.ndarray) -> np.ndarray:
        padded = np.zeros((frames + 1) * hop, np.float32)
        padded[hop : hop + len(sound)] = sound
        blocks = padded.reshape(frames + 1, hop)
        return fft.rfft(window * np.concatenate([blocks[:-1], blocks[1:]], axis=1), size * hop)

    frequency = fft.rfftfreq(size * hop, 1 / rate).astype(np.float32)
    moments = np.minimum(np.arange(frames) * hop * CONTROL // rate, formants.shape[1] - 1)
    response = np.prod([_resonance(frequency, upper, 0.06 / voice.sharpness) for upper in voice.upper], axis=0)
    for track in formants[:, moments].astype(np.float32)[:, :, None]:
        response = response * _resonance(frequency, track, (0.05 + 40 / track) / voice.sharpness)
    hissing = centre[moments].astype(np.float32)[:, None]
    hissed = 0.5j * (frequency / hissing) * _resonance(frequency, hissing, 0.5)
    heard = fft.irfft(spectra(throat) * response + spectra(narrowing) * hissed, size * hop)

    total = np.zeros((frames + size - 1, hop), np.float32)
    for late, part in enumerate(heard.reshape(frames, size, hop).swapaxes(0, 1)):
        total[late : late + frames] += part
    return total.ravel()[hop : hop + len(throat)]


def _resonance(frequency: np.ndarray, centre: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Response at `frequency` of one resonance, 1 at 0 Hz; `width` is its -3 dB bandwidth over `centre`."""
    x = frequency / centre
    return (1 / (1 - x**2 + 1j * width * x)).astype(np.complex64)
