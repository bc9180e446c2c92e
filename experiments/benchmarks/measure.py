"""Timing two ways of doing the same work, alternating, so that a drifting machine slows both alike."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Measurement(NamedTuple):
    """One row of the benchmark.

    Attributes:
        work: what is done.
        items: mixtures (or whatever the work counts) that one run handles.
        ours: seconds of each run of this project's code.
        reference: seconds of each run of the alternative.
        reference_name: what the alternative is.
        reference_items: items that one run of the alternative handles.
    """

    work: str
    items: int
    ours: list[float]
    reference: list[float]
    reference_name: str
    reference_items: int

    @property
    def rate(self) -> float:
        """Our items a second, by the median run."""
        return self.items / statistics.median(self.ours)

    @property
    def ratios(self) -> list[float]:
        """How many times faster ours is, pair by pair."""
        scale = self.items / self.reference_items
        return [theirs / mine * scale for mine, theirs in zip(self.ours, self.reference, strict=True)]


def alternate(
    work: str,
    ours: Callable[[], Any],
    reference: Callable[[], Any],
    reference_name: str,
    items: int,
    reference_items: int | None = None,
    runs: int = 5,
) -> Measurement:
    """Time both in turn, after one run of each that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for function, seconds in zip((ours, reference), times, strict=True):
            begun = time.perf_counter()
            function()
            if run:
                seconds.append(time.perf_counter() - begun)
    return Measurement(work, items, *times, reference_name, reference_items or items)
