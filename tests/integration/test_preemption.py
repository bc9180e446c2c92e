"""SIGTERM, as a scheduler sends it: every command ends by itself, says that it goes on, and does."""

import random
import shlex
import shutil
import signal
import time

import pytest
from interruptible import assert_an_epoch_was_lost_at_most, epochs
from results import results

STAGES = (
    *("bank", "fit weak-labels", "fit model-selection"),
    *("test weak-labels", "validate model-selection", "synthesize"),
)
WEAK_LABELS, SIDE_BY_SIDE = (f"reproduce weak-labels, {jobs} at a time" for jobs in "12")
MODEL_SELECTION = "reproduce model-selection, 1 at a time"
PREEMPTED = 143
# A second signal after this long, where a scheduler's grace ends, cannot be ignored.
GRACE_SECONDS = 30


def halves(folder):
    """Files and folders that are half written, below a folder or beside it."""
    marks = (".partial", ".building", ".unfinished", ".replaced")
    return [path for path in folder.parent.rglob("*") if path.name.endswith(marks)]


def named(ended):
    """Arguments of the command that goes on."""
    _, told = ended.printed.split("\ninterrupted; this goes on from here:\n")
    program, *words = shlex.split(told.replace("\\\n", ""))
    assert program == "separatrix"
    return words


def preempt(running):
    """Send SIGTERM to the command's first process, as a scheduler does, and await the end of all."""
    running.signal_first(signal.SIGTERM)
    assert running.ended_within(GRACE_SECONDS), f"still running {GRACE_SECONDS} s after SIGTERM"
    running.wait_for_the_others()
    return running.end()


def assert_it_ended_well(ended, folder, status=PREEMPTED):
    assert ended.status == status, ended.printed
    assert ended.printed.count("goes on from here") == 1
    assert named(ended)
    assert "Traceback" not in ended.printed
    assert not halves(folder)


def preempt_at_random(stage, times, draw, processes, folder):
    """Start the stage again and again, and preempt it at random moments, until it was preempted so many times."""
    preempted, seconds = 0, stage.seconds
    while preempted < times:
        before, begun = epochs(folder), time.monotonic()
        with processes.start(*stage.into(folder)) as running:
            # Not while it reads its arguments, where nothing is to be lost.
            late = running.ended_within(seconds * draw.uniform(0.2, 1))
            ended = running.end() if late else preempt(running)
        # The signal may find a process that is done and on its way out, where Python knows it no more.
        if ended.status in (0, -signal.SIGTERM):
            stage.assert_complete(folder)
            shutil.rmtree(folder)
            seconds = time.monotonic() - begun  # the machine is not as busy as it was
            continue
        assert_it_ended_well(ended, folder)
        if stage.name.startswith("fit"):
            assert_an_epoch_was_lost_at_most(before, ended, epochs(folder))
        preempted += 1


def test_the_command_that_an_interruption_names_goes_on_from_there(separatrix, processes, tmp_path):
    run = tmp_path / "a run"
    arguments = separatrix.arguments("strong", {"trainer.max_epochs": "10000"})
    with processes.start("fit", *arguments, "--run", str(run)) as running:
        while epochs(run) < 2:
            assert not running.ended_within(0.01), running.end().printed
        ended = preempt(running)
    assert_it_ended_well(ended, run)
    kept = epochs(run)
    assert kept >= 2
    ended = processes.succeed(*named(ended), "--trainer.max_epochs", str(kept + 1))
    assert epochs(run) == kept + 1 and f"epoch {kept + 1}/" in ended.printed


@pytest.mark.parametrize(
    "name, times",
    [("fit weak-labels", 1), *(pytest.param(name, 4, marks=pytest.mark.soak) for name in STAGES)],
)
def test_preempted_at_random_moments(name, times, stages, processes, faults, tmp_path):
    stage, folder = stages(name), tmp_path / "folder"
    preempt_at_random(stage, times, random.Random(f"{name} {times}"), processes, folder)
    processes.succeed(*stage.into(folder))
    stage.assert_complete(folder)
    faults.extend((name, "preempted at random") for _ in range(times))


@pytest.mark.parametrize(
    "name, number, to_all, ranks, record",
    [
        (SIDE_BY_SIDE, signal.SIGINT, True, 1, "strong/strong.fit.json"),
        pytest.param(SIDE_BY_SIDE, signal.SIGTERM, False, 1, "frame/frame.fit.json", marks=pytest.mark.soak),
        pytest.param(WEAK_LABELS, signal.SIGTERM, False, 1, "strong/strong.test.json", marks=pytest.mark.soak),
        pytest.param(WEAK_LABELS, signal.SIGINT, False, 1, "judge_frame/judge_frame.fit.json", marks=pytest.mark.soak),
        pytest.param(WEAK_LABELS, signal.SIGINT, True, 2, "strong/checkpoints", marks=pytest.mark.soak),
        pytest.param(MODEL_SELECTION, signal.SIGTERM, False, 1, "music/music.fit.json", marks=pytest.mark.soak),
    ],
)
def test_an_interrupted_reproduction_ends_with_all_its_processes_and_goes_on(
    name, number, to_all, ranks, record, stages, processes, faults, tmp_path
):
    stage, folder = stages(name), tmp_path / "folder"
    several = ["--trainer.devices", str(ranks), "--trainer.strategy", "ddp"] if ranks > 1 else []
    command = [*stage.into(folder), *several]
    with processes.start(*command) as running:
        while not (folder / record).exists():
            assert not running.ended_within(0.01), running.end().printed
        # A terminal's Ctrl-C is for all of its processes, `kill -INT` and a scheduler's SIGTERM for one.
        (running.signal if to_all else running.signal_first)(number)
        assert running.ended_within(GRACE_SECONDS)
        running.wait_for_the_others()
        ended = running.end()
    assert_it_ended_well(ended, folder, 128 + number)
    assert named(ended) == command
    if ranks == 1:
        processes.succeed(*stage.into(folder))
        stage.assert_complete(folder)
    faults.append((name, f"interrupted in {record}"))


@pytest.mark.soak
def test_training_on_two_ranks_is_preempted_with_both(separatrix, faults, tmp_path):
    ranks = {"trainer.devices": "2", "trainer.strategy": "ddp", "data.batch_size": "2"}
    endless = separatrix.arguments("strong", {**ranks, "trainer.max_epochs": 10_000})
    run, through = tmp_path / "run", tmp_path / "through"
    with separatrix.process("fit", *endless, "--run", run, "--ckpt_path", "last") as running:
        while not epochs(run):
            assert running.poll() is None, running.communicate()
        running.send_signal(signal.SIGTERM)  # the first rank alone: it is what a scheduler knows of
        _, err = running.communicate(timeout=GRACE_SECONDS)  # which the other rank would keep open
    assert running.returncode == PREEMPTED, err
    assert "goes on from here" in err and "--ckpt_path last" in err and not halves(run)
    reached = epochs(run)
    more = separatrix.arguments("strong", {**ranks, "trainer.max_epochs": reached + 1})
    for folder in (run, through):
        outcome = separatrix.run_process("fit", *more, "--run", folder, "--ckpt_path", "last")
        assert outcome.status == 0, outcome.err
    kept, whole = (
        {name: digest for name, digest in results(folder).items() if name.endswith("last.ckpt")}
        for folder in (run, through)
    )
    assert kept == whole
    faults.append(("fit on two ranks", "preempted at an epoch's end"))
