"""Where the time of a piece of work goes, by kind of operation."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from experiments.benchmarks.comparison import clock

# Parts of the names of torch's operations; the first kind that fits.
KINDS = {
    "loading, with rendering": ("dataloader",),
    "recurrent layers": ("rnn", "lstm"),
    "convolutions": ("conv",),
    "pooling": ("max_pool", "maxpool"),
    "matrix products": ("mm", "matmul", "einsum", "linear", "cdist", "dot"),
    "Fourier transforms": ("fft",),
    "optimiser": ("adam", "lerp_", "addcdiv_", "addcmul_"),
    "copies and fills": ("copy_", "fill_", "zero_", "cat", "contiguous", "clone", "to_copy", "index", "gather"),
    "sorting and selection": ("sort", "topk", "argmax", "searchsorted", "nonzero", "unique"),
    "elementwise and reductions": ("",),
}


def breakdown(work: str, way: Callable[[], Any], device: torch.device) -> Table:
    """Run a piece of work twice, the second time under torch's profiler, and tabulate its own time by kind.

    Args:
        work: what is done.
        way: does it.
        device: on whose time is looked at.

    Returns:
        Kinds of operation with milliseconds and share of the total, the costliest first. What no operation of torch
        took is Python's and NumPy's on a CPU, and waiting on a GPU.
    """
    way()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiled:
        begun = clock(device)
        way()
        total = 1000 * (clock(device) - begun)
    milliseconds: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        if event.device_type != DeviceType.CPU:  # a kernel, whose time its operation has too
            continue
        own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        name = event.key.lower()
        kind = next(kind for kind, parts in KINDS.items() if any(part in name for part in parts))
        milliseconds[kind] += own / 1000
    outside = "waiting" if device.type == "cuda" else "Python and NumPy"
    milliseconds[outside] = total - sum(milliseconds.values())
    table = Table(work, "ms", "share")
    for kind, own in sorted(milliseconds.items(), key=lambda item: -item[1]):
        table.add_row(kind, f"{own:,.1f}", f"{own / total:.1%}")
    table.add_section()
    table.add_row("total", f"{total:,.1f}", "")
    return table
