"""Running the stages of a reproduction in the order of their needs, each only once."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from callbacks.step_progress import EVERY, Progress, StepProgress
from callbacks.training_progress import LATER, WRAPPED, duration, wrapped
from experiments.cli import main
from experiments.command_line.freed_memory import keep_freed_memory
from experiments.command_line.termination import INTERRUPTED, TERMINATED, end_on_sigterm, end_with_parent, held_back
from experiments.reproduction.stage import Record, Stage
from experiments.reproduction.time_left import Forecast
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles

CONSOLE = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def run_stages(stages: Sequence[Stage], jobs: int, apart: bool = False, launch: Sequence[str] = ()) -> None:
    """Run what is not complete, side by side where the needs allow it.

    Args:
        stages: each comes after those that it needs.
        jobs: how many run at a time; one runs in this process, several in as many processes, with an equal share of the
            cores each, that import everything once.
        apart: give each stage a process of its own, one after the other: training on several devices starts its further
            ranks by running the same command again.
        launch: words of a launcher, such as `srun`, that starts the ranks of every stage but the banks; means `apart`.
    """
    apart = apart or bool(launch)
    records: dict[str, Record] = {}
    for stage in stages:
        records[stage.name] = Record(stage, [records[need].fingerprint for need in stage.needs])
    waiting = [stage for stage in stages if records[stage.name].state() != "complete"]
    at_a_time = "one at a time" if apart or jobs == 1 else f"{jobs} at a time"
    CONSOLE.print(f"{len(stages)} stages, {len(waiting)} left, {at_a_time}; Ctrl-C stops, the same command resumes")
    for state, which in (("complete", [s for s in stages if s not in waiting]), ("to do", waiting)):
        if which:
            CONSOLE.print(f"{state}: {', '.join(stage.name for stage in which)}", style="dim", soft_wrap=False)
    started = time.monotonic()
    forecast = Forecast(waiting, 1 if apart else jobs)
    if jobs == 1 or apart:
        for done, stage in enumerate(waiting, len(stages) - len(waiting) + 1):
            CONSOLE.rule(f"{stage.name}, {done} of {len(stages)}")
            records[stage.name].write("started")
            begun, os.environ[LATER] = time.monotonic(), forecast.later(stage)
            status = _run_apart(stage.words(launch)) if apart else main(stage.command())
            del os.environ[LATER]
            _require_success(stage, status, "; what was complete before is kept")
            records[stage.name].write("complete")
            forecast.complete(stage, time.monotonic() - begun)
    else:
        _run_side_by_side(waiting, records, jobs, forecast)
    CONSOLE.print(f"{len(waiting)} stages in {duration(time.monotonic() - started)}")


def _require_success(stage: Stage, status: int, reason: str) -> None:
    if status in (INTERRUPTED, TERMINATED):
        raise SystemExit(status)
    if status:
        raise InputError(f"{stage.name} ended with status {status}{reason}")


def _run_apart(words: list[str]) -> int:
    """Run a command as a process; interrupted, ask it to end and wait until it has."""
    with held_back(signal.SIGINT):  # Ctrl-C is for all in the terminal: the stage would be asked to end twice
        process = subprocess.Popen(words)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _run_side_by_side(stages: Sequence[Stage], records: dict[str, Record], jobs: int, forecast: Forecast) -> None:
    waiting, unfinished = list(stages), {stage.name for stage in stages}
    progress: dict[str, Progress] = {}  # of those that run
    running: dict[Future[int], tuple[Stage, float]] = {}
    shown: dict[str, int] = {}  # by stage, how much of its log
    # Fresh processes: forking one that has used torch's threads can hang. One thread each where jobs = cores.
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = get_context("spawn")
    told, display = context.SimpleQueue(), _Display()
    pool = ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(threads, told))
    with display.bars, pool:
        try:
            while waiting or running:
                ready = [stage for stage in waiting if not unfinished & set(stage.needs)]
                for stage in ready[: jobs - len(running)]:
                    waiting.remove(stage)
                    records[stage.name].write("started")
                    shown[stage.name] = 0
                    log = _log(stage)
                    log.unlink(missing_ok=True)
                    CONSOLE.print(wrapped([f"{stage.name:<24} started", f"log: {log}"]))
                    # `submit` may start a process. Ctrl-C reaches all in the terminal, and this one ends the others.
                    with held_back(signal.SIGINT, signal.SIGTERM):
                        running[pool.submit(_run_logged, stage)] = (stage, time.monotonic())
                finished, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                while not told.empty():
                    name, found = told.get()
                    progress[name] = found
                for stage, _begun in running.values():
                    shown[stage.name] = _show_epochs(stage, shown[stage.name])
                for future in finished:
                    stage, begun = running.pop(future)
                    try:
                        status = future.result()
                    except BrokenProcessPool:  # which takes all that run along
                        names = [stage.name, *(other.name for other, _ in running.values())]
                        of = "its process" if len(names) == 1 else "the process of one"
                        raise InputError(f"{', '.join(sorted(names))}: {of} was killed, for memory as a rule") from None
                    last = _log(stage).read_text(errors="replace").strip().splitlines()[-1:]
                    _require_success(stage, status, f": {' '.join(last)} (log: {_log(stage)})")
                    records[stage.name].write("complete")
                    unfinished.discard(stage.name)
                    took, last_told = time.monotonic() - begun, progress.pop(stage.name, None)
                    forecast.complete(stage, max(took, last_told.took) if last_told else took)
                    done = f"{len(records) - len(unfinished)} of {len(records)}{_about(forecast.seconds(progress))}"
                    CONSOLE.print(wrapped([f"{stage.name:<24} complete after {duration(took)}", done]))
                display.show(len(records) - len(unfinished), len(records), progress, forecast.seconds(progress))
        except BaseException:
            for process in list((pool._processes or {}).values()):  # which `shutdown` forgets
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def _log(stage: Stage) -> Path:
    return RunFiles(stage.run).stage_log(stage.name)


class _Display:
    """How far the stages are: on a terminal a bar each, below the lines, in a log a line a minute."""

    def __init__(self) -> None:
        columns = TextColumn("{task.description}"), BarColumn(16), TextColumn("{task.fields[left]}")
        self.bars = Bars(*columns, console=CONSOLE, transient=True, auto_refresh=False, disable=not CONSOLE.is_terminal)
        self._shown = time.monotonic()

    def show(self, done: int, stages: int, running: Mapping[str, Progress], seconds: float | None) -> None:
        """Show how many stages are done, how far those are that run, by name, and the time left for all."""
        if not CONSOLE.is_terminal:
            if running and time.monotonic() - self._shown > EVERY:
                self._shown = time.monotonic()
                total = f"{done} of {stages} stages{_about(seconds)}"
                CONSOLE.print(wrapped([total, *(f"{name} {progress}" for name, progress in running.items())]))
            return
        for bar in self.bars.task_ids:
            self.bars.remove_task(bar)
        for name, (doing, share, _, own) in running.items():
            self.bars.add_task(
                f"{name:<24} {doing}",
                total=100,
                completed=round(100 * share),
                left=f"{duration(own)} left" if own else "",
            )
        self.bars.add_task(f"{done} of {stages} stages", total=stages, completed=done, left=_about(seconds)[2:])
        self.bars.refresh()


def _about(seconds: float | None) -> str:
    return f", about {duration(seconds)} left" if seconds else ""


_told: Any = None  # a worker's queue to the process that shows how far the stages are


def _start_worker(threads: int, told: Any) -> None:
    """Begin a worker as a command's own process begins, with a share of the cores."""
    global _told
    _told = told
    end_on_sigterm()
    end_with_parent()
    keep_freed_memory()
    import torch

    torch.set_num_threads(threads)


def _run_logged(stage: Stage) -> int:
    """Run the command in a worker, with its output, also that of libraries in C, in the stage's log."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # which may have come while this process began
    StepProgress.listener = lambda progress: _told.put((stage.name, progress))
    stage.run.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as after, _log(stage).open("w") as log:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            kept = os.dup(number)
            os.dup2(log.fileno(), number)
            after.callback(os.close, kept)
            after.callback(os.dup2, kept, number)
            after.callback(stream.flush)
        return main(stage.command())


def _show_epochs(stage: Stage, position: int) -> int:
    """Print the log's new epoch lines; returns the position read up to."""
    try:
        text = _log(stage).read_bytes()[position:]
    except FileNotFoundError:
        return position
    complete = text[: text.rfind(b"\n") + 1]
    for line in complete.decode(errors="replace").replace(WRAPPED, "  ").splitlines():
        if line.startswith("epoch "):
            CONSOLE.print(wrapped(line.split("  "), f"{stage.name:<24} "))
    return position + len(complete)
