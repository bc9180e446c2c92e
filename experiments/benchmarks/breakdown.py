"""Where the time of a piece of work goes, by kind of operation."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table
from torch.autograd import DeviceType
from torch.profiler import profile

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
    """Kinds of operation with their own milliseconds and share, the costliest first, of a way's second run.

    What no operation of torch took is Python's and NumPy's on a CPU, and waiting on a GPU.
    """
    way()
    with profile() as profiled:
        begun = clock(device)
        way()
        total = 1000 * (clock(device) - begun)
    milliseconds: dict[str, float] = defaultdict(float)
    for event in profiled.key_averages():
        if event.device_type != DeviceType.CPU:  # a kernel, whose time its operation has too
            continue
        own = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        kind = next(kind for kind, parts in KINDS.items() if any(part in event.key.lower() for part in parts))
        milliseconds[kind] += own / 1000
    milliseconds["waiting" if device.type == "cuda" else "Python and NumPy"] = total - sum(milliseconds.values())
    table = Table(work, "ms", "share")
    for kind, own in sorted(milliseconds.items(), key=lambda item: -item[1]):
        table.add_row(kind, f"{own:,.1f}", f"{own / total:.1%}")
    table.add_section()
    table.add_row("total", f"{total:,.1f}", "")
    return table
