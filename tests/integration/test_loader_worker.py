"""A loader's worker that fails alone ends the command at once, in one line."""

import os
import signal
import time
from pathlib import Path

import pytest
from interruptible import epochs

from datamodules.loader_worker import lost_worker


def test_a_worker_that_is_killed_ends_the_training_in_one_line(separatrix, tmp_path):
    run, settings = tmp_path / "run", {"data.workers": 1, "trainer.max_epochs": 100_000}
    with separatrix.process("fit", *separatrix.arguments("strong", settings), "--run", run) as running:
        while not epochs(run):
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        of_main = Path(f"/proc/{running.pid}/cmdline").read_bytes()
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        # Workers are forked, other helpers of Python's are commands of their own.
        worker = next(child for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == of_main)
        os.kill(int(worker), signal.SIGKILL)
        _, err = running.communicate(timeout=60)
    lines = [line for line in err.splitlines() if line.startswith("separatrix fit: ")]
    assert running.returncode == 2 and "Traceback" not in err, err
    assert len(lines) == 1 and "DataLoader worker" in lines[0] and "--data.workers 0" in lines[0]


@pytest.mark.parametrize(
    ("told", "of_a_worker"),
    [
        ("DataLoader worker (pid 7) exited unexpectedly", True),
        ("Too many open files. Communication", True),
        ("x", False),
    ],
)
def test_only_what_torch_says_of_workers_is_told_as_theirs(told, of_a_worker):
    assert (lost_worker(RuntimeError(told)) is not None) is of_a_worker
