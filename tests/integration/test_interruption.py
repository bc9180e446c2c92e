"""Kills of real processes, at exact and at random moments: the same command, started again, leaves the same results."""

import contextlib
import random
import shutil
import signal
import time

import pytest
from command_server import Moment
from interruptible import MIXTURES, assert_an_epoch_was_lost_at_most, epochs

REPRODUCTIONS = [
    f"reproduce {system}, {jobs} at a time" for system in ("weak-labels", "model-selection") for jobs in "12"
]
# Of each stage: moments in the order of its work. Those marked are tried by `make test`, the others by `make soak`.
MOMENTS = {
    "bank": [
        Moment("opened", "*/samples.f32"),
        Moment("filled", "*/samples.f32", 50_000),
        Moment("opened", "*/index.npz"),
        Moment("whole", "*/procedural-8000Hz-*"),
        Moment("renamed", "*/procedural-8000Hz-*"),
    ],
    "fit weak-labels": [
        Moment("torn", "*/config.yaml"),
        Moment("opened", "*/metrics.csv", 2),
        Moment("torn", "*/best.ckpt"),
        Moment("renamed", "*/best.ckpt", 2),
        Moment("torn", "*/last.ckpt", 3),
        Moment("whole", "*/last.ckpt", 4),
    ],
    "fit with a judge": [Moment("renamed", "*/best.ckpt", 3), Moment("torn", "*/last.ckpt", 2)],
    "fit model-selection": [
        Moment("renamed", "*/best.ckpt"),
        Moment("filled", "*/.last.ckpt.partial", 50_000),
        Moment("torn", "*/last.ckpt", 2),
        Moment("renamed", "*/last.ckpt", 3),
    ],
    "test weak-labels": [
        Moment("torn", "*/tested.json"),
        Moment("opened", "*/rank-0-*"),
        Moment("filled", "*/rank-0-*", 20_000),
        Moment("torn", "*/scores.csv"),
        Moment("renamed", "*/scores.csv"),
        Moment("torn", "*/summary.csv"),
        Moment("renamed", "*/summary.csv"),
        Moment("removed", "*/scores.parts"),
    ],
    "test of a judge": [Moment("torn", "*/classifier.csv"), Moment("renamed", "*/classifier.csv")],
    "predict": [Moment("torn", "*/mixture.wav", 3), Moment("renamed", "*/siren.wav", 5)],
    "validate model-selection": [Moment("filled", "*/rank-0-*", 1_500), Moment("torn", "*/validation_scores.csv")],
    "test model-selection": [
        Moment("torn", "*/embeddings/0-speech.npz"),
        Moment("torn", "*/embeddings/0-speech-2.png"),
        Moment("opened", "*/rank-0-*"),
        Moment("filled", "*/rank-0-*", 7_000),
        Moment("renamed", "*/scores.csv"),
    ],
    "synthesize": [Moment("opened", "*.wav", 4), Moment("opened", "*/manifest.json"), Moment("whole", "*/folder")],
    REPRODUCTIONS[0]: [
        Moment("torn", "*/strong.fit.json", 2),
        Moment("renamed", "*/strong.fit.json", 2),
        Moment("torn", "*/judge_frame.test.json", 2),
        Moment("whole", "*/folder/table.csv"),
        Moment("torn", "*/folder/table.md"),
    ],
    REPRODUCTIONS[2]: [
        Moment("renamed", "*/speech.bank.json", 2),
        Moment("whole", "*/music.fit.json", 2),
        Moment("torn", "*/environmental.validate.json", 2),
        Moment("torn", "*/folder/confidence.png"),
        Moment("whole", "*/folder/table.md"),
    ],
}
# One of each kind of work.
BRIEFLY = {
    ("bank", MOMENTS["bank"][1]),
    ("fit weak-labels", MOMENTS["fit weak-labels"][4]),
    ("test weak-labels", MOMENTS["test weak-labels"][6]),
    (REPRODUCTIONS[0], MOMENTS[REPRODUCTIONS[0]][1]),
}
SHORT = [stage for stage in MOMENTS if stage not in REPRODUCTIONS]


def named(stage, moment):
    """A test's name and where it is run."""
    count = f"-{moment.count}" if moment.count > 1 else ""
    marks = () if (stage, moment) in BRIEFLY else pytest.mark.soak
    return pytest.param(stage, moment, id=f"{stage}-{moment.when}{moment.path.lstrip('*')}{count}", marks=marks)


@pytest.mark.parametrize("name, moment", [named(stage, moment) for stage in MOMENTS for moment in MOMENTS[stage]])
def test_killed_at_an_exact_moment(name, moment, stages, processes, faults, tmp_path):
    stage, folder = stages(name), tmp_path / "folder"
    ended = processes.run(*stage.into(folder), kill_at=moment)
    assert ended.killed, ended.printed
    kept = epochs(folder)
    assert_an_epoch_was_lost_at_most(0, ended, kept) if name.startswith("fit") else None
    ended = processes.succeed(*stage.into(folder))
    assert_an_epoch_was_lost_at_most(kept, ended, epochs(folder)) if name.startswith("fit") else None
    stage.assert_complete(folder)
    faults.append((name, f"killed: {moment.when} {moment.path.lstrip('*/')}"))


def kill_at_random(stage, kills, draw, processes, folder):
    """Start the stage again and again, and kill it at random moments, until it was killed so many times."""
    killed, seconds = 0, stage.seconds
    while killed < kills:
        before, begun = epochs(folder), time.monotonic()
        with processes.start(*stage.into(folder)) as running:
            late = _await_random_moment(stage, seconds, draw, running, folder)
            running.signal(signal.SIGKILL)
            ended = running.end()
        if stage.name.startswith("fit"):
            assert_an_epoch_was_lost_at_most(before, ended, epochs(folder))
        if late:
            assert ended.status == 0, ended.printed
            stage.assert_complete(folder)
            shutil.rmtree(folder)
            seconds = time.monotonic() - begun  # the machine is not as busy as it was
        else:
            assert ended.killed or ended.status == 0, ended.printed
            killed += 1


def _await_random_moment(stage, seconds, draw, running, folder):
    """Whether the command ended before."""
    if not stage.records:
        # Rather late than early: a command begins with reading its arguments.
        return running.ended_within(draw.triangular(0, seconds, seconds))
    # The time that a reproduction takes is known too badly: a while after it came to one of its stages.
    record = folder / draw.choice(stage.records)
    while not record.exists():
        if running.ended_within(0.01):
            return True
    return running.ended_within(draw.uniform(0, 0.5))


@pytest.mark.parametrize(
    "name, kills",
    [
        *(pytest.param(name, 5, marks=pytest.mark.soak) for name in SHORT),
        *(pytest.param(name, 3, marks=pytest.mark.soak) for name in REPRODUCTIONS),
    ],
)
def test_killed_at_random_moments(name, kills, stages, processes, faults, tmp_path):
    stage, folder = stages(name), tmp_path / "folder"
    kill_at_random(stage, kills, random.Random(f"{name} {kills}"), processes, folder)
    processes.succeed(*stage.into(folder))
    stage.assert_complete(folder)
    faults.extend([(name, "killed at random")] * kills)


def test_a_large_evaluation_killed_twice_scores_every_mixture_once(stages, processes, faults, tmp_path):
    stage, folder = stages("test weak-labels"), tmp_path / "folder"
    for moment in (Moment("filled", "*/rank-0-*", 12_000), Moment("filled", "*/rank-0-*", 20_000)):
        assert processes.run(*stage.into(folder), kill_at=moment).killed
    # Once more when the last row is written, so that all starts' rows are to be seen.
    assert processes.run(*stage.into(folder), kill_at=Moment("whole", "*/scores.csv")).killed
    parts = [part.read_text() for part in sorted((folder / "scores.parts").glob("rank-0-*.csv"))]
    assert len(parts) == 3
    # A batch ends with an empty line; the one that the kill cut short has none.
    scored = [{int(line.split(",")[0]) for line in part[: part.rfind("\n\n")].split("\n") if line} for part in parts]
    assert all(len(indices) > MIXTURES / 10 for indices in scored)
    assert sum(map(len, scored)) == len(set.union(*scored)) == MIXTURES
    # The last start has nothing left to score: one that wrote another row would be killed.
    ended = processes.run(*stage.into(folder), kill_at=Moment("opened", "*/rank-0-*"))
    assert ended.status == 0, ended.printed
    stage.assert_complete(folder)
    faults.extend((stage.name, "killed: in the midst of its rows, or behind them") for _ in range(3))


@pytest.mark.soak
def test_a_reproduction_whose_first_process_alone_is_killed(stages, processes, faults, tmp_path):
    stage, folder = stages(REPRODUCTIONS[1]), tmp_path / "folder"
    with processes.start(*stage.into(folder)) as running:
        assert not running.ended_within(0.5 * stage.seconds)
        running.signal_first(signal.SIGKILL)
        assert running.end().killed
        running.wait_for_the_others()
    processes.succeed(*stage.into(folder))
    stage.assert_complete(folder)
    faults.append((stage.name, "its first process killed, which leaves the others alone"))


@pytest.mark.soak
def test_a_reproduction_whose_workers_are_killed_says_so_and_goes_on(stages, processes, faults, tmp_path):
    stage, folder = stages(REPRODUCTIONS[1]), tmp_path / "folder"
    with processes.start(*stage.into(folder)) as running:
        assert not running.ended_within(0.5 * stage.seconds)
        running.signal_others(signal.SIGKILL)
        ended = running.end()
    assert ended.status == 2 and "its process was killed, for memory as a rule" in ended.printed
    processes.succeed(*stage.into(folder))
    stage.assert_complete(folder)
    faults.append((stage.name, "its workers killed"))


@pytest.mark.soak
def test_a_set_of_mixtures_killed_while_it_replaces_another_is_there_again(stages, processes, faults, tmp_path):
    stage, folder = stages("synthesize"), tmp_path / "folder"
    processes.succeed(*stage.into(folder))
    assert processes.run(*stage.into(folder), kill_at=Moment("renamed", "*/.folder.replaced")).killed
    with contextlib.suppress(FileNotFoundError):
        assert not list(folder.iterdir())
    processes.succeed(*stage.into(folder))
    stage.assert_complete(folder)
    faults.append((stage.name, "killed: between the old folder's leaving and the new one's coming"))
