"""Kills of real processes: the same command, started again, leaves the same results.

`make test` kills each kind of work once, `make soak` at every moment below and at random.
"""

import os
import random
import shutil
import signal
import time

import pytest
from kill_points import Moment
from stages import MIXTURES, assert_an_epoch_was_lost_at_most, epochs

WEAK_LABELS, MODEL_SELECTION = "reproduce weak-labels, jobs 1", "reproduce model-selection, jobs 1"
SIDE_BY_SIDE = "reproduce weak-labels, jobs 2"
# The first moment of those stages is tried by `make test`.
BRIEFLY = ("bank", "fit weak-labels", "test weak-labels")
MOMENTS = {
    "bank": [Moment("filled", "*/samples.f32", 50_000), Moment("renamed", "*/procedural-8000Hz-*")],
    "fit weak-labels": [
        Moment("torn", "*/last.ckpt", 3),
        Moment("torn", "*/config.yaml"),
        Moment("opened", "*/metrics.csv", 2),
        Moment("torn", "*/best.ckpt"),
        Moment("renamed", "*/best.ckpt", 2),
    ],
    "fit with a classifier": [Moment("renamed", "*/best.ckpt", 3), Moment("torn", "*/last.ckpt", 2)],
    "fit model-selection": [Moment("filled", "*/.last.ckpt.partial", 50_000), Moment("renamed", "*/last.ckpt", 3)],
    "test weak-labels": [
        Moment("renamed", "*/summary.csv"),
        Moment("torn", "*/tested.json"),
        Moment("opened", "*/rank-0-*"),
        Moment("torn", "*/scores.csv"),
        Moment("renamed", "*/scores.csv"),
    ],
    "test of a classifier": [Moment("torn", "*/classifier.csv"), Moment("renamed", "*/classifier.csv")],
    "predict": [Moment("torn", "*/mixture.wav", 3), Moment("renamed", "*/siren.wav", 5)],
    "validate model-selection": [Moment("filled", "*/rank-0-*", 1_500), Moment("torn", "*/validation_scores.csv")],
    "test model-selection": [
        Moment("torn", "*/embeddings/0-speech.npz"),
        Moment("filled", "*/rank-0-*", 7_000),
        Moment("renamed", "*/scores.csv"),
    ],
    "synthesize": [Moment("opened", "*.wav", 4), Moment("opened", "*/manifest.json")],
    WEAK_LABELS: [
        Moment("renamed", "*/strong.fit.json", 2),
        Moment("torn", "*/classifier_frame.test.json", 2),
        Moment("torn", "*/folder/table.md"),
    ],
    MODEL_SELECTION: [
        Moment("renamed", "*/speech.bank.json", 2),
        Moment("torn", "*/environmental.validate.json", 2),
        Moment("torn", "*/folder/confidence.png"),
    ],
}


def moments():
    for stage, of_stage in MOMENTS.items():
        for number, moment in enumerate(of_stage):
            marks = () if stage in BRIEFLY and number == 0 else pytest.mark.soak
            yield pytest.param(stage, moment, id=f"{stage}-{moment.when}{moment.path.lstrip('*')}", marks=marks)


@pytest.mark.parametrize("name, moment", moments())
def test_killed_at_an_exact_moment(name, moment, stages, processes, tmp_path):
    stage, folder = stages(name), tmp_path / "folder"
    ended = processes.run(*stage.into(folder), kill_at=moment)
    assert ended.killed, ended.printed
    kept = epochs(folder)
    assert_an_epoch_was_lost_at_most(0, ended, kept) if name.startswith("fit") else None
    ended = processes.succeed(*stage.into(folder))
    assert_an_epoch_was_lost_at_most(kept, ended, epochs(folder)) if name.startswith("fit") else None
    stage.assert_complete(folder)


@pytest.mark.soak
@pytest.mark.parametrize("name", [*MOMENTS, SIDE_BY_SIDE])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_ended_at_random_moments(name, number, stages, processes, tmp_path):
    stage, folder = stages(name), tmp_path / "folder"
    draw, ended_within, seconds = random.Random(f"{name} {number}"), 0, stage.seconds
    while ended_within < 3:
        before, begun = epochs(folder), time.monotonic()
        with processes.start(*stage.into(folder)) as running:
            # Rather late than early: a command begins with reading its arguments, where nothing is to be lost.
            early = not running.ended_within(seconds * draw.uniform(0.2, 1))
            running.signal(number)
            ended = running.end()
            running.wait_for_the_others()
        if name.startswith("fit"):
            assert_an_epoch_was_lost_at_most(before, ended, epochs(folder))
        assert ended.status in (0, 128 + number, -number), ended.printed
        if early and ended.status:
            ended_within += 1
        else:
            stage.assert_complete(folder)
            shutil.rmtree(folder)
            seconds = time.monotonic() - begun  # the machine is not as busy as it was
    processes.succeed(*stage.into(folder))
    stage.assert_complete(folder)


@pytest.mark.soak
def test_a_large_evaluation_killed_twice_scores_every_mixture_once(stages, processes, tmp_path):
    stage, folder = stages("test weak-labels"), tmp_path / "folder"
    # Once more when the last row is written, so that all starts' rows are to be seen.
    rows = [Moment("filled", "*/rank-0-*", length) for length in (12_000, 20_000)]
    for moment in (*rows, Moment("torn", "*/scores.csv")):
        assert processes.run(*stage.into(folder), kill_at=moment).killed
    parts = [part.read_text() for part in sorted((folder / "scores.parts").glob("rank-0-*.csv"))]
    # A batch ends with an empty line; the one that the kill cut short has none.
    scored = [{int(line.split(",")[0]) for line in part[: part.rfind("\n\n")].split("\n") if line} for part in parts]
    assert len(scored) == 3 and all(len(indices) > MIXTURES / 10 for indices in scored)
    assert sum(map(len, scored)) == len(set.union(*scored)) == MIXTURES
    # The last start has nothing left to score: one that wrote another row would be killed.
    assert processes.run(*stage.into(folder), kill_at=Moment("opened", "*/rank-0-*")).status == 0
    stage.assert_complete(folder)


@pytest.mark.soak
@pytest.mark.parametrize("which", ["first", "others"])
def test_a_reproduction_of_which_some_processes_are_killed_leaves_none_and_resumes(which, stages, processes, tmp_path):
    stage, folder = stages(SIDE_BY_SIDE), tmp_path / "folder"
    with processes.start(*stage.into(folder)) as running:
        running.wait_until(lambda: (folder / "strong" / "strong.fit.json").exists())
        for pid in [running.pid] if which == "first" else running.others():
            os.kill(pid, signal.SIGKILL)
        ended = running.end()
        running.wait_for_the_others()
    assert ended.killed or "was killed, for memory as a rule" in ended.printed
    processes.succeed(*stage.into(folder))
    stage.assert_complete(folder)


@pytest.mark.soak
def test_a_set_of_mixtures_killed_while_it_replaces_another_is_there_again(stages, processes, tmp_path):
    stage, folder = stages("synthesize"), tmp_path / "folder"
    processes.succeed(*stage.into(folder))
    assert processes.run(*stage.into(folder), kill_at=Moment("renamed", "*/.folder.replaced")).killed
    assert not folder.exists() or not list(folder.iterdir())
    processes.succeed(*stage.into(folder))
    stage.assert_complete(folder)
