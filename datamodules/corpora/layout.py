"""What corpora on disk share: listing their folders, staying inside them, and telling when their files change."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from datamodules.corpora.audio_file import read_audio
from lightning_modules.errors import InputError

DEEPEST = 50
Location = str | os.PathLike[str]


def folders_in(folder: Location) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones left out."""
    return [entry.name for entry in _visible_entries(folder) if _is_folder(entry)]


def audio_files_below(folder: Location, suffixes: tuple[str, ...], depth: int = 0) -> Iterator[str]:
    """The files that end in one of the suffixes in any case, sorted: paths relative to the folder; no hidden ones.

    Links to folders are not descended into: they may lead round in circles.
    """
    for entry in _visible_entries(folder):
        if entry.is_dir(follow_symlinks=False):
            if depth == DEEPEST:
                raise InputError(f"{os.fspath(folder)}: more than {DEEPEST} folders deep; move its recordings up")
            yield from (f"{entry.name}/{name}" for name in audio_files_below(entry.path, suffixes, depth + 1))
        elif entry.name.lower().endswith(suffixes) and not _is_folder(entry):
            yield entry.name  # a link to nothing, too: reading it says what is missing


def contents(folder: Location, most: int = 8) -> str:
    """What is in a folder, for an error message: its first names, or `nothing`."""
    names = [entry.name for entry in _visible_entries(folder)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"


def existing_folder(folder: Path, corpus: str) -> Path:
    """The folder itself, where it is there."""
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder; give the folder that holds {corpus}")
    return folder


def refuse_outside(folder: Location, path: Location, name: str, way_out: str) -> None:
    """Let no link lead out of a corpus; the message calls the path by `name` and ends in `way_out`."""
    inside = os.path.realpath(folder)
    if os.path.commonpath((inside, os.path.realpath(path))) != inside:
        raise InputError(f"{name}: leads out of {os.fspath(folder)}; {way_out}")


def read_inside(folder: Location, path: str, name: str, way_out: str) -> tuple[np.ndarray, int]:
    """Decode an audio file inside a folder as `read_audio` does; the message for a user begins and ends as given."""
    refuse_outside(folder, path, name, way_out)
    return read_audio(path, name, way_out)


def size_and_time(*candidates: str) -> tuple[int, int]:
    """Bytes and modification time in ns of the first of these files that is there; -1, -1 where none is."""
    # Plain strings and one stat per file: pathlib would take seconds for the 100,000 files of a large corpus.
    for path in candidates:
        try:
            status = os.stat(path)
        except OSError:
            continue
        return status.st_size, status.st_mtime_ns
    return -1, -1


def digest(rows: Iterable[tuple[object, ...]]) -> str:
    """SHA-256 over rows of plain values, in hexadecimal."""
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update(repr(row).encode())
    return sha256.hexdigest()


def _visible_entries(folder: Location) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(os.fspath(folder)) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{os.fspath(folder)}: cannot be listed ({error.strerror or error}); correct it") from None
    for entry in visible:
        if not entry.name.isprintable():
            raise InputError(f"{os.fspath(folder)}: {entry.name!r} is not a printable name; rename it")
    return sorted(visible, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
