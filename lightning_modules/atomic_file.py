"""A file that is there as a whole or not at all, shared by every layer."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Where to write the new contents of `path`: a neighbour, renamed when the block ends well, gone when it does not.

    A process that is killed, at whatever moment, leaves the old file or the new one. What it leaves beside them is
    written over by whoever writes the file again.

    Args:
        path: the file; its folder is made when missing. One process at a time may write it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb") as file:  # before the rename: a power cut must not leave the name without the bytes
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file, as a whole or not at all."""
    with atomic_file(path) as partial:
        partial.write_text(text)
