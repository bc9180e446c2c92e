"""Stages of a reproduction: ordinary `separatrix` commands, run in the order of their needs, each only once."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

from rich.console import Console

from experiments.cli import main
from experiments.configuration import config_path, options
from experiments.freed_memory import keep_freed_memory
from experiments.termination import TERMINATED, Terminated, end_on_sigterm
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.errors import InputError

CONSOLE = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


@dataclass(frozen=True)
class Stage:
    """One command of a reproduction.

    Attributes:
        name: unique, such as `frame.fit`.
        arguments: of `separatrix`.
        run: folder that the command writes to.
        needs: names of the stages whose results it uses.
    """

    name: str
    arguments: tuple[str, ...]
    run: Path
    needs: tuple[str, ...] = ()

    @property
    def last_checkpoint(self) -> Path:
        """Where a training keeps what it goes on from."""
        return self.run / "checkpoints" / "last.ckpt"

    @property
    def begun(self) -> bool:
        """Whether the folder holds a part of the command's results, which the command goes on from."""
        results = {
            "fit": self.last_checkpoint,
            "validate": self.run / "validation_scores.parts",
            "test": self.run / "scores.parts",
        }.get(self.arguments[0])
        return results is not None and results.exists()

    @property
    def log(self) -> Path:
        """What the command printed, where it does not run in the foreground."""
        return self.run / f"{self.name}.log"

    def command(self) -> list[str]:
        """Arguments of `separatrix`, going on from the last epoch where there is one."""
        resumed = self.arguments[0] == "fit" and self.last_checkpoint.exists()
        return [*self.arguments, *(("--ckpt_path", str(self.last_checkpoint)) if resumed else ())]

    def shown(self, launch: Sequence[str] = ()) -> str:
        """The command as a shell takes it; `launch` starts its ranks, if it has any."""
        return shlex.join([*self._launched(launch), "separatrix", *self.arguments])

    def words(self, launch: Sequence[str] = ()) -> list[str]:
        """The command as a process of its own."""
        return [*self._launched(launch), sys.executable, "-m", "experiments.cli", *self.command()]

    def _launched(self, launch: Sequence[str]) -> Sequence[str]:
        return () if self.arguments[0] == "bank" else launch

    def __str__(self) -> str:
        return self.shown()


def config_options(*names: str) -> list[str]:
    """`--config` for each of these configurations."""
    return [word for name in names for word in ("--config", name)]


def data_options(settings: list[str]) -> list[str]:
    """Those of the settings that are of the data."""
    return [word for option in options(settings) if option[0].startswith("--data.") for word in option]


def best_checkpoint(run: Path) -> str:
    """Where a training keeps the weights of its best epoch."""
    return str(run / "checkpoints" / "best.ckpt")


class Record:
    """What a stage's folder says of how far the stage came, and with which configuration.

    Args:
        stage: the stage.
        needs: fingerprints of the stages that it needs.
    """

    def __init__(self, stage: Stage, needs: Iterable[str]) -> None:
        self.stage = stage
        self.path = stage.run / f"{stage.name}.json"
        self.fingerprint = _fingerprint(stage, needs)

    def state(self) -> str | None:
        """`started` or `complete` with this configuration, None if never started.

        Raises:
            InputError: the folder holds the stage with another configuration.
        """
        try:
            stored = json.loads(self.path.read_text())
            state, fingerprint = stored["state"], stored["fingerprint"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{self.path}: damaged; delete it to run {self.stage.name} again") from None
        if fingerprint != self.fingerprint:
            if state == "started" and not self.stage.begun:
                return None  # it was refused, as a rule: nothing of it is there
            raise InputError(
                f"{self.path.parent}: holds a run of another configuration; choose another --output or delete it"
            )
        return str(state)

    def write(self, state: str) -> None:
        """Write the state, as a whole or not at all."""
        write_text_atomically(self.path, json.dumps({"state": state, "fingerprint": self.fingerprint}) + "\n")


# How a stage is followed, how fast it is and where its bank lies decide nothing of what it makes.
_NO_PART_OF_IT = ("--logger", "--group", "--data.workers", "--data.bank_folder", "--trainer.enable_progress_bar")


def _fingerprint(stage: Stage, needs: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for before, argument in zip(("", *stage.arguments), stage.arguments, strict=False):
        if argument.split("=")[0] in _NO_PART_OF_IT or before in _NO_PART_OF_IT:
            continue
        # Where results lie is no part of what they are; those of other stages count by their fingerprints.
        if before not in ("--run", "--model.judge", "--model.checkpoints", "--ckpt_path"):
            digest.update(_content(before, argument))
        digest.update(b"\0")
    for need in needs:
        digest.update(need.encode())
    return digest.hexdigest()


def _content(option: str, value: str) -> bytes:
    if option == "--config":
        return config_path(value).read_bytes()
    return (os.path.abspath(value) if option == "--data.corpus.root" else value).encode()


def run_stages(stages: Sequence[Stage], jobs: int, apart: bool = False, launch: Sequence[str] = ()) -> None:
    """Run what is not complete, side by side where the needs allow it.

    Args:
        stages: in an order in which each comes after those that it needs.
        jobs: how many run at a time; one runs in this process, several in as many processes, with an equal share of the
            cores each, that import everything once.
        apart: give each stage a process of its own, one after the other: training on several devices starts its further
            ranks by running the same command again.
        launch: words of a launcher, such as `srun`, that starts the ranks of every stage but the banks; means `apart`.

    Raises:
        InputError: a stage failed on its input, or its folder holds another configuration.
    """
    records: dict[str, Record] = {}
    for stage in stages:
        records[stage.name] = Record(stage, [records[need].fingerprint for need in stage.needs])
    waiting = [stage for stage in stages if records[stage.name].state() != "complete"]
    for stage in stages:
        state = "to do" if stage in waiting else "complete"
        CONSOLE.print(f"{stage.name:<24} {state}   {stage.shown(launch)}", style="dim")
    started = time.monotonic()
    if jobs == 1 or apart or launch:
        for stage in waiting:
            CONSOLE.rule(stage.name)
            records[stage.name].write("started")
            status = _run_apart(stage.words(launch)) if apart or launch else main(stage.command())
            if status == TERMINATED:
                raise Terminated(status)
            if status:
                raise InputError(f"{stage.name} ended with status {status}; what was complete before is kept")
            records[stage.name].write("complete")
    else:
        _run_side_by_side(waiting, records, jobs)
    CONSOLE.print(f"{len(waiting)} stages in {_duration(time.monotonic() - started)}")


def _run_apart(words: list[str]) -> int:
    """Run a command as a process; interrupted, ask it to end and wait until it has."""
    process = subprocess.Popen(words)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _run_side_by_side(stages: Sequence[Stage], records: dict[str, Record], jobs: int) -> None:
    waiting = list(stages)
    unfinished = {stage.name for stage in stages}
    running: dict[Future[int], tuple[Stage, float]] = {}
    shown: dict[str, int] = {}
    # Fresh processes: forking one that has used torch's threads can hang. One thread each where jobs = cores.
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start_worker, initargs=(threads,)) as pool:
        try:
            while waiting or running:
                ready = [stage for stage in waiting if not unfinished & set(stage.needs)]
                for stage in ready[: jobs - len(running)]:
                    waiting.remove(stage)
                    records[stage.name].write("started")
                    shown[stage.name] = 0
                    stage.log.unlink(missing_ok=True)
                    CONSOLE.print(f"{stage.name:<24} started, log in {stage.log}")
                    running[pool.submit(_run_logged, stage)] = (stage, time.monotonic())
                finished, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                for stage, _begun in running.values():
                    shown[stage.name] = _show_epochs(stage, shown[stage.name])
                for future in finished:
                    stage, begun = running.pop(future)
                    try:
                        status = future.result()
                    except BrokenProcessPool:
                        raise InputError(f"{stage.name}: its process was killed, for memory as a rule") from None
                    if status == TERMINATED:
                        raise Terminated(status)
                    if status:
                        last = stage.log.read_text(errors="replace").strip().splitlines()[-1:]
                        raise InputError(
                            f"{stage.name} ended with status {status}: {' '.join(last)} (log: {stage.log})"
                        )
                    records[stage.name].write("complete")
                    unfinished.discard(stage.name)
                    CONSOLE.print(f"{stage.name:<24} complete after {_duration(time.monotonic() - begun)}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise


def _start_worker(threads: int) -> None:
    """In a worker: take a share of the cores, keep memory, end with the process that started it, however that ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    end_on_sigterm()
    keep_freed_memory()
    import torch

    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_logged(stage: Stage) -> int:
    """In a worker: run the command with its output in the stage's log."""
    stage.run.mkdir(parents=True, exist_ok=True)
    with stage.log.open("w") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            return main(stage.command())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            os.close(kept[0])
            os.close(kept[1])


def _show_epochs(stage: Stage, position: int) -> int:
    """Print the log's new epoch lines; returns the position read up to."""
    try:
        with stage.log.open() as log:
            log.seek(position)
            text = log.read()
    except FileNotFoundError:
        return position
    complete = text[: text.rfind("\n") + 1]
    for line in complete.splitlines():
        if line.startswith("epoch "):
            CONSOLE.print(f"{stage.name:<24} {line}")
    return position + len(complete.encode())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
