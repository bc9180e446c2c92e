"""`separatrix benchmark`: speed, side by side in one run, as ratios that hold on another machine too."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from experiments.benchmarks.bank import benchmark_bank
from experiments.benchmarks.breakdown import breakdown
from experiments.benchmarks.clustering import benchmark_clustering
from experiments.benchmarks.comparison import Comparison, Measurement, measure
from experiments.benchmarks.evaluation import benchmark_evaluation
from experiments.benchmarks.growth import benchmark_growth
from experiments.benchmarks.loss import benchmark_loss
from experiments.benchmarks.options import benchmark_options
from experiments.benchmarks.rendering import benchmark_rendering
from experiments.benchmarks.scores import benchmark_scores
from experiments.benchmarks.separation import benchmark_separation
from experiments.benchmarks.training import benchmark_training
from experiments.command_line.parser import command_parser
from experiments.command_line.text import did_you_mean
from experiments.training.run_description import environment
from lightning_modules.errors import InputError

# Each yields its rows one by one, and keeps what they need (files, a bank) for as long as they are measured.
BENCHMARKS: dict[str, Callable[[torch.device], Iterator[Comparison]]] = {
    "rendering": benchmark_rendering,
    "bank": benchmark_bank,
    "loss": benchmark_loss,
    "training": benchmark_training,
    "clustering": benchmark_clustering,
    "scores": benchmark_scores,
    "evaluation": benchmark_evaluation,
    "options": benchmark_options,
    "growth": benchmark_growth,
    "separate": benchmark_separation,
}


def command(arguments: list[str]) -> None:
    """`separatrix benchmark ...`.

    Args:
        arguments: the command's name and what follows it.

    Raises:
        InputError: a name is not a benchmark's, or there is no GPU to run on.
    """
    parser = command_parser(
        "benchmark",
        "Measure this project's code and the usual alternative in turn, on the same data, and print how many times as\n"
        "fast it is. All rows take a quarter of an hour on one core.",
        "benchmark rendering --json rendering.json",
    )
    parser.add_argument("names", nargs="*", help=f"what to measure: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where models and losses run")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--json", help="file to write the seconds of every run to")
    parser.add_argument(
        "--profile", action="store_true", help="instead of comparing, show where the time of this project's code goes"
    )
    options = parser.parse_args(arguments[1:])
    for name in options.names:
        if name not in BENCHMARKS:
            meant = did_you_mean(name, BENCHMARKS) or f"; one of {', '.join(BENCHMARKS)}"
            raise InputError(f"{name}: no such benchmark{meant}")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda, but torch sees no GPU; leave it out to measure on the CPU")
    if options.profile and options.json:
        raise InputError("json: times are not compared under --profile; leave one of the two out")
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    comparisons = (row for name in options.names or BENCHMARKS for row in BENCHMARKS[name](device))
    if options.profile:
        _profile(comparisons, device)
        return
    measurements: list[Measurement] = []
    try:
        with Console(stderr=True).status("") as status:
            for comparison in comparisons:
                status.update(f"{comparison.work}, against {comparison.reference_name}")
                measurements.append(measure(comparison, device))
    finally:  # minutes of measuring are not lost to what comes after them
        _console().print(_table(measurements))
        if options.json:
            rows = [row._asdict() for row in measurements]
            found = environment() | {"device": options.device, "threads": options.threads, "rows": rows}
            Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


def _profile(comparisons: Iterable[Comparison], device: torch.device) -> None:
    known = set()
    for comparison in comparisons:
        if comparison.work not in known:
            known.add(comparison.work)
            _console().print(breakdown(comparison.work, comparison.ours, device))


def _console() -> Console:
    return Console(width=max(160, Console().width))


def _table(measurements: list[Measurement]) -> Table:
    table = Table("work", "items a second", "against", "times as fast", "min", "max", "wanted")
    if any(row.peak_bytes is not None for row in measurements):
        table.add_column("peak GPU memory")
    if any(row.process_bytes is not None for row in measurements):
        table.add_column("peak memory, other's")
    for row in measurements:
        spread = [f"{value:.2f}" for value in (row.ratio, min(row.ratios), max(row.ratios))]
        memory = [] if row.peak_bytes is None else [f"{row.peak_bytes / 2**30:.1f} GiB"]
        if row.process_bytes is not None:
            memory.append(", ".join(f"{peak / 2**20:.0f} MiB" for peak in row.process_bytes))
        table.add_row(row.work, f"{row.rate:,.1f}", row.reference_name, *spread, _verdict(row), *memory)
    return table


def _verdict(row: Measurement) -> str:
    if row.wanted is None:
        return ""
    return f"{row.wanted:.2f}: {'met' if row.ratio >= row.wanted else f'missed by {1 - row.ratio / row.wanted:.0%}'}"
