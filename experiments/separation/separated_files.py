"""A recording's sources as files of its own rate, channels and length, and what the models said of it."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from datamodules.corpora.audio_file import AudioFile, audio_blocks, scan_audio
from experiments.output.new_folder import new_folder
from lightning_modules.errors import InputError
from lightning_modules.pretrained import model_file
from lightning_modules.recordings.clustering import SelectedModel
from lightning_modules.recordings.separator import Select, Separator, Sources

SourceFormat = Literal["float", "pcm24", "flac"]
MANIFEST = "separation.json"
MOST_FLAC_CHANNELS = 8
SET_ADD_PEAK_CHUNK = 0x1050  # of libsndfile's commands, which soundfile does not pass on
LARGEST_WAV = 2**32 - 2**16  # bytes, with room for the header


class SeparatedFile(NamedTuple):
    """A separated recording."""

    folder: Path  # of the sources and MANIFEST
    files: list[Path]  # of the sources, in the order of the separator's names
    selections: list[SelectedModel]  # of deep clustering models
    scale: float  # of all sources, so that 24 bits hold them; 1 as a rule


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
        path: WAV, FLAC, MP3, Ogg, AIFF, AU or CAF.
        folder: to write, one file a source and MANIFEST.
        source_format: 32-bit WAV, or 24-bit WAV or FLAC: all sources are made softer alike where one is beyond full
            scale.
        overwrite: whether to replace what was separated into the folder before.
        advance: is called with the seconds of the recording that have been processed since the last call.
        audio: the result of `scan_audio`, where it is there already.

    Raises:
        InputError: the recording cannot be read, the folder is in use or the format cannot hold the channels.
    """
    audio, folder = audio or scan_audio(path), Path(folder)
    request = _request(path, separator.checkpoints, separator.select, source_format, separator.sources)
    if source_format == "flac" and audio.channels > MOST_FLAC_CHANNELS:
        raise InputError(f"{path}: {audio.channels} channels, FLAC holds {MOST_FLAC_CHANNELS}; use --format float")
    if Path(path).resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path}: lies in {folder}, where its sources would be; choose another --output")
    if overwrite:
        _require_nothing_else(folder)
    size = 4 * audio.samples * audio.channels
    # The recording itself, too, and a file in float beside the one in 24 bits that is made of it.
    _require_room(folder, size * (1 + len(separator.names) + (source_format != "float")))
    selections: list[SelectedModel] = []
    with new_folder(folder, overwrite, made_by_us=MANIFEST) as unfinished:
        samples = _mapped(path, audio, unfinished)
        files = [unfinished / f"{name}.wav" for name in separator.names]
        # RF64 is WAV with 64-bit sizes, which some programs do not know: only where it is needed.
        container, scale = "RF64" if size > LARGEST_WAV else "WAV", 1.0
        with contextlib.ExitStack() as opened:
            sinks: list[soundfile.SoundFile] = []
            peak = 1.0
            for block in separator.stream(samples, audio.rate, selections, advance):
                if not sinks:  # how many sources there are may be known only now
                    files = files[: len(block)]
                    sinks = [opened.enter_context(_sink(file, audio, "FLOAT", container)) for file in files]
                peak = max(peak, float(block.abs().max()))
                for sink, source in zip(sinks, block, strict=True):
                    sink.write(source.T.numpy())
        if source_format != "float":
            scale = 1 / peak
            container = "FLAC" if source_format == "flac" else container
            files = [_in_24_bits(file, audio, container, scale) for file in files]
        manifest = {
            "recording": os.fspath(path),
            "models": separator.checkpoints,
            **request,
            **audio._asdict(),
            "sources": [file.name for file in files],
            "scale": scale,
            "selections": [
                {
                    "start": start,
                    "stop": stop,
                    "picked": picked,
                    "models": {name: of._asdict() for name, of in models.items()},
                }
                for start, stop, models, picked in selections
            ],
            "version": version("separatrix"),
        }
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2, default=float) + "\n")
    return SeparatedFile(folder, [folder / file.name for file in files], selections, scale)


def is_separated(
    folder: Path,
    path: str,
    checkpoints: Sequence[str],
    select: Select,
    source_format: SourceFormat,
    sources: Sources | None = None,
) -> bool:
    """Whether a folder holds this recording's sources by the same models and settings, wherever the files lie."""
    found = _manifest(folder)
    files = (path, *map(model_file, checkpoints), *(folder / name for name in found.get("sources", ())))
    if not found or not all(map(os.path.isfile, files)):
        return False
    # Earlier versions knew the number of the models' training alone.
    given = {"number_of_sources": None, **found}
    return _request(path, checkpoints, select, source_format, sources).items() <= given.items()


def _request(
    path: str | os.PathLike[str],
    checkpoints: Sequence[str],
    select: Select,
    source_format: SourceFormat,
    sources: Sources | None,
) -> dict[str, Any]:
    """What decides the sources: the contents of the files, not their names or times."""
    digests = {
        "recording_sha256": _sha256(path),
        "models_sha256": [_sha256(model_file(model)) for model in checkpoints],
    }
    return {**digests, "select": select, "format": source_format, "number_of_sources": sources}


def _sha256(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _manifest(folder: Path) -> dict[str, Any]:
    """The content of MANIFEST; nothing where there is none, or one of another kind."""
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("sources"), list) else {}


def _require_nothing_else(folder: Path) -> None:
    """Raise InputError where files were added to a folder that is to be replaced."""
    if found := _manifest(folder):
        made = {MANIFEST, *map(str, found["sources"])}
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


def _mapped(path: str | os.PathLike[str], audio: AudioFile, folder: Path) -> Tensor:
    """A recording's samples, [channels, n], in a file without a name that the system may read again from the disk."""
    with tempfile.TemporaryFile(dir=folder) as raw:
        for block in audio_blocks(path):
            raw.write(block.data)
        return torch.from_numpy(np.memmap(raw, np.float32, "c").reshape(-1, audio.channels).T)


def _in_24_bits(file: Path, audio: AudioFile, container: str, scale: float) -> Path:
    """Replace a float file; the new one's path."""
    partial = file.with_suffix(".24")
    with _sink(partial, audio, "PCM_24", container) as integers:
        for block in soundfile.blocks(os.fsencode(file), 2**16, dtype="float32"):
            integers.write(block * np.float32(scale))
    file.unlink()
    return partial.rename(file.with_suffix(".flac" if container == "FLAC" else ".wav"))


def _sink(file: Path, audio: AudioFile, subtype: str, container: str) -> soundfile.SoundFile:
    # A name of any bytes, which soundfile itself would not encode.
    sink = soundfile.SoundFile(os.fsencode(file), "w", audio.rate, audio.channels, subtype, format=container)
    # No PEAK chunk, in which libsndfile notes the time: the same input gives the same bytes.
    soundfile._snd.sf_command(sink._file, SET_ADD_PEAK_CHUNK, soundfile._ffi.NULL, 0)
    return sink
