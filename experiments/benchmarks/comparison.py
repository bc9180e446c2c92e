"""Two ways of doing the same work, timed in turn, so that a drifting machine slows both alike."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from experiments.command_line.freed_memory import keep_freed_memory, return_freed_memory


class Timed(NamedTuple):
    """What a way returns that knows which part of its time counts.

    Attributes:
        seconds: of the work alone, without its preparation.
        peak_bytes: the most memory of a process of its own.
    """

    seconds: float
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Comparison:
    """One row of the benchmark, yet to be measured.

    Where the reference is not this project's own, whoever makes it has checked that both ways give the same.

    Attributes:
        work: what is done.
        ours: this project's way.
        reference: the alternative.
        reference_name: what the alternative is.
        items: mixtures (or whatever the work counts) that one run of ours handles.
        reference_items: those that one run of the alternative handles; as many unless given.
        wanted: how many times as fast ours is to be at least.
        runs: of each way.
        both_ours: whether the alternative is this project's too, and keeps freed memory as its commands do; others have
            the C library's own settings, as in a process of their own.
    """

    work: str
    ours: Callable[[], Any]
    reference: Callable[[], Any]
    reference_name: str
    items: int = 1
    reference_items: int | None = None
    wanted: float | None = None
    runs: int = 5
    both_ours: bool = False


class Measurement(NamedTuple):
    """One row of the benchmark.

    Attributes:
        work: what is done.
        items: mixtures (or whatever the work counts) that one run of ours handles.
        ours: seconds of each run of this project's code.
        reference: seconds of each run of the alternative.
        reference_name: what the alternative is.
        reference_items: items that one run of the alternative handles.
        wanted: how many times as fast ours is to be at least; None where nothing is.
        peak_bytes: the most that ours held on the GPU beyond what lay there before; None without one.
        process_bytes: the most memory of ours and of the alternative, where each runs in a process of its own.
    """

    work: str
    items: int
    ours: list[float]
    reference: list[float]
    reference_name: str
    reference_items: int
    wanted: float | None = None
    peak_bytes: int | None = None
    process_bytes: tuple[int, int] | None = None

    @property
    def rate(self) -> float:
        """Our items a second, by the median run."""
        return self.items / statistics.median(self.ours)

    @property
    def ratios(self) -> list[float]:
        """How many times faster ours is, pair by pair."""
        scale = self.items / self.reference_items
        return [theirs / mine * scale for mine, theirs in zip(self.ours, self.reference, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)


def measure(comparison: Comparison, device: torch.device) -> Measurement:
    """Time both ways in turn, each time after a run that does not count."""
    peak = 0
    times: tuple[list[float], list[float]] = ([], [])
    peaks: tuple[list[int], list[int]] = ([], [])
    for _ in range(comparison.runs):
        for way, seconds, memory in zip((comparison.ours, comparison.reference), times, peaks, strict=True):
            if way is comparison.ours or comparison.both_ours:
                keep_freed_memory()
            else:
                return_freed_memory()
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
            timed = _time(way, device)
            seconds.append(timed.seconds)
            memory += [] if timed.peak_bytes is None else [timed.peak_bytes]
            if device.type == "cuda" and way is comparison.ours:
                peak = max(peak, torch.cuda.max_memory_allocated() - held)
    keep_freed_memory()
    return Measurement(
        comparison.work,
        comparison.items,
        *times,
        comparison.reference_name,
        comparison.reference_items or comparison.items,
        comparison.wanted,
        peak if device.type == "cuda" else None,
        (max(peaks[0]), max(peaks[1])) if all(peaks) else None,
    )


def clock(device: torch.device) -> float:
    """Seconds from some moment on, once the device has done all that it was told before."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _time(way: Callable[[], Any], device: torch.device) -> Timed:
    result = way()
    if isinstance(result, Timed):
        return result
    begun = clock(device)
    way()
    return Timed(clock(device) - begun)
