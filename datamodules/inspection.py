"""What every clip of a corpus is like, by really decoding it; nothing is kept but a few numbers for each."""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from datamodules.corpora.audio_file import LONGEST_SECONDS, resample
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.urbansound8k import listed_clips
from datamodules.sound_bank import GATE_LUFS, SoundBank, in_order, integrated_loudness
from lightning_modules.errors import InputError


class Inspection(NamedTuple):
    """What was found of one clip.

    Attributes:
        clip: which one.
        length: in samples at the rate asked for; 0 where it is broken.
        loudness: integrated, of the whole clip at that rate, in LUFS; -inf where it has none, NaN where it is unknown.
        broken: what is wrong with it, or empty.
        silent: why it has no loudness, or empty.
    """

    clip: Clip
    length: int
    loudness: float
    broken: str = ""
    silent: str = ""

    @property
    def usable(self) -> bool:
        """Whether it can be part of a mixture."""
        return not (self.broken or self.silent)


def inspect(corpus: Corpus, clip: Clip, sample_rate: int) -> Inspection:
    """Decode one clip and measure it."""
    try:
        samples = resample(*corpus.read(clip), sample_rate)
    except InputError as error:
        return Inspection(clip, 0, float("nan"), broken=str(error))
    loudness = integrated_loudness(samples, sample_rate)
    silent = "" if np.isfinite(loudness) else f"never above {GATE_LUFS} LUFS" if samples.any() else "silent"
    return Inspection(clip, len(samples), loudness, silent=silent)


def inspect_all(
    corpus: Corpus,
    clips: Sequence[Clip],
    sample_rate: int,
    progress: Callable[[Iterable[Inspection]], Iterable[Inspection]] = iter,
) -> list[Inspection]:
    """Inspect every clip, on all cores; samples are dropped as soon as they are measured.

    Args:
        corpus: where the clips are.
        clips: which ones.
        sample_rate: at which lengths and loudness are measured, in Hz.
        progress: what the results pass through as they come, such as a progress bar's `track`.

    Returns:
        One for each clip, in their order.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(workers, 16)
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        # pyloudnorm sets the process's warning filters aside for a moment, which threads would leave changed.
        with warnings.catch_warnings():
            return list(progress(in_order(pool, lambda clip: inspect(corpus, clip, sample_rate), clips, 2 * workers)))
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, eq=False)
class BankOnDemand(SoundBank):
    """A bank that lies nowhere: lengths and loudness are known, a clip's samples are decoded when they are asked for.

    Attributes:
        corpus: where the clips are; None where there are only lengths.
    """

    corpus: Corpus | None = None

    @staticmethod
    def of(inspections: Iterable[Inspection], sample_rate: int, corpus: Corpus | None = None) -> "BankOnDemand":
        """The bank of the usable clips."""
        usable = [inspection for inspection in inspections if inspection.usable]
        lengths = np.array([inspection.length for inspection in usable], np.int64)
        return BankOnDemand(
            path=Path(),
            sample_rate=sample_rate,
            clips=[inspection.clip for inspection in usable],
            offsets=np.cumsum(lengths) - lengths,
            lengths=lengths,
            loudness=np.array([inspection.loudness for inspection in usable]),
            left_out=[],
            corpus=corpus,
        )

    def clip(self, i: int) -> np.ndarray:
        """Samples of clip i, float32 [T], decoded anew.

        Raises:
            InputError: there is no corpus to read it from, or it cannot be read any more.
        """
        if self.corpus is None:
            raise InputError(f"{self.clips[i].name}: only its length is known; give the corpus's folder")
        return resample(*self.corpus.read(self.clips[i]), self.sample_rate)


def inspect_table(path: Path, sample_rate: int) -> list[Inspection]:
    """What UrbanSound8K's table alone tells of its clips: lengths, by `start` and `end`, and no loudness.

    Raises:
        InputError: the file is not such a table.
    """
    inspections = []
    for clip, (start, end) in listed_clips(path, "start", "end"):
        length = round(min(end - start, LONGEST_SECONDS) * sample_rate)
        if length < 1:
            raise InputError(f"{path}: {clip.name} ends before it starts; correct the row")
        inspections.append(Inspection(clip, length, float("nan")))
    return inspections
