"""A recording's sources as files of its own rate, channels and length, and what the models said of it."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile
import torch

from datamodules.corpora.audio_file import AudioFile, audio_blocks, scan_audio
from experiments.output.new_folder import new_folder
from lightning_modules.errors import InputError
from lightning_modules.recordings.clustering import Judgement
from lightning_modules.recordings.separator import Recording, Select, Separator

SourceFormat = Literal["float", "pcm24", "flac"]
MANIFEST = "separation.json"
MOST_FLAC_CHANNELS = 8
LARGEST_WAV = 2**32 - 2**16  # bytes, with room for the header
BLOCK = 2**16


class SeparatedFile(NamedTuple):
    """What became of a recording.

    Attributes:
        folder: that holds the sources and MANIFEST.
        files: of the sources, in the order of the separator's names.
        audio: the recording.
        judgements: of deep clustering models.
        scale: what all sources were multiplied by, so that 24 bits hold them; 1 as a rule.
    """

    folder: Path
    files: list[Path]
    audio: AudioFile
    judgements: list[Judgement]
    scale: float


def separate_file(
    separator: Separator,
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    source_format: SourceFormat = "float",
    overwrite: bool = False,
    advance: Callable[[float], None] = lambda seconds: None,
    audio: AudioFile | None = None,
) -> SeparatedFile:
    """Separate a recording of any length; the folder is there when all of its files are.

    Args:
        separator: trained models.
        path: WAV, FLAC, Ogg or AIFF.
        folder: to write, one file a source and MANIFEST.
        source_format: `float`, 32-bit WAV; `pcm24`, WAV, or `flac`, both of 24 bits: where a source goes beyond full
            scale, all of them are made softer alike, and it is noted.
        overwrite: whether to replace what was separated into the folder before.
        advance: is told how many seconds of the recording's work have been done since it was told last.
        audio: what `scan_audio` has found, where it has been asked before.

    Raises:
        InputError: the recording cannot be read, the folder is in use or the format cannot hold the channels.
    """
    audio = audio or scan_audio(path)
    if source_format == "flac" and audio.channels > MOST_FLAC_CHANNELS:
        raise InputError(f"{path}: {audio.channels} channels, FLAC holds {MOST_FLAC_CHANNELS}; use --format float")
    if Path(path).resolve().is_relative_to(Path(folder).resolve()):
        raise InputError(f"{path}: lies in {folder}, where its sources would be; choose another --output")
    if overwrite:
        _require_nothing_else(Path(folder))
    files_at_once = len(separator.names) + (source_format != "float")
    _require_room(Path(folder), 4 * audio.samples * audio.channels * files_at_once)
    judgements: list[Judgement] = []
    with new_folder(Path(folder), overwrite, made_by_us=MANIFEST) as unfinished:
        files = [unfinished / f"{name}.wav" for name in separator.names]
        recording = Recording(lambda: map(_channels_first, audio_blocks(path)), audio.samples, audio.rate)
        peak = _write_floats(files, separator, recording, audio, judgements, advance)
        scale = 1.0
        if source_format != "float":
            scale = 1 / max(peak, 1.0)
            files = [_in_24_bits(file, source_format, scale) for file in files]
        manifest = {
            **_request(path, separator.checkpoints, separator.select, source_format),
            **audio._asdict(),
            "sources": [file.name for file in files],
            "scale": scale,
            "judgements": [_plain(judgement) for judgement in judgements],
            "version": version("separatrix"),
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return SeparatedFile(Path(folder), [Path(folder) / file.name for file in files], audio, judgements, scale)


def is_separated(
    folder: Path, path: str, checkpoints: Sequence[str], select: Select, source_format: SourceFormat
) -> bool:
    """Whether a folder holds what this recording becomes, by the same settings and by models that are no newer."""
    manifest = folder / MANIFEST
    try:
        made = manifest.stat().st_mtime
        found = json.loads(manifest.read_text())
        newest = max(os.stat(file).st_mtime for file in (path, *checkpoints))
    except (OSError, ValueError):
        return False
    request = _request(path, checkpoints, select, source_format)
    same = isinstance(found, dict) and newest < made and request == {name: found.get(name) for name in request}
    return same and all((folder / file).is_file() for file in _listed(found))


def _listed(manifest: Any) -> list[str]:
    """The names of the sources in a manifest, which may be anybody's."""
    sources = manifest.get("sources") if isinstance(manifest, dict) else None
    return [name for name in sources if isinstance(name, str)] if isinstance(sources, list) else []


def _require_nothing_else(folder: Path) -> None:
    """Raise InputError where files were added to a folder that is to be replaced."""
    manifest = folder / MANIFEST
    try:
        made = {MANIFEST, *_listed(json.loads(manifest.read_text()))}
    except (OSError, ValueError):
        return  # nothing that would be replaced, or an interrupted writing
    # Hidden files are the notes of file managers.
    added = sorted(file.name for file in folder.iterdir() if file.name not in made and file.name[0] != ".")
    if added:
        raise InputError(f"{folder / added[0]}: was not written by `separate`; move it, or choose another --output")


def _require_room(folder: Path, needed: int) -> None:
    """Raise InputError at once for what a disk would refuse after minutes."""
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    total, _, free = shutil.disk_usage(place)
    if total and needed > free:  # some file systems of a network do not tell
        sizes = f"needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free"
        raise InputError(f"{folder}: {sizes}; choose another --output")


def _request(
    path: str | os.PathLike[str], checkpoints: Sequence[str], select: Select, source_format: SourceFormat
) -> dict[str, Any]:
    return {
        "recording": os.fspath(path),
        "models": list(checkpoints),
        "select": select,
        "format": source_format,
    }


def _channels_first(block: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(block.T)


def _write_floats(
    files: list[Path],
    separator: Separator,
    recording: Recording,
    audio: AudioFile,
    judgements: list[Judgement],
    advance: Callable[[float], None],
) -> float:
    """Write the sources as 32-bit float WAV, block by block; the largest absolute sample."""
    # RF64 is WAV with 64-bit sizes, which some programs do not know: only where it is needed.
    large = 4 * audio.samples * audio.channels > LARGEST_WAV
    peak = 0.0
    with contextlib.ExitStack() as opened:
        sinks = [
            opened.enter_context(
                soundfile.SoundFile(name, "w", audio.rate, audio.channels, "FLOAT", format="RF64" if large else "WAV")
            )
            for name in map(os.fsencode, files)  # of any bytes, which soundfile itself would not encode
        ]
        for block in separator.stream(recording, judgements, advance):
            peak = max(peak, float(block.abs().max()) if block.numel() else 0.0)
            for sink, source in zip(sinks, block, strict=True):
                sink.write(source.T.numpy())
    for file in files:
        _forget_time(file)
    return peak


def _forget_time(file: Path) -> None:
    """Remove the time of writing, which libsndfile notes in float WAV: the same sources are the same bytes."""
    with file.open("r+b") as wav:
        place = wav.read(256).find(b"PEAK")
        if place >= 0:  # the chunk's name, its size, its version, then the time
            wav.seek(place + 12)
            wav.write(bytes(4))


def _in_24_bits(file: Path, source_format: SourceFormat, scale: float) -> Path:
    """Replace a float file; the new one's path."""
    with soundfile.SoundFile(os.fsencode(file)) as floats:
        partial = file.with_suffix(".24")
        written = "FLAC" if source_format == "flac" else ("RF64" if floats.format == "RF64" else "WAV")
        with soundfile.SoundFile(
            os.fsencode(partial), "w", floats.samplerate, floats.channels, "PCM_24", format=written
        ) as integers:
            for block in floats.blocks(BLOCK, dtype="float32"):
                integers.write(block * np.float32(scale))
    file.unlink()
    return partial.rename(file.with_suffix(".flac" if source_format == "flac" else ".wav"))


def _plain(judgement: Judgement) -> dict[str, Any]:
    measures = ("confidence", "silhouette", "posterior")
    return {
        "start": judgement.start,
        "stop": judgement.stop,
        "picked": judgement.picked,
        "models": {
            name: {measure: float(getattr(confidence, measure)) for measure in measures}
            for name, confidence in judgement.confidences.items()
        },
    }
