"""SIGTERM, as a scheduler sends it, and Ctrl-C: a command ends by itself and names one that resumes."""

import os
import shlex
import signal

import pytest
from stages import epochs

from lightning_modules.checkpoint import read_checkpoint

GRACE_SECONDS = 30  # where a scheduler's grace ends, cannot be ignored


def ended_well(running, folder, number):
    """The words of the command that the interruption names."""
    assert running.ended_within(GRACE_SECONDS)
    running.wait_for_the_others()
    ended = running.end()
    assert ended.status == 128 + number, ended.printed
    assert "Traceback" not in ended.printed
    marks = (".partial", ".building", ".unfinished", ".replaced")
    assert not [path for path in folder.parent.rglob("*") if path.name.endswith(marks)]
    _, told = ended.printed.split("\ninterrupted; this resumes it:\n")
    program, *words = shlex.split(told.replace("\\\n", ""))
    assert program == "separatrix"
    return words


def test_the_command_that_an_interruption_names_resumes_the_training(separatrix, processes, tmp_path):
    run = tmp_path / "a run"
    arguments = separatrix.arguments("strong", {"trainer.max_epochs": "10000"})
    with processes.start("fit", *arguments, "--run", run) as running:
        running.wait_until(lambda: epochs(run) >= 2)
        os.kill(running.pid, signal.SIGTERM)
        words = ended_well(running, run, signal.SIGTERM)
    kept = epochs(run)
    ended = processes.succeed(*words, "--trainer.max_epochs", kept + 1)
    assert epochs(run) == kept + 1 and f"epoch {kept + 1}/" in ended.printed and f"epoch {kept}/" not in ended.printed


@pytest.mark.parametrize(
    "system, jobs, number, to_all, ranks, record",
    [
        ("weak-labels", 2, signal.SIGINT, True, 1, "strong/strong.fit.json"),
        pytest.param("weak-labels", 2, signal.SIGTERM, False, 1, "frame/frame.fit.json", marks=pytest.mark.soak),
        pytest.param("weak-labels", 1, signal.SIGINT, True, 2, "strong/checkpoints", marks=pytest.mark.soak),
        pytest.param("model-selection", 1, signal.SIGTERM, False, 1, "music/music.fit.json", marks=pytest.mark.soak),
    ],
)
def test_an_interrupted_reproduction_ends_with_all_its_processes_and_resumes(
    system, jobs, number, to_all, ranks, record, stages, processes, tmp_path
):
    stage, folder = stages(f"reproduce {system}, jobs {jobs}"), tmp_path / "folder"
    several = ["--trainer.devices", str(ranks), "--trainer.strategy", "ddp"] if ranks > 1 else []
    command = [*stage.into(folder), *several]
    with processes.start(*command) as running:
        running.wait_until(lambda: (folder / record).exists())
        # A terminal's Ctrl-C is for all of its processes, `kill -INT` and a scheduler's SIGTERM for one.
        running.signal(number) if to_all else os.kill(running.pid, number)
        assert ended_well(running, folder, number) == command
    if ranks == 1:
        processes.succeed(*stage.into(folder))
        stage.assert_complete(folder)


@pytest.mark.soak
def test_training_on_two_ranks_is_preempted_with_both(separatrix, processes, tmp_path):
    ranks = {"trainer.devices": "2", "trainer.strategy": "ddp", "data.batch_size": "2"}
    endless = separatrix.arguments("strong", {**ranks, "trainer.max_epochs": 10_000})
    run, through = tmp_path / "run", tmp_path / "through"
    with processes.start("fit", *endless, "--run", run, "--ckpt_path", "last") as running:
        running.wait_until(lambda: epochs(run))
        os.kill(running.pid, signal.SIGTERM)  # the first rank alone: it is what a scheduler knows of
        assert "--ckpt_path" in ended_well(running, run, signal.SIGTERM)
    more = separatrix.arguments("strong", {**ranks, "trainer.max_epochs": epochs(run) + 1})
    for folder in (run, through):
        processes.succeed("fit", *more, "--run", folder, "--ckpt_path", "last")
    last = [folder / "checkpoints" / "last.ckpt" for folder in (run, through)]
    assert separatrix.same_weights(*last)
    assert len({read_checkpoint(path)["global_step"] for path in last}) == 1
