"""What corpora on disk share: listing their folders, staying inside them, and telling when their files change."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from datamodules.corpora.audio_file import SUFFIXES, read_audio
from lightning_modules.errors import InputError, listed

DEEPEST = 50
Location = str | os.PathLike[str]


class LinkError(InputError):
    """A link that leads out of a corpus. Where there is one there are thousands: it is told once, not for each clip."""


def folders_in(folder: Location) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones left out."""
    return [entry.name for entry in _visible_entries(folder) if _is_folder(entry)]


def audio_files_below(
    root: Location, folder: Location, follow_links: bool = False, within: tuple[tuple[int, int], ...] = ()
) -> Iterator[str]:
    """The files in or below a folder of a corpus that end as audio does, sorted: paths relative to the folder.

    Hidden files are left out, and links to folders that lie within the corpus or lead round in a circle.

    Args:
        root: the corpus.
        folder: in it.
        follow_links: whether links may lead out of the corpus; LinkError where one does unless given.
        within: the folders that this one was reached through.
    """
    if not follow_links and not within:
        refuse_outside(root, folder, os.path.relpath(folder, root))
    entries, status = _visible_entries(folder), os.stat(folder)
    place = (status.st_dev, status.st_ino)
    if place in within:
        return
    within = (*within, place)
    if len(within) > DEEPEST:
        raise InputError(f"{os.fspath(folder)}: more than {DEEPEST} folders deep; move its recordings up")
    for entry in entries:
        is_folder, is_link = _is_folder(entry), entry.is_symlink()
        if not (is_folder or entry.name.lower().endswith(SUFFIXES)):
            continue
        if is_link and not follow_links:
            refuse_outside(root, entry.path, os.path.relpath(entry.path, root))
        if not is_folder:
            yield entry.name  # a link to nothing, too: reading it says what is missing
        elif follow_links or not is_link:
            below = audio_files_below(root, entry.path, follow_links, within)
            yield from (f"{entry.name}/{name}" for name in below)


def contents(folder: Location) -> str:
    """What is in a folder, for an error message: its first names, or `nothing`."""
    return listed(entry.name for entry in _visible_entries(folder)) or "nothing"


def existing_folder(folder: Path, corpus: str) -> Path:
    """The folder itself, where it is there."""
    if not os.path.isdir(folder):
        close: list[str] = []
        with suppress(InputError):  # no folder around it, or one that cannot be listed
            close = get_close_matches(folder.name, folders_in(folder.parent), n=1, cutoff=0.7)
        advice = f"did you mean {folder.parent / close[0]}?" if close else f"give the folder of {corpus}"
        raise InputError(f"{folder}: {'a file' if folder.exists() else 'no such folder'}; {advice}")
    return folder


def corpus_folder(root: Path, corpus: str, holds: Callable[[Path], bool], expected: str) -> Path:
    """The folder that holds a corpus: the root, a folder of the corpus's name in it, or the only one that does."""
    existing_folder(root, corpus)
    for folder in (root, root / corpus):
        if holds(folder):
            return folder
    found = [root / name for name in folders_in(root) if holds(root / name)]
    if len(found) > 1:
        raise InputError(f"{root}: several copies of {corpus}, {', '.join(f.name for f in found)}; give one of them")
    if not found:
        raise InputError(f"{root}: not {corpus}, found {contents(root)}; expected {expected}")
    return found[0]


def refuse_outside(folder: Location, path: Location, name: str) -> None:
    """Let no link lead out of a corpus; the message calls the path by `name`."""
    inside = os.path.realpath(folder)
    if os.path.commonpath((inside, os.path.realpath(path))) != inside:
        raise LinkError(
            f"{name}: leads out of {os.fspath(folder)}; if its links are yours, --follow-links (follow_links in Python "
            "and in a configuration) reads what they lead to"
        )


def read_inside(
    folder: Location, path: str, name: str, way_out: str, follow_links: bool = False
) -> tuple[np.ndarray, int]:
    """Decode an audio file inside a folder as `read_audio` does; the message for a user begins and ends as given."""
    if not follow_links:
        refuse_outside(folder, path, name)
    return read_audio(path, name, way_out)


def with_any_ending(path: str) -> list[str]:
    """The path, and the same with the ending of every other audio format."""
    stem, ending = os.path.splitext(path)
    return [path, *(stem + suffix for suffix in SUFFIXES if suffix != ending)]


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
