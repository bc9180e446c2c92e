"""`separatrix benchmark`: speed, side by side in one run, as ratios that hold on another machine too."""

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from experiments.benchmarks.breakdown import breakdown
from experiments.benchmarks.comparison import Comparison, measure
from experiments.benchmarks.data import benchmark_bank, benchmark_rendering
from experiments.benchmarks.deep_clustering import benchmark_clustering, benchmark_loss
from experiments.benchmarks.evaluation import benchmark_evaluation, benchmark_scores
from experiments.benchmarks.growth import benchmark_growth
from experiments.benchmarks.separation import benchmark_separation
from experiments.benchmarks.training import benchmark_options, benchmark_training
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
    """`separatrix benchmark ...`, the command's name in front."""
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
    console = Console(width=max(160, Console().width))
    rows: list[dict[str, Any]] = []
    profiled = set()
    try:
        with threadpool_limits(options.threads), Console(stderr=True).status("") as status:
            for comparison in (row for name in options.names or BENCHMARKS for row in BENCHMARKS[name](device)):
                status.update(f"{comparison.work}, against {comparison.reference_name}")
                if not options.profile:
                    rows.append(measure(comparison, device))
                elif comparison.work not in profiled:
                    profiled.add(comparison.work)
                    status.stop()  # the table would be printed into it
                    console.print(breakdown(comparison.work, comparison.ours, device))
    finally:  # minutes of measuring are not lost to what comes after them
        if options.json:
            found = environment() | {"device": options.device, "threads": options.threads, "rows": rows}
            Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
        if not options.profile:
            console.print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("work", "items a second", "against", "times as fast", "min", "max", "wanted")
    if any(any(row["peak_bytes"]) for row in rows):
        table.add_column("peak memory, other's")
    for row in rows:
        scale = row["items"] / row["reference_items"]
        ratios = [theirs / mine * scale for mine, theirs in zip(row["ours"], row["reference"], strict=True)]
        ratio, rate = statistics.median(ratios), row["items"] / statistics.median(row["ours"])
        missed = f"missed by {1 - ratio / row['wanted']:.0%}" if row["wanted"] and ratio < row["wanted"] else "met"
        wanted = f"{row['wanted']:.2f}: {missed}" if row["wanted"] else ""
        memory = [", ".join(f"{peak / 2**20:,.0f} MiB" for peak in row["peak_bytes"])] if any(row["peak_bytes"]) else []
        spread = [f"{value:.2f}" for value in (ratio, min(ratios), max(ratios))]
        table.add_row(row["work"], f"{rate:,.1f}", row["reference_name"], *spread, wanted, *memory)
    return table
