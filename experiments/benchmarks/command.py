"""`separatrix benchmark`: speed, side by side in one run, as ratios that hold on another machine too."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from experiments.benchmarks.clustering import benchmark_clustering
from experiments.benchmarks.measure import Measurement
from experiments.benchmarks.rendering import benchmark_rendering
from lightning_modules.errors import InputError

BENCHMARKS: dict[str, Callable[[], list[Measurement]]] = {
    "clustering": benchmark_clustering,
    "rendering": benchmark_rendering,
}


def command(arguments: list[str]) -> None:
    """`separatrix benchmark ...`."""
    parser = ArgumentParser(
        prog="separatrix benchmark",
        description="Measure this project's code and the usual alternative in turn, on the same data.",
        exit_on_error=False,
        epilog="example: separatrix benchmark rendering --json rendering.json",
    )
    parser.add_argument("names", nargs="*", help=f"what to measure: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--json", help="file to write the seconds of every run to")
    options = parser.parse_args(arguments[1:])
    for name in options.names:
        if name not in BENCHMARKS:
            raise InputError(f"{name}: no such benchmark; one of {', '.join(BENCHMARKS)}")
    torch.set_num_threads(options.threads)
    measurements = [row for name in options.names or BENCHMARKS for row in BENCHMARKS[name]()]
    Console(width=max(120, Console().width)).print(_table(measurements))
    if options.json:
        Path(options.json).write_text(json.dumps([row._asdict() for row in measurements], indent=2) + "\n")


def _table(measurements: list[Measurement]) -> Table:
    table = Table("work", "items a second", "against", "times faster: median", "min", "max")
    for row in measurements:
        ratios = row.ratios
        spread = [f"{value:.1f}" for value in (statistics.median(ratios), min(ratios), max(ratios))]
        table.add_row(row.work, f"{row.rate:,.0f}", row.reference_name, *spread)
    return table
