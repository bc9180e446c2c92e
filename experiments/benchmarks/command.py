"""`separatrix benchmark`: speed, side by side in one run, as ratios that hold on another machine too."""

import json
import statistics
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.command_line.parser import command_parser
from experiments.command_line.text import did_you_mean
from lightning_modules.errors import InputError

# Of each the module, whose function `benchmark_NAME` yields rows one by one, and keeps what they need (files, a bank)
# for as long as they are measured.
BENCHMARKS = {
    **{"rendering": "data", "bank": "data", "loss": "deep_clustering", "training": "training", "networks": "networks"},
    **{"clustering": "deep_clustering", "scores": "evaluation", "evaluation": "evaluation", "separate": "separation"},
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
    options = parser.parse_args(arguments[1:])
    for name in options.names:
        if name not in BENCHMARKS:
            meant = did_you_mean(name, BENCHMARKS) or f"; one of {', '.join(BENCHMARKS)}"
            raise InputError(f"{name}: no such benchmark{meant}")
    import torch
    from threadpoolctl import threadpool_limits

    from experiments.benchmarks.comparison import measure
    from experiments.training.run_description import environment

    if options.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda, but torch sees no GPU; leave it out to measure on the CPU")
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    console = Console(width=max(160, Console().width))
    rows: list[dict[str, Any]] = []
    try:
        with threadpool_limits(options.threads), Console(stderr=True).status("") as status:
            for name in options.names or BENCHMARKS:
                module = import_module(f"experiments.benchmarks.{BENCHMARKS[name]}")
                for comparison in getattr(module, f"benchmark_{name}")(device):
                    status.update(f"{comparison.work}, against {comparison.reference_name}")
                    rows.append(measure(comparison, device))
    finally:  # minutes of measuring are not lost to what comes after them
        if options.json:
            found = environment() | {"device": options.device, "threads": options.threads, "rows": rows}
            Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
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
