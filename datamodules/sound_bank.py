"""A corpus as one memory map: decoded, resampled and measured once, shared by every rank and worker afterwards."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.corpora.audio_file import resample
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.inspection import Inspection, inspect_clips
from lightning_modules.errors import InputError

FORMAT = 1
_SAMPLES, _INDEX = "samples.f32", "index.npz"
_UNFINISHED = ".building"
_AGAIN = "delete the folder and build it again"


class MissingBankError(InputError):
    """A sound bank that was never built, or is of clips that have changed since."""


class UnverifiableBankError(InputError):
    """A sound bank without checksums."""


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
    def open(
        corpus: Corpus, clips: list[Clip], sample_rate: int, folder: str | os.PathLike[str], verify: bool = False
    ) -> "SoundBank":
        """Open the bank of exactly these clips, as they are on disk now.

        Args:
            corpus: where the clips come from.
            clips: what the bank holds.
            sample_rate: the bank's rate in Hz.
            folder: where banks lie.
            verify: read all samples and compare them with the checksums that were stored with them.

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
                left_out = [str(line) for line in index["left_out"].tolist()]
            whole = (
                [(column.dtype, column.shape) for column in (kept, lengths, loudness)]
                == [(kind, (len(kept),)) for kind in (np.int64, np.int64, np.float64)]
                and (kept[0] >= 0 and kept[-1] < len(clips) and (np.diff(kept) > 0).all())
                # A sum of sizes that are no sizes may be right.
                and ((lengths > 0).all() and (path / _SAMPLES).stat().st_size == 4 * sum(lengths.tolist()))
                and np.isfinite(loudness).all()
            )
        except Exception:  # NumPy's reader raises anything at a damaged archive
            whole = False
        if not whole:
            raise InputError(f"{path}: damaged sound bank; {_AGAIN}")
        audible = [clips[i] for i in kept.tolist()]
        if verify:
            verify_bank(path, [clip.name for clip in audible])
        return SoundBank(path, sample_rate, audible, np.cumsum(lengths) - lengths, lengths, loudness, left_out)

    def index_digest(self) -> str:
        """SHA-256 of the file that says which clips the bank holds, how long and loud they are, and their checksums."""
        return hashlib.sha256((self.path / _INDEX).read_bytes()).hexdigest()

    @cached_property
    def samples(self) -> np.ndarray:
        """Samples of all clips, one after the other, float32 [total], read-only."""
        return _mapped(self.path)

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


@dataclass(frozen=True, eq=False)
class BankOnDemand(SoundBank):
    """A bank that lies nowhere: lengths and loudness are known, samples are decoded when they are asked for."""

    corpus: Corpus | None = None  # where the clips are; None where there are only lengths

    @staticmethod
    def of(inspections: Iterable[Inspection], sample_rate: int, corpus: Corpus | None = None) -> "BankOnDemand":
        """The bank of the usable clips."""
        usable = [inspection for inspection in inspections if inspection.usable]
        clips = [inspection.clip for inspection in usable]
        lengths = np.array([inspection.length for inspection in usable], np.int64)
        loudness = np.array([inspection.loudness for inspection in usable])
        return BankOnDemand(Path(), sample_rate, clips, np.cumsum(lengths) - lengths, lengths, loudness, [], corpus)

    def clip(self, i: int) -> np.ndarray:
        if self.corpus is None:
            raise InputError(f"{self.clips[i].name}: only its length is known; give the corpus's folder")
        return resample(*self.corpus.read(self.clips[i]), self.sample_rate)


def bank_path(corpus: Corpus, clips: list[Clip], sample_rate: int, folder: str | os.PathLike[str]) -> Path:
    """Where the bank of these clips lies: the name changes with their rows, their files and the rate."""
    key = f"{FORMAT}\n{sample_rate}\n{corpus.fingerprint(clips)}"
    return Path(folder) / f"{corpus.name}-{sample_rate}Hz-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def verify_bank(path: Path, names: Sequence[str] = ()) -> int:
    """Read a whole bank and compare its samples with the checksums that were stored with them.

    Args:
        path: folder of the bank.
        names: of its clips; where they are not known, damaged clips are told by number.

    Returns:
        How many clips it holds.

    Raises:
        UnverifiableBankError: it was built before banks had checksums.
        InputError: bytes have changed since.
    """
    try:
        with open(path / _INDEX, "rb") as file, np.load(file, allow_pickle=False) as index:
            lengths = index["lengths"].tolist()
            checksums = index["checksums"].tolist() if "checksums" in index else None
        samples = _mapped(path)
        whole = len(samples) == sum(lengths) and (checksums is None or len(checksums) == len(lengths))
    except Exception:  # as in `SoundBank.open`
        whole = False
    if not whole:
        raise InputError(f"{path}: damaged sound bank; {_AGAIN}")
    if checksums is None:
        raise UnverifiableBankError(f"{path}: an earlier version built it, without checksums; {_AGAIN}")
    damaged, begin = [], 0
    for number, (length, expected) in enumerate(zip(lengths, checksums, strict=True)):
        if zlib.crc32(samples[begin : begin + length].data) != expected:
            damaged.append(names[number] if names else f"number {number}")
        begin += length
    if damaged:
        raise InputError(f"{path}: {len(damaged)} of {len(lengths)} clips damaged, the first {damaged[0]}; {_AGAIN}")
    return len(lengths)


def _mapped(path: Path) -> np.ndarray:
    """A bank's samples as a plain array: slices of a `memmap` carry its attributes along, at a cost."""
    return np.asarray(np.memmap(path / _SAMPLES, dtype="<f4", mode="r"))


def build_sound_bank(
    corpus: Corpus,
    clips: list[Clip],
    sample_rate: int,
    folder: str | os.PathLike[str],
    workers: int | None = None,
    progress: bool = True,
    verify: bool = False,
) -> SoundBank:
    """Build the bank of these clips, or open it where it is there already.

    Written beside and renamed into place: an interrupted build leaves no bank, and of two at a time one is kept.

    Args:
        corpus: where the clips come from.
        clips: what goes into the bank.
        sample_rate: the bank's rate in Hz.
        folder: where banks lie; made when missing.
        workers: decoding threads, one at least; by default one per available core, at most 16.
        progress: show a progress bar on stderr.
        verify: whether a bank that is there already is compared with its checksums.

    Raises:
        InputError: clips are missing or broken (all are listed), none is audible, or the folder cannot be written.
    """
    path = bank_path(corpus, clips, sample_rate, folder)
    if os.path.isdir(path):
        return SoundBank.open(corpus, clips, sample_rate, folder, verify)
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


def _write_bank(
    path: Path, corpus: Corpus, clips: list[Clip], sample_rate: int, workers: int | None, progress: bool
) -> None:
    description = f"sound bank of {corpus.name}, {sample_rate} Hz" if progress else ""
    inspected = inspect_clips(corpus, clips, sample_rate, workers, description)
    inspections, broken, checksums = [], [], []
    with open(path / _SAMPLES, "wb") as file, contextlib.closing(inspected):
        for found, samples in inspected:
            inspections.append(found)
            if found.broken:
                broken.append(found.broken)
            elif found.usable and not broken:
                written = samples.astype("<f4", copy=False).data
                file.write(written)
                checksums.append(zlib.crc32(written))
        if broken:
            raise InputError("\n".join((f"{len(broken)} of {len(clips)} clips of {corpus.name} are broken:", *broken)))
        kept = [number for number, found in enumerate(inspections) if found.usable]
        if not kept:
            raise InputError(f"{corpus.name}: none of {len(clips)} clips is audible; choose other folds or classes")
        _to_disk(file)
    with open(path / _INDEX, "wb") as file:
        np.savez(
            file,
            kept=np.array(kept, np.int64),
            lengths=np.array([inspections[number].length for number in kept], np.int64),
            loudness=np.array([inspections[number].loudness for number in kept], np.float64),
            checksums=np.array(checksums, np.uint32),
            left_out=np.array([f"{found.clip.name}: {found.silent}" for found in inspections if found.silent], np.str_),
        )
        _to_disk(file)


def _to_disk(file: Any) -> None:
    # Before the rename: a power cut must not leave a bank in place whose pages never arrived.
    file.flush()
    os.fsync(file.fileno())


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
