"""The sweep file, driven by the code of W&B's own agent at a tiny size; no server is asked."""

import os

import pytest
import wandb
import yaml
from conftest import ROOT
from wandb.wandb_agent import Agent

pytestmark = [pytest.mark.any_cpu, pytest.mark.usefixtures("nobody_logged_in")]
SWEEP = yaml.safe_load((ROOT / "experiments" / "sweeps" / "weak_labels.yaml").read_text())
CHOSEN = {name: choice.get("min", choice.get("values", [None])[0]) for name, choice in SWEEP["parameters"].items()}


@pytest.fixture
def agent(separatrix, recordings, tmp_path, monkeypatch):
    """A function that starts what the server chose as the agent does, and gives the words that `separatrix` got."""
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):  # set first, so that what the agent sets is undone
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    settings = {
        "WANDB_SWEEP_ID": "sw33p",
        "WANDB_MODE": "offline",
        "DATA": recordings,
        "CLASSIFIERS": separatrix.systems,
    }
    for name, value in {**settings, "PATH": f"{tmp_path}:{os.environ['PATH']}"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)
    running = Agent(None, None, sweep_id="sw33p")
    running._sweep_command = list(SWEEP["command"])
    program = tmp_path / SWEEP["program"]
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > words\n')
    program.chmod(0o755)

    def run(run_id, chosen):
        arguments = {name: {"value": value} for name, value in chosen.items()}
        running._command_run({"type": "run", "run_id": run_id, "program": SWEEP["program"], "args": arguments})
        running._run_processes[run_id].wait(timeout=300)
        status = running._run_processes[run_id].poll()
        return (tmp_path / "words").read_text().splitlines() if status == 0 else status

    return run


def test_a_run_of_the_sweep_trains_in_a_folder_of_its_own_and_logs_what_the_sweep_follows(
    agent, separatrix, tmp_path, monkeypatch, wandb_records
):
    runs = []
    for supervision in SWEEP["parameters"]["model.supervision"]["values"]:
        words = agent(f"of-{supervision}", {**CHOSEN, "model.supervision": supervision})
        runs.append(tmp_path / words[words.index("--run") + 1])
    folder = tmp_path / "runs" / "sweeps" / "sw33p"
    assert runs == [folder / f"of-{supervision}" for supervision in ("strong", "frame", "clip")]
    small = {"data.sample_rate": 8000, "data.window": 256, "data.hop": 128, "data.bank_folder": separatrix.banks}
    small |= {"model.network.units": 6, "model.network.layers": 1}
    tiny = separatrix.as_options({**separatrix.scenes, **small, **separatrix.trainer})
    words = agent("r1", {**CHOSEN, "model.supervision": "frame"})
    monkeypatch.setenv("WANDB_RUN_ID", "r1")  # as the agent gives it to the program
    wandb.teardown()  # it reads its settings once
    separatrix.succeed(*words, *tiny)
    assert (folder / "r1/checkpoints/best.ckpt").exists() and list((folder / "r1").glob("wandb/offline-run-*-r1"))
    (records,) = wandb_records(folder / "r1")
    summaries = [record.summary for record in records if record.HasField("summary")]
    assert SWEEP["metric"]["name"] in {item.key for summary in summaries for item in summary.update}
    model = yaml.safe_load((folder / "r1" / "config.yaml").read_text())["model"]["init_args"]
    trainer = yaml.safe_load((folder / "r1" / "config.yaml").read_text())["trainer"]
    assert trainer["gradient_clip_val"] == 5.0  # of the preset's frame labels, five times that of strong ones
    assert model["supervision"] == "frame" and model["alpha"] == CHOSEN["model.alpha"]
    assert model["optimizer"]["init_args"]["lr"] == CHOSEN["model.optimizer.lr"]


def test_without_data_the_run_says_what_to_set(agent, monkeypatch, capfd):
    monkeypatch.delenv("DATA")
    assert agent("r1", CHOSEN) != 0
    assert "DATA: is not set: the folder that holds UrbanSound8K" in capfd.readouterr().err
