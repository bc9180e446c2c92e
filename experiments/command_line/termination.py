"""How processes end: at a scheduler's SIGTERM within its grace, and never later than those that they belong to.

Nothing is saved at the last moment: epochs, rows and stages are on disk as soon as they are complete, each written
beside its place and renamed. To end is to stop.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import parent_process
from types import FrameType

_PARENT = "SEPARATRIX_PARENT"
_asked_to_end = threading.Event()
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


class Terminated(SystemExit):
    """The process was asked to end."""


def end_on_sigterm() -> None:
    """Raise `Terminated` at SIGTERM, wherever the main thread is, so that what is half written is removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _raise_terminated)


def _raise_terminated(signal_number: int, frame: FrameType | None) -> None:
    _asked_to_end.set()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would cut the cleaning up short
    raise Terminated(TERMINATED)


def say_at_ctrl_c() -> None:
    """Say at Ctrl-C at once that the command stops: until its processes have ended can take a while."""
    own = os.getpid()

    def say_and_interrupt(signal_number: int, frame: FrameType | None) -> None:
        if os.getpid() == own:  # a loader's workers are forks
            os.write(2, b"\nstopping ...\n")  # `print` may be what was interrupted
        signal.default_int_handler(signal_number, frame)

    # A shell's background jobs ignore the signal.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, say_and_interrupt)


def interruption(error: BaseException) -> int | None:
    """The exit status where the user or SIGTERM is behind an error, None where neither is.

    What a signal's handler raises comes out as something else where the main thread was within a call that does not
    know it: torch's writer of checkpoints, cut short, speaks of an unexpected position.
    """
    if _asked_to_end.is_set():
        return TERMINATED
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, KeyboardInterrupt):
        behind = behind.__context__
    return None if behind is None else INTERRUPTED


def end_with_parent() -> None:
    """End a rank, or a worker, soon after the process that started it, however that ends; others end by themselves.

    A command leaves its number to the ranks that it starts, for it may be gone before they come to look, and a
    reproduction to its stages.
    """
    if (of_worker := parent_process()) is not None:
        threading.Thread(target=_end_after, args=(of_worker.join,), daemon=True).start()
        return
    above = os.environ.get(_PARENT)
    if "LOCAL_RANK" not in os.environ:
        os.environ[_PARENT] = str(os.getpid())
        if above != str(os.getppid()):
            return
    # torchrun starts its ranks itself: a number in the environment is of a process further up.
    parent = int(above) if above and "TORCHELASTIC_RUN_ID" not in os.environ else os.getppid()

    def parent_gone() -> None:
        while os.getppid() == parent:
            time.sleep(1)

    threading.Thread(target=_end_after, args=(parent_gone,), daemon=True).start()


def _end_after(wait: Callable[[], None]) -> None:
    wait()
    os._exit(TERMINATED)


def within_another_command() -> bool:
    """Whether another command started this one, such as a reproduction its stages. To ask before `end_with_parent`."""
    return _PARENT in os.environ


@contextlib.contextmanager
def held_back(*signals: signal.Signals) -> Iterator[None]:
    """Let signals arrive after the block. A process that is started within it inherits that, and never gets them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
