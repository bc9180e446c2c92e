"""New variants of known recordings: how an event is played, a pure function of (seed, split, epoch, index)."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import scipy.fft

from datamodules.recipes import Recipe, Recipes, Variants, generator_for
from datamodules.sound_bank import SoundBank
from lightning_modules.batch import Split
from lightning_modules.setting_checks import require_between

# Speeds are fractions of this denominator whose numerators have small prime factors: both transforms are then fast.
_DENOMINATOR = 480
_TILT_CENTRE = 1000.0  # Hz
_TILT_LOWEST = 100.0  # Hz, below which the tilt rises or falls no further: there is rumble
_MARGIN = 256  # zeros behind an event, so that the transform's circle does not lead its end into its beginning


@dataclass(frozen=True)
class Augmentation:
    """How training events differ from their recordings (not in the papers: off unless given).

    Attributes:
        speed: playing speeds are uniform in [1 - speed, 1 + speed]: pitch and tempo change together.
        tilt: the spectrum is tilted by uniform ±tilt dB an octave, around 1 kHz.
        start: events begin within their clips, uniform in [0, start] of what there is of them.
        polarity: half of the events are turned upside down.
    """

    speed: float = 0.0
    tilt: float = 0.0
    start: float = 0.0
    polarity: bool = False

    def __post_init__(self) -> None:
        require_between(0, 0.5, speed=self.speed)
        require_between(0, 12, tilt=self.tilt)
        require_between(0, 0.9, start=self.start)


@dataclass(frozen=True, eq=False)
class AugmentedRecipes:
    """The recipes of a training split, a new variant of every mixture at each pass through it.

    Mixture `index` of pass p has the number `index` + p·`mixtures`: the same scene, other variants of its events.
    Events of one recording are played alike but for tilt and polarity: stems that sounded together stay together. Parts
    of one clip have all in common.

    Args:
        recipes: of the split, by index below `mixtures`.
        augmentation: the distributions.
        bank: where the clips lie.
        mixtures: number of mixtures.
        duration: of a mixture, in seconds.
        seed: of the data set.
        split: its part.
    """

    recipes: Recipes
    augmentation: Augmentation
    bank: SoundBank
    mixtures: int
    duration: float
    seed: int
    split: Split

    @cached_property
    def _speeds(self) -> np.ndarray:
        """The speeds that are possible, ascending."""
        speeds = _possible_speeds()
        return speeds[np.abs(speeds - 1) <= self.augmentation.speed + 1e-9]

    def __call__(self, index: int) -> Recipe:
        given, recipe = self.augmentation, self.recipes(index % self.mixtures)
        count = len(recipe.clips)
        generator = generator_for(self.seed, self.split, "augmentation", index)
        wanted, begins = generator.uniform(1 - given.speed, 1 + given.speed, count), generator.random(count)
        tilts = generator.uniform(-given.tilt, given.tilt + 0.0, count)
        signs = np.where(generator.random(count) < 0.5, -1.0, 1.0) if given.polarity else np.ones(count)
        recordings = [self.bank.clips[clip].recording for clip in recipe.clips]
        alike = np.array([recordings.index(recording) for recording in recordings])
        of_clip = np.unique(recipe.clips, return_index=True, return_inverse=True)
        first = of_clip[1][of_clip[2]]  # parts of one clip are one sound
        speeds = self._speeds[np.abs(self._speeds - wanted[:, np.newaxis]).argmin(-1)][alike]
        seconds = self.bank.lengths[recipe.clips] / self.bank.sample_rate
        starts = recipe.starts
        if recipe.lengths is None:  # parts of clips, which have lengths, stay in time
            # What is played faster would end earlier: a clip that filled the mixture from its start on begins sooner.
            starts = np.minimum(starts, np.maximum(seconds - self.duration * speeds, 0))
        starts = starts + given.start * begins[alike] * (seconds - starts)
        return recipe._replace(starts=starts, variants=Variants(speeds, tilts[first], signs[first]))


def played_lengths(samples: np.ndarray, speeds: np.ndarray) -> np.ndarray:
    """How many samples so many samples become at these speeds, one at least where there are any, int64."""
    return np.ceil(samples / speeds - 1e-6).astype(np.int64)


def play(samples: np.ndarray, length: int, speed: float, tilt: float, rate: int) -> np.ndarray:
    """The beginning of a clip at another speed, with a tilted spectrum, about as loud as it was.

    Resampled and filtered in one transform, so without aliases. The K-weighted power (ITU-R BS.1770-4) of what is
    played is that of what was recorded; the standard's gating is not repeated.

    Args:
        samples: of the clip, float32 [T].
        length: of the result, at most `played_lengths(T, speed)`.
        speed: one of those that `AugmentedRecipes` draws.
        tilt: in dB an octave.
        rate: in Hz.

    Returns:
        float32 [length].
    """
    samples = samples[: ceil(length * speed) + 1]
    numerator = round(speed * _DENOMINATOR)
    # n samples at the old rate last as long as m at the new one.
    times = scipy.fft.next_fast_len(ceil((len(samples) + _MARGIN) / numerator), real=True)
    n, m = times * numerator, times * _DENOMINATOR
    spectrum = scipy.fft.rfft(samples, n)
    frequencies = np.arange(len(spectrum), dtype=np.float32) * np.float32(rate / n)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    before = power @ k_weighting(frequencies)
    kept = min(n, m) // 2 + 1
    gain = np.maximum(frequencies[:kept], _TILT_LOWEST) / np.float32(_TILT_CENTRE)
    gain **= np.float32(tilt * np.log2(10) / 20)
    after = power[:kept] * gain @ (gain * k_weighting(frequencies[:kept] * np.float32(speed)))
    scale = m / n * (np.sqrt(before / after) if after else 1.0)
    return scipy.fft.irfft(spectrum[:kept] * (gain * np.float32(scale)), m)[:length]


def k_weighting(frequencies: np.ndarray) -> np.ndarray:
    """Power gain of the loudness meter's filters at frequencies in Hz: ITU-R BS.1770-4 by its analogue prototypes.

    A shelf of 4 dB above 1.5 kHz (Q = 1/√2), and a high-pass at 38 Hz (Q = 1/2).
    """
    shelf, lift = np.square(frequencies / np.float32(1500.0)), np.float32(10 ** (4 / 40))
    # |A s² + √A s/Q + 1|² / |s² + √A s/Q + A|², times A², at s = i f/1500; with Q² = 1/2 the middle terms are 2 A f².
    upper = np.square(1 - lift * shelf) + 2 * lift * shelf
    lower = np.square(lift - shelf) + 2 * lift * shelf
    low_cut = np.square(frequencies / np.float32(38.0))
    return lift * lift * upper / lower * np.square(low_cut / (1 + low_cut))


def _possible_speeds() -> np.ndarray:
    numerators = range(_DENOMINATOR // 2, 3 * _DENOMINATOR // 2 + 1)
    return np.array([number for number in numerators if scipy.fft.next_fast_len(number) == number]) / _DENOMINATOR
