"""A corpus of procedural sounds, laid out like UrbanSound8K, for when no recordings are at hand."""

import numpy as np

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.procedural.acoustics import recorded, room
from datamodules.corpora.procedural.settings import check, digest
from datamodules.corpora.procedural.sounds import SOUNDS
from lightning_modules.errors import InputError

VERSION = 1  # of the synthesis: raise it whenever any clip sounds different
CLASSES = tuple(SOUNDS)


class Procedural(Corpus):
    """Synthetic stand-ins for the five UrbanSound8K classes of the weak-label paper. No clip is a recording.

    Clips are takes of 'recordings': takes of one recording share the horn, dog or hammer and the place, and differ in
    timing, loudness and noise. Each recording has two to four takes and lies in one fold; every fold holds every class.
    A clip's sound is a pure function of the seed, the sampling rate and its name, in any process and order.

    Args:
        clips_per_class: clips of each class, at least two for every fold.
        sample_rate: rate at which the sounds are synthesised, without aliasing, in Hz; at least 8000.
        seed: another seed gives other horns, dogs and hammers.
        folds: number of folds, counted from 1.

    Raises:
        InputError: a setting out of its range.
    """

    name = "procedural"

    def __init__(self, clips_per_class: int = 60, sample_rate: int = 16000, seed: int = 0, folds: int = 10) -> None:
        check(
            "procedural corpus",
            sample_rate,
            seed,
            folds,
            ("clips_per_class", clips_per_class, 2 * folds, "every fold needs a recording of two clips"),
        )
        self.clips_per_class = clips_per_class
        self.sample_rate = sample_rate
        self.seed = seed
        self.folds = folds

    def clips(self) -> list[Clip]:
        """Every clip, by class, recording and take; names such as `siren/07-2`, take 2 of recording 7."""
        return [clip for label in CLASSES for clip in self._clips_of(label)]

    def _clips_of(self, label: str) -> list[Clip]:
        recordings = max(self.folds, round(self.clips_per_class / 3))
        # Two takes of each recording; the rest falls on random ones, at most two more for each.
        spare = np.repeat(np.arange(recordings), 2)
        order = np.random.default_rng([self.seed, CLASSES.index(label)]).permutation(spare)
        takes = 2 + np.bincount(order[: self.clips_per_class - 2 * recordings], minlength=recordings)
        return [
            Clip(
                name=f"{label}/{recording:02d}-{take}",
                label=label,
                fold=recording % self.folds + 1,
                recording=f"{label}/{recording:02d}",
            )
            for recording in range(recordings)
            for take in range(takes[recording])
        ]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """Synthesise one clip: mono float32 samples [T] without offset, peak below 1, and their rate in Hz.

        Raises:
            InputError: the name is not one of this corpus.
        """
        label, _, number = clip.name.partition("/")
        recording, _, take = number.partition("-")
        if label not in SOUNDS or not (recording.isdecimal() and take.isdecimal()):
            raise InputError(f"{clip.name}: not a clip of the procedural corpus; take one from its clips()")
        return self._synthesise(label, int(recording), int(take)), self.sample_rate

    def _synthesise(self, label: str, recording: int, take: int) -> np.ndarray:
        instrument, place, reverberation, performance, noise, gain = (
            np.random.default_rng([self.seed, CLASSES.index(label), recording, *aspect])
            for aspect in ((0,), (1,), (2,), (3, take), (4, take), (5, take))
        )
        dry, radiator = SOUNDS[label](instrument, performance, noise, self.sample_rate)
        wetness = 10 ** place.uniform(-1.5, 0.0)
        hum, tilt = place.uniform(-45, -18), place.uniform(0.0, 0.95)
        cutoff = place.uniform(60, 260)
        responses = radiator, room(place, reverberation, wetness, self.sample_rate)
        peak = gain.uniform(-24, -0.5)
        return recorded(dry, responses, hum, tilt, cutoff, peak, noise, self.sample_rate)

    def fingerprint(self, clips: list[Clip]) -> str:
        """A digest of the synthesis's version, the settings and the clips' table."""
        return digest(VERSION, (self.clips_per_class, self.sample_rate, self.seed, self.folds), clips)
