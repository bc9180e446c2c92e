"""`separatrix` commands as processes that start at once and can be killed, at random or at an exact moment.

Run as a program, this file is a server: it imports everything once, then forks a process for every command. What makes
a process cost seconds is importing, and what a kill destroys is all that comes after. Imported, it is the client.
"""

import contextlib
import fnmatch
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 240


class Moment(NamedTuple):
    """An exact moment at which a process shall be killed.

    Attributes:
        when: `opened`, just before the file is opened to be written; `filled`, in the midst of the write by which it
            would become longer than `count` bytes; `torn`, when half of the bytes are written of what is about to be
            renamed to it; `whole`, when all are; `renamed`, just after; `removed`, just before the folder is removed.
        path: of the file or folder, with wildcards.
        count: how many times it comes to that.
    """

    when: str
    path: str
    count: int = 1


class KillAt:
    """An audit hook, which Python calls before it opens, renames and removes: nothing of the program is replaced."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.left = moment.count
        self.renaming: int | None = None  # the thread that is about to

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Kill where the moment has come."""
        when = self.moment.when
        if self.renaming == threading.get_ident():
            self._kill()
        if event == "open" and when in ("opened", "filled"):
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR) and self._is_it(path):
                if when == "filled":
                    _end_beyond(self.moment.count)
                else:
                    self._kill()
        elif event == "os.rename" and when in ("torn", "whole", "renamed"):
            if self._is_it(arguments[1]):
                if when == "renamed":
                    self.renaming = threading.get_ident()
                    return
                if when == "torn":
                    _tear(Path(arguments[0]))
                self._kill()
        elif event == "shutil.rmtree" and when == "removed" and self._is_it(arguments[0]):
            self._kill()

    def _is_it(self, path: Any) -> bool:
        if not isinstance(path, str | os.PathLike) or not fnmatch.fnmatch(os.fspath(path), self.moment.path):
            return False
        self.left -= 1
        return self.left == 0 or self.moment.when == "filled"

    def _kill(self) -> None:
        self.renaming = None  # killing is an event, too
        os.killpg(0, signal.SIGKILL)


def _end_beyond(length: int) -> None:
    """Have the system end the process, whatever it is about to do, in the write that would go beyond this length."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, resource.RLIM_INFINITY))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _tear(path: Path) -> None:
    """Leave half of a file, or of the largest file of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


class Ended(NamedTuple):
    """How a process ended: its exit status, or minus the signal's number, and all that it printed."""

    status: int
    printed: str

    @property
    def killed(self) -> bool:
        """Whether by a signal that gives no chance to do anything more."""
        return self.status in (-signal.SIGKILL, -signal.SIGXFSZ)


class Running:
    """A command under way, in a group of processes of its own.

    Attributes:
        pid: of its first process, and of the group.
        log: all that it prints.
    """

    def __init__(self, pid: int, log: Path, server: "CommandServer") -> None:
        self.pid = pid
        self.log = log
        self._server = server
        self._ended: Ended | None = None

    def ended_within(self, seconds: float) -> bool:
        """Wait so long at most; whether it has ended."""
        if self._ended is None and self._server.has_answer(seconds):
            self._ended = Ended(int(self._server.answer()), self.log.read_text())
        return self._ended is not None

    def signal(self, number: int) -> None:
        """Send a signal to the whole group; nothing happens to what has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def signal_first(self, number: int) -> None:
        """Send a signal to the first process alone."""
        os.kill(self.pid, number)

    def signal_others(self, number: int) -> None:
        """Send a signal to all processes of the group but the first."""
        for pid in self.others():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

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
        assert self._ended is not None
        return self._ended


class CommandServer:
    """The client's side: starts commands, one after the other.

    Args:
        folder: for what they print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started = 0
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # otherwise a line that waits in a buffer would be none to `select`
        )

    def answer(self) -> str:
        """The server's next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line, "the server of commands has ended"
        return line

    def has_answer(self, seconds: float) -> bool:
        """Whether a line is there, waiting so long at most."""
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    @contextlib.contextmanager
    def start(self, *arguments: str | Path, kill_at: Moment | None = None) -> Iterator[Running]:
        """A command under way; at the end of the block it is killed where it still runs."""
        self._started += 1
        log = self._folder / f"{self._started}.log"
        request = {"arguments": [str(argument) for argument in arguments], "log": str(log), "kill_at": kill_at}
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(request)}\n".encode())
        running = Running(int(self.answer()), log, self)
        try:
            yield running
        finally:
            if not running.ended_within(0):
                running.signal(signal.SIGKILL)
                running.end()

    def run(self, *arguments: str | Path, kill_at: Moment | None = None) -> Ended:
        """Run a command to its end."""
        with self.start(*arguments, kill_at=kill_at) as running:
            return running.end()

    def succeed(self, *arguments: str | Path) -> Ended:
        """Run a command that must end well."""
        ended = self.run(*arguments)
        assert ended.status == 0, ended.printed
        return ended

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def next_request() -> dict[str, Any] | None:
    """In the server: the request that this process, forked for it, has to answer; None when there are no more."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            return json.loads(line)
        os.setpgid(pid, pid)  # here too: whoever reads its number may signal its group
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


def serve() -> int:
    """Fork a process for every request on stdin, which comes back from here with its command's exit status."""
    import experiments.data.bank
    import experiments.data.synthesize
    import experiments.reproduction.command
    import experiments.reproduction.model_selection_table
    import experiments.reproduction.run_stages
    import experiments.reproduction.tracking
    import experiments.reproduction.weak_labels_table
    import experiments.training.lightning_cli  # noqa: F401
    from experiments.cli import main

    gc.freeze()  # what was imported is never collected: processes end without a second's search through it
    request = next_request()
    if request is None:
        return 0
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for file, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(file, number)
    if request["kill_at"]:
        sys.addaudithook(KillAt(Moment(*request["kill_at"])))
    sys.argv = ["separatrix", *request["arguments"]]
    return main()


if __name__ == "__main__":
    sys.exit(serve())
