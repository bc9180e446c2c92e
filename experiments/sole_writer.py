"""One process at a time writes a folder or a file: a second one is refused while the first lives."""

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from lightning_modules.errors import InputError, printable

LOCK = ".writer"


class InUseError(InputError):
    """Another process writes what this one was about to write."""


@contextlib.contextmanager
def sole_writer(target: Path, option: str, inside: bool = False) -> Iterator[None]:
    """Write a target alone. Of several ranks the first one takes it, for all, before anything is written.

    The lock is a POSIX record lock: the kernel releases it with the process, however that ends; forked processes, such
    as a loader's workers, do not inherit it; nodes that share a network file system see it. Its file is hidden, and
    gone afterwards.

    Args:
        target: a file, or a folder that need not be there.
        option: of the command line, which chooses another target.
        inside: whether the lock's file lies in the folder, which is written in place and may be all that can be written
            to. It lies beside what is renamed into place.

    Raises:
        InUseError: a process that lives writes the target.
    """
    target = target.resolve()
    lock = target / LOCK if inside else target.with_name(f".{target.name}{LOCK}")
    with contextlib.ExitStack() as held:
        # A place that cannot be written to is told of by whoever writes; a file system may know no locks.
        with contextlib.suppress(OSError):
            missing = [folder for folder in lock.parents if not folder.exists()]
            lock.parent.mkdir(parents=True, exist_ok=True)
            held.callback(_remove_empty, missing)
            file = _locked(lock)
            if file is None:
                raise InUseError(f"{target}: {_holder(lock)} writes it; let that end, or choose another {option}")
            held.callback(_release, lock, file)
            os.truncate(file, 0)
            os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
        yield


def _locked(lock: Path) -> int | None:
    """The lock's file, open; None where another process holds it.

    Raises:
        OSError: the file cannot be opened, or the file system knows no locks.
    """
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed the file after it was opened here: that one locks nobody out.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(lock)):
                    return file
        except (BlockingIOError, PermissionError):
            os.close(file)
            return None
        except OSError:
            os.close(file)
            raise
        os.close(file)


def _release(lock: Path, file: int) -> None:
    """Remove the lock's file, unless the folder was moved and another one lies there, and then let go."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(file), os.stat(lock)):
            lock.unlink()
    os.close(file)


def _holder(lock: Path) -> str:
    """The process that holds a lock, as it calls itself."""
    try:
        return printable(lock.read_text(errors="replace")[:100]) or "another process"
    except OSError:
        return "another process"


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, that nothing was written into."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()
