"""The sweep file, driven by the code of W&B's own agent at a tiny size; no server is asked."""

import os
import sys
from pathlib import Path

import pytest
import yaml
from wandb.wandb_agent import Agent

pytestmark = pytest.mark.any_cpu
ROOT = Path(__file__).parents[2]
SWEEP = yaml.safe_load((ROOT / "experiments" / "sweeps" / "weak_labels.yaml").read_text())
SMALLEST, LARGEST = (
    {name: choice.get(bound, choice.get("values", [None])[0]) for name, choice in SWEEP["parameters"].items()}
    for bound in ("min", "max")
)


@pytest.fixture
def tiny(separatrix):
    """Settings that make a run small and its mixtures those of the tests' judges."""
    demo = {"data.sample_rate": 8000, "data.window": 256, "data.hop": 128, "data.bank_folder": separatrix.banks}
    network = {"model.network.units": 6, "model.network.layers": 1}
    return separatrix.as_options({**separatrix.scenes, **demo, **network, **separatrix.trainer})


@pytest.fixture
def agent(separatrix, recordings, tmp_path, monkeypatch):
    """A function that runs what the server chose as the agent does, and gives the exit status.

    Its `separatrix` is a program of the test's, made of the lines of a shell script.
    """
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):  # set first, so that what the agent sets is undone
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    settings = {"WANDB_SWEEP_ID": "sw33p", "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": tmp_path}
    settings |= {"DATA": recordings, "JUDGES": separatrix.systems, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": 1}
    settings |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    running = Agent(None, None, sweep_id="sw33p")
    running._sweep_command = list(SWEEP["command"])

    def run(run_id, chosen, *lines):
        program = tmp_path / SWEEP["program"]
        program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        program.chmod(0o755)
        arguments = {name: {"value": value} for name, value in chosen.items()}
        running._command_run({"type": "run", "run_id": run_id, "program": SWEEP["program"], "args": arguments})
        process = running._run_processes[run_id]
        process.wait(timeout=300)
        return process.poll()

    return run


def test_a_run_of_the_sweep_trains_in_a_folder_of_its_own_and_logs_what_the_sweep_follows(
    agent, separatrix, tiny, tmp_path
):
    words = " ".join(f"'{word}'" for word in tiny)
    assert (
        agent("r1", {**SMALLEST, "model.supervision": "frame"}, f'{sys.executable} -m experiments.cli "$@" {words}')
        == 0
    )
    run = tmp_path / "runs" / "sweeps" / "sw33p" / "r1"
    assert (run / "checkpoints" / "best.ckpt").exists() and list(run.glob("wandb/offline-run-*-r1"))
    (curves,) = run.glob("curves/*/metrics.csv")
    assert any(row[SWEEP["metric"]["name"]] for row in separatrix.rows(curves))
    model = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]
    assert model["supervision"] == "frame"
    assert (
        model["optimizer"]["init_args"]["lr"] == SMALLEST["model.optimizer.lr"]
        and model["alpha"] == SMALLEST["model.alpha"]
    )


def test_every_run_of_the_sweep_has_a_folder_of_its_own(agent, tmp_path):
    folders = set()
    for supervision in SWEEP["parameters"]["model.supervision"]["values"]:
        chosen = {**LARGEST, "model.supervision": supervision}
        assert agent(f"of-{supervision}", chosen, 'printf "%s\\n" "$@" > words') == 0
        words = (tmp_path / "words").read_text().splitlines()
        folders.add(words[words.index("--run") + 1])
    assert folders == {f"runs/sweeps/sw33p/of-{supervision}" for supervision in ("strong", "frame", "clip")}


def test_without_data_the_run_says_what_to_set(agent, monkeypatch, capfd):
    monkeypatch.delenv("DATA")
    assert agent("r1", SMALLEST, "exit 0") != 0
    assert "DATA: is not set: the folder that holds UrbanSound8K" in capfd.readouterr().err


def test_the_file_is_one_that_wandb_sweep_takes():
    assert {"program", "method", "metric", "parameters", "command"} <= SWEEP.keys()
    assert SWEEP["method"] == "random" and SWEEP["metric"]["goal"] == "maximize"
    assert SWEEP["parameters"].keys() == {"model.supervision", "model.optimizer.lr", "model.alpha"}
