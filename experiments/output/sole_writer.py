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
    """Write a target alone. Of several ranks the first one locks it for all, before anything is written.

    The lock is a POSIX record lock: the kernel releases it with the process, however that ends; forked processes, such
    as a loader's workers, do not inherit it; nodes that share a network file system see it. Its file is hidden, and
    gone afterwards.

    Args:
        target: a file, or a folder that need not be there.
        option: of the command line, which chooses another target.
        inside: whether the lock's file lies in the folder, which is written in place and may be all that can be written
            to. It lies beside what is renamed into place.
    """
    target = target.resolve()
    lock = target / LOCK if inside else target.with_name(f".{target.name}{LOCK}")
    if lock.is_symlink():
        raise InputError(f"{lock}: is a link, and this file would be written through it; remove it")
    made = [folder for folder in lock.parents if not folder.exists()]
    file = None
    # The writer itself reports a place that cannot be written to; a file system may know no locks.
    with contextlib.suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            who = printable(os.read(file, 100).decode(errors="replace")) or "another process"
            os.close(file)
            raise InUseError(f"{target}: {who} writes it; let that end, or choose another {option}") from None
        os.truncate(file, 0)
        os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            # The folder may have been moved, and another one lie there.
            if file is not None and os.path.samestat(os.fstat(file), os.stat(lock)):
                lock.unlink()
        if file is not None:
            os.close(file)
        with contextlib.suppress(OSError):  # not empty
            for folder in made:
                folder.rmdir()
