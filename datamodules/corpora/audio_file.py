"""Reading an audio file: mono samples, or an error that says what is wrong with it; and bringing them to a rate."""

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import lru_cache
from io import FileIO
from typing import Any, BinaryIO, NamedTuple

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
# What the files of a corpus may end in, in any case; the contents decide what a file is.
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"),
    *(".au", ".snd", ".caf", ".w64", ".rf64", ".gsm"),
)
# The formats of recordings, by their first bytes and by what libsndfile says of them. It knows a dozen more, of
# samplers and of programs for mathematics, whose readers never end at a damaged file (SVX), write thousands of lines
# into the terminal (SDS), give other samples the second time (NIST) or open further files (SD2).
_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b".snd", b"dns.", b"caff")
_FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "AIFF", "MP3", "AU", "CAF")
_RAW_GSM = {"samplerate": 8000, "channels": 1, "format": "RAW", "subtype": "GSM610"}  # has no header
_MOST_CHUNKS = 1000  # of a WAV file; libsndfile looks at every one
_BLOCK_VALUES = 2**19
_UNKNOWN_LENGTH = 2**62
_WAY_OUT = "fetch the file again or leave it out"
_NO_LENGTH = "its header does not say how long it is", "encode it again"
_CONVERT = "ffmpeg makes WAV, FLAC, MP3 or Ogg of it"


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

    WAV (RF64 and W64 too), FLAC, MP3, Ogg, AIFF, AU and CAF are recognised by their contents, not by the file's name,
    in any sample format that libsndfile reads (8- to 32-bit integers, float, IMA ADPCM, GSM and others). WAV whose
    header does not say how long it is, as pipes write it, is read to its end. Silence is not an error. The file may be
    anybody's: memory and time follow what it holds, not what it claims.

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
            raise _UnusableError(*_NO_LENGTH)
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
            # Each of its frames begins with the same four bits.
            is_gsm = os.fspath(path).lower().endswith(".gsm") and b"\xd0" <= file.read(1) < b"\xe0"
            raw: dict[str, Any] = _RAW_GSM if is_gsm else {}
            if not (raw or _begins_as_audio(file)):
                raise _UnusableError("not readable as audio (no WAV, FLAC, MP3, Ogg, AIFF, AU or CAF file)", _CONVERT)
            size = _size_of_samples(file)
            # The file that was looked at, not what may have its name by now; not file.seek, which moves in its buffer.
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            source = _Completed(file.fileno(), *size) if size else file.fileno()
            with soundfile.SoundFile(source, closefd=False, **raw) as audio:
                if not raw and audio.format not in _FORMATS:
                    raise _UnusableError(f"not readable as audio ({audio.format})", _CONVERT)
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
    start, length = audio.tell() if audio.seekable() else 0, 0
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
    # Without a count of its frames the length of an MP3 is guessed from its first bit rate; tags may be at its end.
    if audio.format == "MP3" and start + length == audio.frames:
        size = os.fstat(audio.name).st_size
        if size - os.lseek(audio.name, 0, os.SEEK_CUR) > size / 20 + 2**10:
            raise _UnusableError(*_NO_LENGTH)


def _begins_as_audio(file: BinaryIO) -> bool:
    """Whether the first bytes are those of a format of recordings, which may be behind a tag as MP3 has them."""
    file.seek(0)
    begin = file.read(12)
    if begin.startswith(b"ID3"):
        high, upper, lower, low = begin[6:10].ljust(4, b"\0")
        file.seek(10 + (high << 21 | upper << 14 | lower << 7 | low))  # ID3v2: seven bits of each byte
        begin = file.read(12)
    if begin.startswith(b"FORM"):
        return begin[8:] in (b"AIFF", b"AIFC")
    is_mpeg = begin[:1] == b"\xff" and begin[1:2] >= b"\xe0"  # the eleven bits that each of its frames begins with
    return is_mpeg or begin.startswith(_MAGIC)


class _Completed:
    """An open file to read, with other bytes at one place."""

    def __init__(self, descriptor: int, place: int, content: bytes) -> None:
        self._file, self._place, self._content = FileIO(descriptor, closefd=False), place, content
        self.seek, self.tell = self._file.seek, self._file.tell

    def read(self, size: int) -> bytes:
        begin = self._file.tell() - self._place
        found = bytearray(self._file.read(size))
        for at, byte in enumerate(self._content):
            if 0 <= at - begin < len(found):
                found[at - begin] = byte
        return bytes(found)


def _size_of_samples(file: BinaryIO) -> tuple[int, bytes] | None:
    """Where the size of a RIFF/RF64 file's samples belongs, and the size; None unless its header says 0.

    A data chunk that claims more than there is, which libsndfile passes over in silence, is refused.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(12)
    if header[:4] not in (b"RIFF", b"RIFX", b"RF64") or header[8:] != b"WAVE":
        return None
    order = ">" if header[:4] == b"RIFX" else "<"
    large_size = None
    for _ in range(_MOST_CHUNKS):
        if len(chunk := file.read(8)) < 8:
            return None
        kind, size = struct.unpack(f"{order}4sI", chunk)
        begin = file.tell()
        if kind == b"ds64" and len(sizes := file.read(16)) == 16:
            large_size = struct.unpack("<8xQ", sizes)[0]  # EBU Tech 3306: RF64's 64-bit size of the data chunk
        if kind == b"data":
            if size == 0xFFFFFFFF and large_size is not None:
                size, unknown = large_size, large_size in (0, 2**64 - 1)
            else:
                # What programs write that cannot go back to the header, as into a pipe.
                unknown = size == 0 or 2**31 - 2**12 <= size <= 2**31 or size >= 2**32 - 2**12
            is_empty = struct.unpack(f"{order}I", header[4:8])[0] + 8 == end and file.read(4).strip().isalnum()
            if size == 0 and not is_empty:  # as long as it says, and a chunk follows where samples could be
                return begin - 4, struct.pack(f"{order}I", min(end - begin, 2**31))
            if unknown:
                return None  # libsndfile reads to the end of the file
            if begin + size > end:
                raise _UnusableError(f"truncated, {begin + size - end} bytes of audio fewer than its header says")
        file.seek(begin + size + size % 2)
    raise _UnusableError(f"more than {_MOST_CHUNKS} chunks", "encode it again")
