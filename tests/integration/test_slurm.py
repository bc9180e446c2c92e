"""The batch scripts without a cluster: these tests play `sbatch`, programs made here `srun` and `scontrol`."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch

from experiments.reproduction.command import Preset

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "experiments" / "slurm").glob("*.sbatch"))

# Starts its command once per task with the variables that srun sets, hands TERM on, ends all with the first that fails.
SRUN = """
import os, signal, subprocess, sys, time
words = sys.argv[1:]
with open(os.environ["RECORD"], "a") as record:
    record.write("srun " + " ".join(words) + chr(10))
while words[0].startswith("--"):
    words.pop(0)
tasks = []
signal.signal(signal.SIGTERM, lambda *_: [task.terminate() for task in tasks])
for rank in range(int(os.environ["SLURM_NTASKS"])):
    step = {"SLURM_STEP_NUM_TASKS": os.environ["SLURM_NTASKS"], "SLURM_NODEID": "0"}
    step |= {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
    tasks.append(subprocess.Popen(words, env={**os.environ, **step}))
while any(task.poll() is None for task in tasks):
    if any(task.poll() for task in tasks):
        [task.terminate() for task in tasks]
    time.sleep(0.05)
sys.exit(max(task.returncode if task.returncode >= 0 else 128 - task.returncode for task in tasks))
"""


class Cluster:
    """A cluster of one machine.

    Args:
        folder: for its programs and what they note.
    """

    def __init__(self, folder: Path) -> None:
        self.programs, self.record = folder / "bin", folder / "record"
        self.programs.mkdir()
        self.record.touch()
        self.program("srun", f"#!{sys.executable}{SRUN}")
        self.program("scontrol", '#!/bin/sh\necho scontrol "$@" >> "$RECORD"\n')
        self.program("separatrix", f'#!/bin/sh\nexec {sys.executable} -m experiments.cli "$@"\n')

    def program(self, name: str, text: str) -> None:
        """Put a program on the path."""
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    @property
    def noted(self) -> list[str]:
        """The calls of srun and scontrol."""
        return self.record.read_text().splitlines()

    @contextlib.contextmanager
    def job(self, script: Path, *arguments: str | Path, tasks: int = 1, nodes: int = 1) -> Iterator[subprocess.Popen]:
        """A batch script as SLURM would run it, in a process group of its own."""
        asked = head(script)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")} | {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "RECORD": str(self.record),
            "OMP_NUM_THREADS": "1",
            "MASTER_PORT": str(free_port()),
            "SLURM_JOB_ID": "4242",
            "SLURM_JOB_NAME": asked.get("job-name", "job"),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_NODELIST": "localhost",
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_NNODES": str(nodes),
            "SLURM_NTASKS": str(nodes * tasks),
            "SLURM_NTASKS_PER_NODE": str(tasks),
            "SLURM_CPUS_PER_TASK": asked.get("cpus-per-task", "1"),
            # So it is in a batch script, which is no task of a step.
            "SLURM_PROCID": "0",
            "SLURM_LOCALID": "0",
            "SLURM_NODEID": "0",
        }
        running = subprocess.Popen(
            ["bash", script, *map(str, arguments)],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        with running:
            try:
                yield running
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)

    def run(self, script: Path, *arguments: str | Path, **resources: int) -> tuple[int, str]:
        """A job to its end: status and log."""
        with self.job(script, *arguments, **resources) as running:
            log, _ = running.communicate(timeout=300)
        return running.returncode, log

    def interrupt(
        self, until: Path, number: signal.Signals, script: Path, *arguments: str | Path, **resources: int
    ) -> tuple[int, str]:
        """A job that is sent a signal, to the batch script alone, once a file is there."""
        with self.job(script, *arguments, **resources) as running:
            while not until.exists():
                assert running.poll() is None, running.communicate()
                time.sleep(0.01)
            running.send_signal(number)
            log, _ = running.communicate(timeout=60)
        return running.returncode, log


def head(script: Path) -> dict[str, str]:
    """What a batch script asks for."""
    lines = [line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def cluster(tmp_path):
    """A cluster of one machine."""
    return Cluster(tmp_path)


def script_of(name):
    return ROOT / "experiments" / "slurm" / f"{name}.sbatch"


def test_every_preset_has_a_batch_script():
    assert [script.stem for script in SCRIPTS] == sorted([*get_args(Preset), "fit"])


def test_the_page_on_clusters_tells_of_every_script_and_of_none_else():
    told = set(re.findall(r"experiments/[a-z]+/[a-z_]+\.[a-z]+", (ROOT / "docs" / "clusters.md").read_text()))
    files = [path for folder in ("slurm", "sweeps") for path in (ROOT / "experiments" / folder).iterdir()]
    assert told == {str(path.relative_to(ROOT)) for path in files}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_batch_script_asks_to_be_told_and_to_be_queued_again(script):
    asked = head(script)
    assert {"requeue", "time", "nodes", "ntasks-per-node", "cpus-per-task"} <= asked.keys()
    assert asked["open-mode"] == "append"  # the log of the first start is kept
    kind, seconds = asked["signal"].split("@")
    assert kind == "B:USR1" and int(seconds) >= 60


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / "experiments/slurm/requeue.sh"], ids=lambda script: script.name)
def test_a_script_is_one_for_bash_and_shellcheck(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_batch_script_gives_the_command_what_the_job_has(script, cluster, separatrix, tmp_path, monkeypatch):
    cluster.program("separatrix", '#!/bin/sh\nprintf "%s\\n" "$@" > "$RECORD.words"\n')
    if script.stem == "fit":
        system, further = [], separatrix.arguments("strong")
        cluster.program("srun", '#!/bin/sh\nshift\nexec "$@"\n')
    else:
        system, further = ["weak-labels"], [] if script.stem == "demo" else ["--data-root", "DATA"]
    status, log = cluster.run(script, *system, *further, tasks=4, nodes=2)
    assert status == 0, log
    words = (tmp_path / "record.words").read_text().splitlines()
    given = shlex.join(words)
    assert "--trainer.devices 4" in given and "--trainer.num_nodes 2" in given
    if script.stem == "fit":
        assert words[0] == "fit" and "--ckpt_path last" in given
        assert set(map(str, further)) <= set(words)
        return
    monkeypatch.setenv("PATH", f"{cluster.programs}:{os.environ['PATH']}")
    bank, *stages = separatrix.succeed(*words, "--dry-run").out.splitlines()
    assert bank.startswith("separatrix bank")
    assert all(stage.startswith("srun --kill-on-bad-exit=1 separatrix ") for stage in stages) and len(stages) == 12
    assert all(f"--preset {script.stem}" in stage for stage in stages)
    assert all(option in stage for stage in stages for option in ("--trainer.devices 4", "--trainer.num_nodes 2"))


# What a command does with TERM, the signal, the job's status, and whether it is queued again.
BODIES = [
    ("exit 2", None, 2, False),
    ("trap 'exit 143' TERM; touch $RECORD.ready; while :; do sleep 0.1; done", signal.SIGUSR1, 143, True),
    ("touch $RECORD.ready; exec sleep 60", signal.SIGUSR1, 143, True),
    ("trap 'exit 0' TERM; touch $RECORD.ready; while :; do sleep 0.1; done", signal.SIGUSR1, 0, False),
    ("trap 'exit 143' TERM; touch $RECORD.ready; while :; do sleep 0.1; done", signal.SIGTERM, 143, False),
]


@pytest.mark.parametrize("body, number, status, queued", BODIES)
def test_a_job_is_queued_again_when_its_time_is_over_and_the_command_is_not(
    body, number, status, queued, cluster, tmp_path
):
    script = tmp_path / "job.sbatch"
    script.write_text(f"#!/bin/bash\nexec experiments/slurm/requeue.sh bash -c {shlex.quote(body)}\n")
    if number is None:
        ended, log = cluster.run(script)
    else:
        ended, log = cluster.interrupt(tmp_path / "record.ready", number, script)
    assert ended == status, log
    assert cluster.noted == (["scontrol requeue 4242"] if queued else [])
    assert "job 4242, start 1, on localhost: bash -c" in log


def test_a_job_that_never_ends_is_not_queued_for_ever(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("MOST_RESTARTS", "1")
    script = tmp_path / "job.sbatch"
    body = "trap 'exit 143' TERM; touch $RECORD.ready; while :; do sleep 0.1; done"
    script.write_text(f"#!/bin/bash\nexec experiments/slurm/requeue.sh bash -c {shlex.quote(body)}\n")
    ended, log = cluster.interrupt(tmp_path / "record.ready", signal.SIGUSR1, script)
    assert ended == 143 and not cluster.noted
    assert "its time is over, not queued again (MOST_RESTARTS is 1)" in log


@pytest.mark.soak
def test_a_training_is_queued_again_and_goes_on_with_another_number_of_tasks(cluster, separatrix, tmp_path):
    # Sixty epochs leave time for the signal; what goes on needs fewer.
    training = [*separatrix.arguments("strong", {"trainer.max_epochs": "60"}), "--data.batch_size", 4]
    training += ["--run", tmp_path / "run"]
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    status, log = cluster.interrupt(last, signal.SIGUSR1, script_of("fit"), *training)
    assert status == 143, log
    assert [words.split()[0] for words in cluster.noted] == ["srun", "scontrol"]
    begun = torch.load(last, weights_only=True)["epoch"] + 1
    assert begun < 60

    training += ["--trainer.max_epochs", begun + 1, "--data.batch_size", 2]
    status, log = cluster.run(script_of("fit"), *training, tasks=2)
    assert status == 0, log
    assert torch.load(last, weights_only=True)["epoch"] == begun
    assert [words.split()[0] for words in cluster.noted] == ["srun", "scontrol", "srun"]
    assert f"epoch {begun + 1}/" in log and f"epoch {begun}/" not in log


@pytest.mark.soak
def test_an_interrupted_reproduction_is_queued_again_and_ends_with_the_table(cluster, separatrix, tmp_path):
    tiny = separatrix.as_options({**separatrix.data(), **separatrix.trainer})
    ranks = ["--trainer.devices", "1", "--trainer.num_nodes", "1"]  # as the batch script gives them
    separatrix.succeed("reproduce", "weak-labels", *ranks, *tiny, "--jobs", "1", "--output", tmp_path / "reference")
    output = tmp_path / "output"
    reproduction = (script_of("demo"), "weak-labels", *tiny, "--output", output)
    for row in ("strong", "judge_clip", "frame"):
        began = output / row / "checkpoints" / "last.ckpt"
        status, log = cluster.interrupt(began, signal.SIGUSR1, *reproduction)
        assert status == 143, log
        assert cluster.noted[-1] == "scontrol requeue 4242" and not (output / "table.csv").exists()
    status, log = cluster.run(*reproduction)
    assert status == 0, log
    assert (output / "table.csv").read_bytes() == (tmp_path / "reference" / "table.csv").read_bytes()
