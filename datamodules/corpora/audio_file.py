"""Reading one audio file: mono samples, or an error that says what is wrong with it; and bringing them to a rate."""

import os
import struct
from fractions import Fraction
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from torchaudio.transforms import Resample

from lightning_modules.errors import InputError

LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000
LONGEST_SECONDS = 30 * 60
_BLOCK_VALUES = 2**19


def read_audio(
    path: str | os.PathLike[str], display_name: str | None = None, way_out: str = "fetch the file again or leave it out"
) -> tuple[np.ndarray, int]:
    """Decode a whole file with libsndfile and average its channels.

    Any sample format that libsndfile knows is taken (8- to 32-bit integers, float, IMA ADPCM; WAV, FLAC and others).
    Silence is not an error.

    Args:
        path: the file.
        display_name: what errors call the file; its path by default.
        way_out: what errors tell the user to do.

    Returns:
        Mono float32 samples [T], integer formats scaled to [-1, 1), and their rate in Hz.

    Raises:
        InputError: the file is missing, not audio, truncated, without samples, longer than 30 minutes, of a rate
            outside 8 to 192 kHz, or holds values that are not finite.
    """
    name = display_name or os.fspath(path)
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise InputError(f"{name}: empty file; {way_out}")
            lacking = _lacking_wav_bytes(file)
            if lacking:
                raise InputError(f"{name}: truncated, {lacking} bytes of audio fewer than its header says; {way_out}")
        with soundfile.SoundFile(path) as audio:
            return _decode(audio, name, way_out), audio.samplerate
    except FileNotFoundError:
        raise InputError(f"{name}: no such file; {way_out}") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error}); {way_out}") from None
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: soundfile takes *.raw for headerless
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise InputError(f"{name}: not readable as audio ({reason}); {way_out}") from None


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Band-limited resampling of [T] from one rate to another, [ceil(T * new_rate / rate)]."""
    # Rates without a common divisor would need a filter for each of new_rate phases, gigabytes of them: the nearest
    # ratio of small numbers is exact for all usual rates and within 1e-6 for the others.
    ratio = Fraction(rate, new_rate).limit_denominator(1000)
    if ratio == 1:
        return samples
    with torch.inference_mode():
        return _resampler(ratio.numerator, ratio.denominator)(torch.from_numpy(samples)).numpy()


def _decode(audio: soundfile.SoundFile, name: str, way_out: str) -> np.ndarray:
    rate = audio.samplerate
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise InputError(f"{name}: {rate} Hz, expected {LOWEST_RATE} to {HIGHEST_RATE} Hz; {way_out}")
    # Blocks of fixed size: memory follows what the file holds, never what its header claims.
    blocks: list[np.ndarray] = []
    length = 0
    while len(block := audio.read(max(_BLOCK_VALUES // audio.channels, 1), dtype="float32", always_2d=True)):
        if not np.isfinite(block).all():
            raise InputError(f"{name}: holds NaN or infinite samples; {way_out}")
        blocks.append(block.mean(axis=1, dtype=np.float32))
        length += len(block)
        if length > LONGEST_SECONDS * rate:
            raise InputError(f"{name}: longer than {LONGEST_SECONDS // 60} minutes; cut it into shorter files")
    # A streamed FLAC does not know its length: libsndfile then claims the largest there is.
    if length < audio.frames and audio.frames < 2**62:
        raise InputError(f"{name}: truncated, {length} of {audio.frames} samples; {way_out}")
    if not length:
        raise InputError(f"{name}: 0 samples; {way_out}")
    return np.concatenate(blocks)


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
        if kind == b"ds64":  # EBU Tech 3306: the 64-bit sizes of RF64, of which the second is the data chunk's
            large_size = struct.unpack("<8xQ", body)[0] if len(body := file.read(min(size, 16))) == 16 else None
            file.seek(size - len(body), os.SEEK_CUR)
        elif kind == b"data":
            if size == 0xFFFFFFFF and large_size is not None:
                size = large_size
            return max(size - (end - file.tell()), 0)
        else:
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0


@lru_cache(maxsize=16)
def _resampler(rate: int, new_rate: int) -> Resample:
    return Resample(rate, new_rate)
