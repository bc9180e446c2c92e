"""Two ways of doing the same work, timed in turn, so that a drifting machine slows both alike."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from experiments.command_line.freed_memory import keep_freed_memory, return_freed_memory


class Timed(NamedTuple):
    """What a way returns that times itself: seconds without its preparation, and the most memory of its process."""

    seconds: float
    peak_bytes: int = 0


@dataclass(frozen=True)
class Comparison:
    """One row, yet to be measured. Where the reference is somebody else's, both ways were found to give the same."""

    work: str
    ours: Callable[[], Any]
    reference: Callable[[], Any]
    reference_name: str
    items: int = 1  # mixtures, clips or seconds that one run of ours handles
    reference_items: int = 0  # those that one run of the reference handles; as many unless given
    wanted: float | None = None  # how many times as fast ours is to be at least
    runs: int = 5


def measure(row: Comparison, device: torch.device) -> dict[str, Any]:
    """Time both ways in turn, each time after a run that does not count; the row as --json writes it.

    Ours runs as this project's commands do, with freed memory kept, the reference with the C library's own settings.
    """
    ours, reference = [], []
    for _ in range(row.runs):
        keep_freed_memory()
        ours.append(_time(row.ours, device))
        return_freed_memory()
        reference.append(_time(row.reference, device))
    keep_freed_memory()
    return {
        "work": row.work,
        "items": row.items,
        "ours": [run.seconds for run in ours],
        "reference": [run.seconds for run in reference],
        "reference_name": row.reference_name,
        "reference_items": row.reference_items or row.items,
        "wanted": row.wanted,
        "peak_bytes": [max(run.peak_bytes for run in runs) for runs in (ours, reference)],
    }


def clock(device: torch.device) -> float:
    """Seconds since some moment, after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _time(way: Callable[[], Any], device: torch.device) -> Timed:
    timed = way()
    if isinstance(timed, Timed):
        return timed
    begun = clock(device)
    way()
    return Timed(clock(device) - begun)
