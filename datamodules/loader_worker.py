"""A loader's worker that cannot hand its batches over: torch would only print that, and its loader wait for ever."""

import os
import sys
from multiprocessing.queues import Queue
from typing import Any

from torch._utils import ExceptionWrapper

from lightning_modules.errors import InputError

WAY_OUT = "raise that limit, or do without workers: --data.workers 0"


def fail_in_sight(worker: int) -> None:
    """For `worker_init_fn`: make what goes wrong outside of the worker's main thread known to the loader.

    Batches are pickled by a thread of the queue, which puts their tensors into shared memory, and its file descriptors
    are given away by another one. The first prints its errors and drops the batch, the second prints them and tries
    again: a full /dev/shm, `ulimit -n` and `ulimit -f` end there.

    Args:
        worker: its number.
    """
    # A hook of the standard library's for concurrent.futures, which ends its workers there.
    Queue._on_queue_feeder_error = _hand_the_error_over  # type: ignore[attr-defined]
    sys.excepthook = lambda *error: os._exit(1)  # the loader sees that it ended


def _hand_the_error_over(queue: "Queue[Any]", error: Exception, item: tuple[int, Any]) -> None:
    """Put the error in the batch's place, as what a data set raises is."""
    reason = " ".join(str(error).split())
    failure = InputError(f"a loader's worker cannot hand its batch over: {reason}; {WAY_OUT}")
    queue.put((item[0], ExceptionWrapper((InputError, failure, None), "in a loader's worker")))


def lost_worker(error: Exception) -> InputError | None:
    """What torch says of a worker that is gone or out of reach, as the user's; None for other errors."""
    reason = " ".join(str(error).split())
    if isinstance(error, ConnectionError | EOFError):  # killed while it handed a batch over
        reason = f"DataLoader worker is gone ({reason or 'its connection ended'})"
    if reason.startswith(("DataLoader worker", "Too many open files", "received 0 items of ancdata")):
        return InputError(f"{reason.rstrip('. ')}, for memory or another limit as a rule; {WAY_OUT}")
    return None
