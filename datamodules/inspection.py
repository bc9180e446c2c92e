"""What every clip of a corpus is like, by really decoding it."""

import os
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from datamodules.corpora.audio_file import LONGEST_SECONDS, resample
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.layout import LinkError
from datamodules.corpora.urbansound8k import listed_clips
from lightning_modules.errors import InputError

GATING_BLOCK_SECONDS = 0.4
GATE_LUFS = -70
MOST_WORKERS = 16


class Inspection(NamedTuple):
    """What was found of one clip."""

    clip: Clip
    length: int  # in samples at the rate asked for; 0 where it is broken
    loudness: float  # integrated, of the whole clip, in LUFS; -inf where it has none, NaN where it is unknown
    broken: str = ""  # what is wrong with it
    silent: str = ""  # why it has no loudness

    @property
    def usable(self) -> bool:
        """Whether it can be part of a mixture."""
        return not (self.broken or self.silent)


def inspect_clips(
    corpus: Corpus, clips: Sequence[Clip], sample_rate: int, workers: int | None = None, description: str = ""
) -> Generator[tuple[Inspection, np.ndarray], None, None]:
    """What is found of each clip at a rate in Hz, in order, and its samples, float32 [T], [0] where it is broken.

    So many threads work; one per available core, at most 16, unless given. A description gets a progress bar on stderr.
    """

    def inspect(clip: Clip) -> tuple[Inspection, np.ndarray]:
        try:
            read = corpus.read(clip)
        except LinkError:
            raise  # of all clips, as a rule
        except InputError as error:
            return Inspection(clip, 0, float("nan"), broken=str(error)), np.zeros(0, np.float32)
        samples = _at_rate(corpus, clip, read, sample_rate)
        loudness = integrated_loudness(samples, sample_rate)
        gated = f"never above the gate of {GATE_LUFS} LUFS" if samples.any() else "silent"
        return Inspection(clip, len(samples), loudness, silent="" if np.isfinite(loudness) else gated), samples

    def in_order(ahead: int) -> Iterator[tuple[Inspection, np.ndarray]]:
        # The pool's own `map` would hold the samples of every clip that is done.
        waiting: deque[Future[tuple[Inspection, np.ndarray]]] = deque()
        for clip in clips:
            waiting.append(pool.submit(inspect, clip))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(cores, MOST_WORKERS)
    workers = max(workers, 1)
    torch_threads = torch.get_num_threads()
    # Threads, not processes: decoding, filtering and resampling release the interpreter, and threads end with it.
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    results, console = in_order(2 * workers), Console(stderr=True)
    try:
        # pyloudnorm sets the process's warning filters aside for a moment, which threads would leave changed.
        with warnings.catch_warnings():
            yield from track(results, description, len(clips), console=console, disable=not description)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(torch_threads)


def _at_rate(corpus: Corpus, clip: Clip, read: Any, sample_rate: int) -> np.ndarray:
    """What a corpus has read of a clip, at a rate in Hz, float32 [T]; InputError where it is no samples and rate."""
    samples, rate = read if isinstance(read, tuple) and len(read) == 2 else (read, None)
    described = f"{samples.dtype} {list(samples.shape)}" if isinstance(samples, np.ndarray) else type(samples).__name__
    if described != f"float32 [{np.size(samples)}]" or not isinstance(rate, int | np.integer) or rate <= 0:
        raise InputError(
            f"{type(corpus).__name__}: its `read` of {clip.name} gives {described} and {shorten(repr(rate), 20)}; an "
            f"array of float32 [T] and its rate, a whole number of Hz, are needed"
        )
    return resample(samples, int(rate), sample_rate)


def integrated_loudness(samples: np.ndarray, rate: int) -> float:
    """Loudness of a whole mono clip by ITU-R BS.1770-4, repeated where it is shorter than the 400-ms gating block.

    Args:
        samples: [T], T > 0.
        rate: in Hz.

    Returns:
        LUFS; -inf for silence and for what never exceeds the absolute gate of -70 LUFS.
    """
    import pyloudnorm  # brings scipy.signal, a second that only builders need to pay

    repeats = -(-int(np.ceil(GATING_BLOCK_SECONDS * rate)) // len(samples))
    meter = pyloudnorm.Meter(rate, block_size=GATING_BLOCK_SECONDS)
    return float(meter.integrated_loudness(np.tile(samples.astype(np.float64), repeats)))


def inspect_table(path: Path, sample_rate: int) -> list[Inspection]:
    """What UrbanSound8K's table alone tells of its clips: lengths, by `start` and `end`, and no loudness."""
    inspections = []
    for clip, (start, end) in listed_clips(path, "start", "end"):
        length = round(min(end - start, LONGEST_SECONDS) * sample_rate)
        if length < 1:
            raise InputError(f"{path}: {clip.name} ends before it starts; correct the row")
        inspections.append(Inspection(clip, length, float("nan")))
    return inspections
