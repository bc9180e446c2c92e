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

    Raises:
        OSError: it cannot be written, by its name: a full disk fails where only the open file is known.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:  # before the rename: a power cut must not leave the name without the bytes
            os.fsync(file.fileno())
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
    with atomic_file(path) as partial:
        partial.write_text(text)
