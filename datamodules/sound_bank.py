"""A corpus as one memory map: decoded, resampled and measured once, shared by every rank and worker afterwards."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from datamodules.corpora.audio_file import resample
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.progress_bar import progress_bar
from lightning_modules.errors import InputError

FORMAT = 1
GATING_BLOCK_SECONDS = 0.4
GATE_LUFS = -70
_SAMPLES, _INDEX = "samples.f32", "index.npz"
_UNFINISHED = ".building"

PreparedClip = tuple[np.ndarray, float]
Result = TypeVar("Result")


class MissingBankError(InputError):
    """A sound bank that was never built, or is of clips that have changed since."""


@dataclass(frozen=True, eq=False)
class SoundBank:
    """The audible clips of a corpus at one sample rate.

    Attributes:
        path: folder of the bank.
        sample_rate: rate of all samples in Hz.
        clips: the clips kept, in the order they were given in.
        offsets: first sample of every clip in `samples`, int64 [N].
        lengths: samples of every clip, int64 [N].
        loudness: integrated loudness of every whole clip in LUFS, float64 [N]; measured at the bank's rate, since what
            lies above half of it is not in the mixture (on UrbanSound8K up to 10 LU for the shrillest clips).
        left_out: one line for every clip without a loudness, with the reason.
    """

    path: Path
    sample_rate: int
    clips: list[Clip]
    offsets: np.ndarray
    lengths: np.ndarray
    loudness: np.ndarray
    left_out: list[str]

    @staticmethod
    def open(corpus: Corpus, clips: list[Clip], sample_rate: int, folder: str | os.PathLike[str]) -> "SoundBank":
        """Open the bank of exactly these clips, as they are on disk now.

        Raises:
            MissingBankError: it was never built, or the corpus has changed since.
            InputError: the bank is damaged.
        """
        path = bank_path(corpus, clips, sample_rate, folder)
        if not os.path.isdir(path):
            changed = any(Path(folder).glob(f"{corpus.name}-{sample_rate}Hz-*"))
            raise MissingBankError(
                f"{path}: no sound bank of these {len(clips)} clips of {corpus.name} at {sample_rate} Hz"
                f"{' (those in the folder are of other clips or of files changed since)' if changed else ''}"
                "; build it with `separatrix bank`"
            )
        try:
            with open(path / _INDEX, "rb") as file, np.load(file, allow_pickle=False) as index:
                kept, lengths, loudness = index["kept"], index["lengths"], index["loudness"]
                left_out = index["left_out"].tolist()
            numbers = all(column.ndim == 1 and column.dtype == np.int64 for column in (kept, lengths))
            numbers = numbers and loudness.dtype == np.float64 and len(kept) == len(lengths) == len(loudness) > 0
            in_order = numbers and kept[0] >= 0 and kept[-1] < len(clips) and bool((np.diff(kept) > 0).all())
            # A sum of sizes that are no sizes may be right.
            sizes = in_order and bool((lengths > 0).all() and np.isfinite(loudness).all())
            whole = sizes and (path / _SAMPLES).stat().st_size == 4 * sum(lengths.tolist())
            audible = [clips[i] for i in kept.tolist()] if whole else []
            left_out = [str(line) for line in left_out]
        except Exception:  # NumPy's reader raises whatever a damaged archive leads it to
            whole = False
        if not whole:
            raise InputError(f"{path}: damaged sound bank; delete the folder and build it again")
        return SoundBank(path, sample_rate, audible, np.cumsum(lengths) - lengths, lengths, loudness, left_out)

    @cached_property
    def samples(self) -> np.ndarray:
        """Samples of all clips, one after the other, float32 [total], read-only."""
        # As a plain array: slices of a `memmap` carry its attributes along, which costs more than to cut them.
        return np.asarray(np.memmap(self.path / _SAMPLES, dtype="<f4", mode="r"))

    @cached_property
    def clips_of_label(self) -> dict[str, list[int]]:
        """The numbers of every label's clips, found in one pass: labels may be thousands."""
        numbers: dict[str, list[int]] = defaultdict(list)
        for number, clip in enumerate(self.clips):
            numbers[clip.label].append(number)
        return dict(numbers)

    def clip(self, i: int) -> np.ndarray:
        """Samples of clip i, float32 [T]: a read-only view of the map."""
        return self.samples[self.offsets[i] : self.offsets[i] + self.lengths[i]]

    def __getstate__(self) -> dict[str, Any]:
        # A pickled memory map is a copy of all its samples: workers map the file themselves, and look for no labels.
        return {name: value for name, value in self.__dict__.items() if name not in ("samples", "clips_of_label")}


def bank_path(corpus: Corpus, clips: list[Clip], sample_rate: int, folder: str | os.PathLike[str]) -> Path:
    """Where the bank of these clips lies: the name changes with their rows, their files and the rate."""
    key = f"{FORMAT}\n{sample_rate}\n{corpus.fingerprint(clips)}"
    return Path(folder) / f"{corpus.name}-{sample_rate}Hz-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def build_sound_bank(
    corpus: Corpus,
    clips: list[Clip],
    sample_rate: int,
    folder: str | os.PathLike[str],
    workers: int | None = None,
    progress: bool = True,
) -> SoundBank:
    """Build the bank of these clips, or open it where it is there already.

    Written beside and renamed into place: an interrupted build leaves no bank, and of two at a time one is kept.

    Args:
        corpus: where the clips come from.
        clips: what goes into the bank.
        sample_rate: the bank's rate in Hz.
        folder: where banks lie; made when missing.
        workers: decoding threads, 0 for none beside the caller's; by default one per available core, at most 16.
            The result does not depend on it.
        progress: show a progress bar on stderr.

    Raises:
        InputError: clips are missing or broken (all are listed), none is audible, or the folder cannot be written.
    """
    path = bank_path(corpus, clips, sample_rate, folder)
    if os.path.isdir(path):
        return SoundBank.open(corpus, clips, sample_rate, folder)
    try:
        with _unfinished_folder(path) as unfinished:
            _write_bank(unfinished, corpus, clips, sample_rate, workers, progress)
            os.rename(unfinished, path)
    except OSError as error:
        # Renaming fails where another process has finished the same bank meanwhile: that one is as good.
        if not os.path.isdir(path):
            reason = error.strerror or error
            raise InputError(
                f"{folder}: cannot write the sound bank ({reason}); choose one with room to write"
            ) from None
    return SoundBank.open(corpus, clips, sample_rate, folder)


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


def _write_bank(
    path: Path, corpus: Corpus, clips: list[Clip], sample_rate: int, workers: int | None, progress: bool
) -> None:
    kept: list[int] = []
    lengths: list[int] = []
    loudness: list[float] = []
    left_out: list[str] = []
    broken: list[str] = []
    with (
        open(path / _SAMPLES, "wb") as file,
        contextlib.closing(_prepared_clips(corpus, clips, sample_rate, workers, progress)) as results,
    ):
        for i, result in enumerate(results):
            if isinstance(result, InputError):
                broken.append(str(result))
                continue
            samples, loud = result
            if not np.isfinite(loud):
                reason = f"never above the gate of {GATE_LUFS} LUFS" if samples.any() else "silent"
                left_out.append(f"{clips[i].name}: {reason}")
                continue
            kept.append(i)
            lengths.append(len(samples))
            loudness.append(loud)
            if not broken:
                file.write(samples.astype("<f4", copy=False).data)
        if broken:
            raise InputError("\n".join((f"{len(broken)} of {len(clips)} clips of {corpus.name} are broken:", *broken)))
        if not kept:
            raise InputError(f"{corpus.name}: none of {len(clips)} clips is audible; choose other folds or classes")
        _to_disk(file)
    with open(path / _INDEX, "wb") as file:
        np.savez(
            file,
            kept=np.array(kept, np.int64),
            lengths=np.array(lengths, np.int64),
            loudness=np.array(loudness, np.float64),
            left_out=np.array(left_out, np.str_),
        )
        _to_disk(file)


def _to_disk(file: Any) -> None:
    # Before the rename: a power cut must not leave a bank in place whose pages never arrived.
    file.flush()
    os.fsync(file.fileno())


def _prepared_clips(
    corpus: Corpus, clips: list[Clip], sample_rate: int, workers: int | None, progress: bool
) -> Generator[PreparedClip | InputError, None, None]:
    """Samples [T] and loudness of every clip, or what is wrong with it, in order; a few clips in memory at a time."""

    def prepare(clip: Clip) -> PreparedClip | InputError:
        try:
            samples = resample(*corpus.read(clip), sample_rate)
        except InputError as error:
            return error
        return samples, integrated_loudness(samples, sample_rate)

    if workers is None:
        workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)
    torch_threads = torch.get_num_threads()
    # Threads, not processes: decoding, filtering and resampling release the interpreter, and threads end with it.
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) if workers else None
    try:
        # pyloudnorm sets the process's warning filters aside for a moment, which threads would leave changed.
        with progress_bar(progress) as bar, warnings.catch_warnings():
            torch.set_num_threads(1)
            results = in_order(pool, prepare, clips, 2 * workers) if pool else map(prepare, clips)
            yield from bar.track(results, len(clips), description=f"sound bank of {corpus.name}, {sample_rate} Hz")
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)
        torch.set_num_threads(torch_threads)


def in_order(
    pool: ThreadPoolExecutor, function: Callable[[Clip], Result], clips: Iterable[Clip], ahead: int
) -> Iterator[Result]:
    """What `function` makes of the clips, in order, never more than `ahead` of what was asked for.

    The pool's own `map` holds a future for every clip from the start.
    """
    waiting: deque[Future[Result]] = deque()
    for clip in clips:
        waiting.append(pool.submit(function, clip))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextlib.contextmanager
def _unfinished_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`, gone afterwards unless renamed; what killed builds left is removed first.

    Every build holds a shared lock on the parent folder, which the system releases however a process ends: who gets
    the exclusive lock knows that no build is under way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # another build is under way, or the file system knows no locks
            fcntl.flock(parent, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in path.parent.glob(f".*{_UNFINISHED}"):
                shutil.rmtree(leftover)
        with contextlib.suppress(OSError):
            fcntl.flock(parent, fcntl.LOCK_SH)
        unfinished = path.parent / f".{path.name}-{secrets.token_hex(4)}{_UNFINISHED}"
        unfinished.mkdir()
        try:
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    finally:
        os.close(parent)
