"""Reading an audio file: mono samples, or an error that says what is wrong with it; and bringing them to a rate."""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile
import torch
from torchaudio.transforms import Resample

from lightning_modules.errors import InputError
from lightning_modules.spectrogram import HIGHEST_RATE, LOWEST_RATE

LONGEST_SECONDS = 30 * 60
# Float formats may hold 1e38, of which nothing that is computed stays finite; 32-bit integers kept as floats may pass.
LARGEST_SAMPLE = 2.0**31
FULL_SCALE = 1 - 2.0**-15  # of 16-bit integers
# By their first bytes, and by what libsndfile says of them. It knows two dozen formats more, whose readers write into
# the terminal, believe what a header says, or look for further files: none of them holds a corpus.
_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"FORM")
_FORMATS = ("WAV", "WAVEX", "RF64", "FLAC", "OGG", "AIFF")
_BLOCK_VALUES = 2**19
_UNKNOWN_LENGTH = 2**62
_WAY_OUT = "fetch the file again or leave it out"


class _UnusableError(Exception):
    """What is wrong with the file that is open, and the way out where it is one of its own."""


def read_audio(
    path: str | os.PathLike[str],
    display_name: str | None = None,
    way_out: str = _WAY_OUT,
    start: int = 0,
    stop: int | None = None,
) -> tuple[np.ndarray, int]:
    """Decode a file, or a part of it, with libsndfile and average its channels.

    WAV (RF64 too), FLAC, Ogg and AIFF are recognised by their contents, not by the file's name, in any sample format
    that libsndfile reads (8- to 32-bit integers, float, IMA ADPCM and others). Silence is not an error. The
    file may be anybody's: memory and time follow what it holds, not what it claims.

    Args:
        path: the file.
        display_name: what errors call the file; its path by default.
        way_out: what errors tell the user to do.
        start: first sample to decode, at the file's rate.
        stop: the sample after the last to decode; the end of the file by default, and at most.

    Returns:
        Mono float32 samples [T], integer formats scaled to [-1, 1), and their rate in Hz.

    Raises:
        InputError: the file is missing, not audio, truncated, without samples from `start` on, longer than 30 minutes,
            of a rate outside 8 to 192 kHz, or holds values that are not finite or beyond ±2³¹.
    """
    with _opened(path, display_name, way_out) as audio:
        expected = max(audio.frames if stop is None else min(stop, audio.frames), start) - start
        if 0 < start < audio.frames:
            audio.seek(start)
        blocks: list[np.ndarray] = []
        length = 0
        for block in _blocks(audio, expected):
            blocks.append(block.mean(axis=1, dtype=np.float32))
            length += len(block)
            _refuse_length(length, audio.samplerate)
        if not length:
            raise _UnusableError(f"0 samples{f' from {start} on' if start else ''}")
        return np.concatenate(blocks), audio.samplerate


def audio_length(
    path: str | os.PathLike[str], display_name: str | None = None, way_out: str = _WAY_OUT
) -> tuple[int, int]:
    """Samples per channel that a file's header announces, and their rate in Hz; nothing is decoded."""
    with _opened(path, display_name, way_out) as audio:
        if not audio.frames:
            raise _UnusableError("0 samples")
        if audio.frames >= _UNKNOWN_LENGTH:
            raise _UnusableError("its header does not say how long it is", "encode it again")
        _refuse_length(audio.frames, audio.samplerate)
        return audio.frames, audio.samplerate


class AudioFile(NamedTuple):
    """What decoding a file from beginning to end has shown."""

    rate: int  # in Hz
    channels: int
    samples: int  # of each channel
    clipped: int  # values that stay at full scale, or beyond, from one sample to the next


def scan_audio(path: str | os.PathLike[str]) -> AudioFile:
    """Decode a file of any length without keeping it; refuse what `read_audio` refuses, but for the length."""
    samples = clipped = 0
    with _opened(path, None, "give another file") as audio:
        for block in _blocks(audio, audio.frames):
            samples += len(block)
            clipped += int(((np.abs(block[1:]) >= FULL_SCALE) & (block[1:] == block[:-1])).sum())
        if not samples:
            raise _UnusableError("0 samples")
        return AudioFile(audio.samplerate, audio.channels, samples, clipped)


def audio_blocks(path: str | os.PathLike[str]) -> Iterator[np.ndarray]:
    """Decode a file of any length block by block, float32 [n, channels]; errors as those of `scan_audio`."""
    with _opened(path, None, "give another file") as audio:
        yield from _blocks(audio, audio.frames)


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Band-limited resampling of [T] from one rate to another, [ceil(T * new_rate / rate)]."""
    # Rates without a common divisor would need a filter for each of new_rate phases, gigabytes of them: the nearest
    # ratio of small numbers is exact for all usual rates and within 1e-6 for the others.
    ratio = Fraction(rate, new_rate).limit_denominator(1000)
    if ratio == 1:
        return samples
    with torch.inference_mode():
        return _resampler(ratio.numerator, ratio.denominator)(torch.from_numpy(samples)).numpy()


@lru_cache(maxsize=16)
def _resampler(rate: int, new_rate: int) -> Resample:
    return Resample(rate, new_rate)


@contextmanager
def _opened(path: str | os.PathLike[str], name: str | None, way_out: str) -> Iterator[soundfile.SoundFile]:
    """The file opened for decoding; what goes wrong then and within the context becomes an InputError."""
    try:
        try:
            if b"\0" in os.fsencode(path):
                raise ValueError
        except ValueError:  # or a UnicodeEncodeError
            raise _UnusableError("no file can have such a name") from None
        # Not to wait for the writer of a named pipe.
        with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _UnusableError("not a file of its own but a pipe or a device")
            if not status.st_size:
                raise _UnusableError("empty file")
            if file.read(4) not in _MAGIC:
                reason = "no WAV, FLAC, Ogg or AIFF file; ffmpeg makes one of MP3, M4A and others"
                raise _UnusableError(f"not readable as audio ({reason})")
            if lacking := _lacking_wav_bytes(file):
                raise _UnusableError(f"truncated, {lacking} bytes of audio fewer than its header says")
            # The file that was looked at, not what may have its name by now; not file.seek, which moves in its buffer.
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            with soundfile.SoundFile(file.fileno(), closefd=False) as audio:
                if audio.format not in _FORMATS or audio.subtype.startswith("MPEG"):
                    raise _UnusableError(f"not readable as audio ({audio.format}, {audio.subtype})")
                if not LOWEST_RATE <= audio.samplerate <= HIGHEST_RATE:
                    raise _UnusableError(f"{audio.samplerate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE} Hz")
                yield audio
            return
    except _UnusableError as error:
        reason, way_out = (*error.args, way_out)[:2]
    except FileNotFoundError:
        reason = "no such file"
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
    except soundfile.SoundFileError as error:
        said = getattr(error, "error_string", str(error)).strip().rstrip(".")
        reason = f"not readable as audio ({said})"
    raise InputError(f"{name or os.fspath(path)}: {reason}; {way_out}")


def _refuse_length(length: int, rate: int) -> None:
    if length > LONGEST_SECONDS * rate:
        raise _UnusableError(f"longer than {LONGEST_SECONDS // 60} minutes", "cut it into shorter files")


def _blocks(audio: soundfile.SoundFile, expected: int) -> Iterator[np.ndarray]:
    """The samples from where the file stands, [n, channels], so many as are expected, each of them a usable number."""
    # Blocks of fixed size: memory follows what the file holds, never what its header claims.
    block_length = max(_BLOCK_VALUES // audio.channels, 1)
    start, length = audio.tell(), 0
    while len(block := audio.read(min(block_length, expected - length), dtype="float32", always_2d=True)):
        if not np.isfinite(block).all():
            raise _UnusableError("holds NaN or infinite samples")
        if np.abs(block).max() > LARGEST_SAMPLE:
            raise _UnusableError(f"holds samples of {np.abs(block).max():.0e}, full scale is 1")
        length += len(block)
        yield block
    # A streamed FLAC does not know its length: libsndfile then claims the largest there is.
    if length < expected and audio.frames < _UNKNOWN_LENGTH:
        raise _UnusableError(f"truncated, {start + length} of {start + expected} samples")


def _lacking_wav_bytes(file: BinaryIO) -> int:
    """Bytes that a RIFF/RF64 data chunk claims beyond the end of the file, which libsndfile passes over in silence."""
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(12)
    if header[:4] not in (b"RIFF", b"RIFX", b"RF64") or header[8:] != b"WAVE":
        return 0
    order = ">" if header[:4] == b"RIFX" else "<"
    large_size = None
    while len(chunk := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}4sI", chunk)
        begin = file.tell()
        if kind == b"ds64" and len(sizes := file.read(16)) == 16:
            large_size = struct.unpack("<8xQ", sizes)[0]  # EBU Tech 3306: RF64's 64-bit size of the data chunk
        if kind == b"data":
            size = large_size if size == 0xFFFFFFFF and large_size is not None else size
            return max(size - (end - begin), 0)
        file.seek(begin + size + size % 2)
    return 0
