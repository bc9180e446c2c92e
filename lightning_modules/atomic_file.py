"""A file that is there as a whole or not at all, shared by every layer."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """The new contents of `path`, to be written: a neighbour, renamed when the block ends well, gone when it does not.

    A process that is killed, at whatever moment, leaves the old file or the new one. What it leaves beside them goes
    with the next writing. The neighbour is always a new file: where somebody has put a link at its name, the link is
    removed and nothing is written through it.

    Args:
        path: the file; its folder is made when missing. One process at a time may write it.

    Raises:
        OSError: it cannot be written, by its name: a full disk fails where only the open file is known.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # before the rename: a power cut must not leave the name without the bytes
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        reason = _of_the_system(error)
        if reason is None:
            raise
        raise OSError(reason.errno, reason.strerror, os.fspath(path)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _of_the_system(error: BaseException | None) -> OSError | None:
    """The system's refusal behind an error: torch's writer raises a RuntimeError on top of it."""
    while error is not None and not (isinstance(error, OSError) and error.errno):
        error = error.__context__
    return error


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file, as a whole or not at all."""
    with atomic_file(path) as file:
        file.write(text.encode())
