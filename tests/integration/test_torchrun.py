"""Ranks that torchrun starts: the real launcher, on the CPU.

`--` ends its own options: on Python 3.11 it would take --run for an abbreviation of one of them, wherever it stands.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def torchrun(*words, **environment):
    """Two ranks of a program, to their end."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    launcher += ["--"]
    return subprocess.run(
        [*launcher, *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_torchruns_ranks_write_the_rows_of_one_process(separatrix, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    given = ["--ckpt_path", separatrix.best("strong")]
    separatrix.succeed("test", *separatrix.arguments("strong"), *given, "--run", one)
    arguments = [*separatrix.arguments("strong", {"trainer.devices": 2}), *given, "--run", two]
    outcome = torchrun(sys.executable, "-m", "experiments.cli", "test", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    assert (two / "scores.csv").read_bytes() == (one / "scores.csv").read_bytes()
    for told in ("test ", "rows: ", "next "):
        assert len(re.findall(f"^{told}", outcome.stdout, re.MULTILINE)) == 1


def test_one_rank_that_fails_ends_all(separatrix, tmp_path):
    rank, pids = tmp_path / "rank", tmp_path / "pids"
    command = f'exec {sys.executable} -m experiments.cli "$@"'
    rank.write_text(f'#!/bin/sh\necho $$ >> {pids}\n[ "$RANK" = 1 ] && exit 3\n{command}\n')
    rank.chmod(0o755)
    arguments = separatrix.arguments("strong", {"trainer.devices": 2, "trainer.max_epochs": 1000})
    outcome = torchrun(rank, "fit", *arguments, "--data.batch_size", 2, "--run", tmp_path / "run")
    assert outcome.returncode != 0 and "exitcode  : 3" in outcome.stderr
    begun = list(map(int, pids.read_text().split()))
    assert len(begun) == 2
    for pid in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
