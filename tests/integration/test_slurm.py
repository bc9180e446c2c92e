"""The batch scripts without a cluster: tests play `sbatch`, programs made here the rest."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import get_args

import pytest
from conftest import ROOT

from experiments.reproduction.command import Preset

SCRIPTS = sorted((ROOT / "experiments" / "slurm").glob("*.sbatch"))


class Cluster:
    """A cluster of one machine.

    Args:
        folder: for its programs and what they note.
    """

    def __init__(self, folder: Path) -> None:
        self.programs, self.record = folder / "bin", folder / "record"
        self.programs.mkdir()
        self.record.touch()
        self.program("srun", '#!/bin/sh\nshift\nexec "$@"\n')
        self.program("scontrol", '#!/bin/sh\necho scontrol "$@" >> "$RECORD"\n')

    def program(self, name: str, text: str) -> None:
        """Put a program on the path."""
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    @property
    def noted(self) -> list[str]:
        """The calls of srun and scontrol."""
        return self.record.read_text().splitlines()

    def run(self, script, *arguments, until=None, number=None, tasks=1, nodes=1) -> tuple[int, str]:
        """A batch script as SLURM would run it, to its end: status and log.

        Once the file `until` is there, the script alone is sent the signal.
        """
        asked = head(script)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")} | {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "RECORD": str(self.record),
            "SLURM_JOB_ID": "4242",
            "SLURM_JOB_NAME": asked.get("job-name", "job"),
            "SLURM_JOB_NODELIST": "localhost",
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_NNODES": str(nodes),
            "SLURM_NTASKS": str(nodes * tasks),
            "SLURM_NTASKS_PER_NODE": str(tasks),
            "SLURM_CPUS_PER_TASK": asked.get("cpus-per-task", "1"),
            "SLURM_PROCID": "0",  # so it is in a batch script, which is no task of a step
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
                while until and not until.exists():
                    assert running.poll() is None, running.communicate()
                    time.sleep(0.01)
                if number:
                    running.send_signal(number)
                log, _ = running.communicate(timeout=60)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.pid, signal.SIGKILL)
        return running.returncode, log


def head(script: Path) -> dict[str, str]:
    """What a batch script asks for."""
    lines = [line.removeprefix("#SBATCH --") for line in script.read_text().splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture
def cluster(tmp_path):
    """A cluster of one machine."""
    return Cluster(tmp_path)


def test_every_preset_has_a_batch_script_that_asks_to_be_told_and_queued_again_and_the_page_names_them_all():
    assert [script.stem for script in SCRIPTS] == sorted([*get_args(Preset), "fit"])
    told = set(re.findall(r"experiments/[a-z]+/[a-z_]+\.[a-z]+", (ROOT / "docs" / "clusters.md").read_text()))
    files = [path for folder in ("slurm", "sweeps") for path in (ROOT / "experiments" / folder).iterdir()]
    assert told == {str(path.relative_to(ROOT)) for path in files}
    for script in SCRIPTS:
        asked = head(script)
        assert {"requeue", "time", "nodes", "ntasks-per-node", "cpus-per-task"} <= asked.keys()
        assert asked["open-mode"] == "append"  # the log of the first start is kept
        kind, seconds = asked["signal"].split("@")
        assert kind == "B:USR1" and int(seconds) >= 60
    for script in (*SCRIPTS, ROOT / "experiments" / "slurm" / "requeue.sh"):
        assert os.access(script, os.X_OK)
        subprocess.run(["bash", "-n", script], check=True)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", script], check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_batch_script_gives_the_command_what_the_job_has(script, cluster, separatrix, tmp_path, monkeypatch):
    cluster.program("separatrix", '#!/bin/sh\nprintf "%s\\n" "$@" > "$RECORD.words"\n')
    if script.stem == "fit":
        system, further = [], separatrix.arguments("strong")
    else:
        system, further = ["weak-labels"], [] if script.stem == "demo" else ["--data-root", "DATA"]
    status, log = cluster.run(script, *system, *further, tasks=4, nodes=2)
    assert status == 0, log
    words = (tmp_path / "record.words").read_text().splitlines()
    given = shlex.join(words)
    assert "--trainer.devices 4" in given and "--trainer.num_nodes 2" in given
    if script.stem == "fit":
        assert words[0] == "fit" and "--ckpt_path last" in given and set(further) <= set(words)
        return
    monkeypatch.setenv("PATH", f"{cluster.programs}:{os.environ['PATH']}")
    bank, *stages = separatrix.succeed(*words, "--dry-run").out.splitlines()
    assert bank.startswith("separatrix bank")
    assert all(stage.startswith("srun --kill-on-bad-exit=1 separatrix ") for stage in stages) and len(stages) == 12
    assert all(f"--preset {script.stem}" in stage for stage in stages)
    assert all(option in stage for stage in stages for option in ("--trainer.devices 4", "--trainer.num_nodes 2"))


# What a command does with TERM, the signal, the job's status, and whether it is queued again.
WAITING = "touch $RECORD.ready; while :; do sleep 0.1; done"
BODIES = [
    ("exit 2", None, 2, False),
    (f"trap 'exit 143' TERM; {WAITING}", signal.SIGUSR1, 143, True),
    ("touch $RECORD.ready; exec sleep 60", signal.SIGUSR1, 143, True),
    (f"trap 'exit 0' TERM; {WAITING}", signal.SIGUSR1, 0, False),
    (f"trap 'exit 143' TERM; {WAITING}", signal.SIGTERM, 143, False),
    (f"export MOST_RESTARTS=1; trap 'exit 143' TERM; {WAITING}", signal.SIGUSR1, 143, False),
]


@pytest.mark.parametrize("body, number, status, queued", BODIES)
def test_a_job_is_queued_again_when_its_time_is_over_and_the_command_is_not(
    body, number, status, queued, cluster, tmp_path, monkeypatch
):
    if (most := re.match(r"export MOST_RESTARTS=(\d)", body)) is not None:
        monkeypatch.setenv("MOST_RESTARTS", most[1])
    script = tmp_path / "job.sbatch"
    script.write_text(f"#!/bin/bash\nexec experiments/slurm/requeue.sh bash -c {shlex.quote(body)}\n")
    ended, log = cluster.run(script, until=number and tmp_path / "record.ready", number=number)
    assert ended == status, log
    assert cluster.noted == (["scontrol requeue 4242"] if queued else [])
    assert "job 4242, start 1, on localhost: bash -c" in log
    assert most is None or "its time is over, not queued again (MOST_RESTARTS is 1)" in log
