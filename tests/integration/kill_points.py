"""`separatrix` commands as processes that start at once and are killed, at an exact moment if that is asked for.

Python's fork server imports everything once; a kill destroys all that comes after.
"""

import contextlib
import fnmatch
import gc
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from experiments.cli import main

PATIENCE_SECONDS = 240
SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("pytest", "kill_points", "experiments.training.lightning_cli", "experiments.data.bank"),
        *("experiments.data.synthesize", "experiments.reproduction.command", "experiments.reproduction.run_stages"),
    ]
)


class Moment(NamedTuple):
    """When a process is killed.

    Attributes:
        when: `opened`, just before the file is opened to be written; `filled`, in the write by which it would become
            longer than `count` bytes; `torn`, when half of the bytes are written of what is about to be renamed to it;
            `renamed`, just after that.
        path: of the file or folder, with wildcards.
        count: how many times it comes to that.
    """

    when: str
    path: str
    count: int = 1


class KillAt:
    """An audit hook, which Python calls before it opens and renames: nothing of the program is replaced."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.left = moment.count
        self.renaming: int | None = None  # the thread that is about to

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        when = self.moment.when
        if self.renaming == threading.get_ident():
            self.kill()
        if event == "open" and when in ("opened", "filled"):
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR) and self.concerns(path):
                if when == "opened":
                    self.kill()
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.moment.count, resource.RLIM_INFINITY))
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        elif event == "os.rename" and when in ("torn", "renamed") and self.concerns(arguments[1]):
            if when == "renamed":
                self.renaming = threading.get_ident()
            else:
                os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
                self.kill()

    def concerns(self, path: Any) -> bool:
        if not isinstance(path, str | os.PathLike) or not fnmatch.fnmatch(os.fspath(path), self.moment.path):
            return False
        self.left -= 1
        return self.left == 0 or self.moment.when == "filled"

    def kill(self) -> None:
        self.renaming = None  # killing is an event, too
        os.killpg(0, signal.SIGKILL)


def run_command(arguments: list[str], log: Path, kill_at: Moment | None) -> None:
    """In the process of a command: as `separatrix` begins, in a group of its own."""
    os.setpgid(0, 0)
    gc.freeze()  # what was imported is never collected: processes end without a second's search through it
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(output, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    if kill_at:
        sys.addaudithook(KillAt(kill_at))
    # Behind a fork server is a process that Python knows as the parent; a command's own is none.
    sys.modules["multiprocessing.process"]._parent_process = None  # type: ignore[attr-defined]
    sys.argv = ["separatrix", *arguments]
    sys.exit(main())


class Ended(NamedTuple):
    """Exit status, or minus the signal's number, and all that was printed."""

    status: int
    printed: str

    @property
    def killed(self) -> bool:
        return self.status in (-signal.SIGKILL, -signal.SIGXFSZ)


class Running:
    """A command under way, in a group of processes of its own."""

    def __init__(self, arguments: list[str], log: Path, kill_at: Moment | None) -> None:
        self.log = log
        self.process = SERVER.Process(target=run_command, args=(arguments, log, kill_at))
        self.process.start()
        self.pid: int = self.process.pid  # type: ignore[assignment]
        while not self.log.exists() and self.process.is_alive():
            time.sleep(0.001)

    def ended_within(self, seconds: float) -> bool:
        """Wait so long at most; whether it has ended."""
        self.process.join(seconds)
        return self.process.exitcode is not None

    def wait_until(self, condition: Any) -> None:
        """Until the condition holds, while the command runs."""
        while not condition():
            assert not self.ended_within(0.01), self.end().printed

    def signal(self, number: int) -> None:
        """Send a signal to the whole group; nothing happens to what has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def others(self) -> list[int]:
        """The processes of the group besides the first that have not ended."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group = path.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.pid and state != "Z" and int(path.parent.name) != self.pid:
                    found.append(int(path.parent.name))
        return found

    def wait_for_the_others(self) -> None:
        """Until no process of the group is left."""
        begun = time.monotonic()
        while others := self.others():
            assert time.monotonic() < begun + PATIENCE_SECONDS, f"still running: {others}"
            time.sleep(0.05)

    def end(self) -> Ended:
        """Wait for its end."""
        assert self.ended_within(PATIENCE_SECONDS), f"still running: {self.log.read_text()}"
        return Ended(self.process.exitcode or 0, self.log.read_text())


class Processes:
    """Starts commands; `folder` is for what they print."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0

    @contextlib.contextmanager
    def start(self, *arguments: Any, kill_at: Moment | None = None) -> Iterator[Running]:
        """A command under way; at the end of the block it is killed where it still runs."""
        self.started += 1
        running = Running([str(word) for word in arguments], self.folder / f"{self.started}.log", kill_at)
        try:
            yield running
        finally:
            running.signal(signal.SIGKILL)
            running.end()

    def run(self, *arguments: Any, kill_at: Moment | None = None) -> Ended:
        """Run a command to its end."""
        with self.start(*arguments, kill_at=kill_at) as running:
            return running.end()

    def succeed(self, *arguments: Any) -> Ended:
        """Run a command that must end well."""
        ended = self.run(*arguments)
        assert ended.status == 0, ended.printed
        return ended
