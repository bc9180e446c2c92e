"""A training that goes on: with the mixtures, the best score and the settings that it would have had all along."""

import os
import shutil
import signal
import time
from collections import defaultdict
from pathlib import Path

import pytest
import torch
import yaml
from interruptible import epochs

from datamodules.sampling import EpochSampler

HERE = Path(__file__).parent
CHECKPOINTS = "checkpoints"


def seen(folder):
    """The mixtures of every epoch, by rank, of all starts."""
    visits = defaultdict(list)
    for path in folder.glob("rank-*"):
        for line in path.read_text().splitlines():
            epoch, *indices = map(int, line.split())
            visits[int(path.name[-1]), epoch] += indices
    return dict(visits)


def expected(ranks, number):
    """What samplers of 20 mixtures in epochs of 8 give on each rank."""
    visits = {}
    for rank in range(ranks):
        sampler = EpochSampler(20, 8, 4 // ranks, 0, rank, ranks)
        for epoch in range(number):
            sampler.set_epoch(epoch)
            visits[rank, epoch] = list(sampler)
    return visits


@pytest.mark.parametrize(
    ("workers", "ranks"), [(1, 1), *(pytest.param(*both, marks=pytest.mark.soak) for both in ((1, 2), (2, 2)))]
)
def test_a_killed_training_goes_on_with_the_mixtures_of_the_next_epoch(workers, ranks, separatrix, tmp_path):
    run = tmp_path / "run"
    settings = {"data.workers": workers, "data.batch_size": 4 // ranks, "trainer.devices": ranks}
    watched = ["--trainer.callbacks+", "faults.SeenMixtures", "--trainer.callbacks.folder"]

    def fit(number, folder):
        arguments = separatrix.arguments("strong", {**settings, "trainer.max_epochs": number})
        return ["fit", *arguments, *watched, tmp_path / folder, "--run", run, "--ckpt_path", "last"]

    with separatrix.process(*fit(10_000, "killed"), PYTHONPATH=str(HERE)) as running:
        while not epochs(run):
            assert running.poll() is None, running.communicate()
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGKILL)
    kept = epochs(run)
    outcome = separatrix.run_process(*fit(kept + 1, "resumed"), PYTHONPATH=str(HERE))
    assert outcome.status == 0, outcome.err
    assert {visit: seen(tmp_path / "killed")[visit] for visit in expected(ranks, kept)} == expected(ranks, kept)
    assert seen(tmp_path / "resumed") == {
        visit: expected(ranks, kept + 1)[visit] for visit in seen(tmp_path / "resumed")
    }
    assert {epoch for _, epoch in seen(tmp_path / "resumed")} == {kept}


@pytest.fixture(scope="module")
def whole(separatrix, tmp_path_factory):
    """A folder with a training of three epochs, of which the last is not the best, and the same one cut after two."""
    folder = tmp_path_factory.mktemp("whole")
    for name, number in (("through", 3), ("cut", 2)):
        separatrix.succeed("fit", *separatrix.arguments("strong", steep(number)), "--run", folder / name)
    return folder


def steep(number):
    """At this rate the loss soon stands still."""
    return {"model.optimizer.lr": 100, "trainer.max_epochs": number, "stopping.patience": 9}


def states(run, name="last"):
    """What a checkpoint says of the best score and of patience."""
    callbacks = torch.load(run / CHECKPOINTS / f"{name}.ckpt", weights_only=True)["callbacks"]
    best = next(state for key, state in callbacks.items() if key.startswith("EpochCheckpoint") and "validation" in key)
    return best, next(state for key, state in callbacks.items() if key.startswith("Stopping"))


def test_a_run_goes_on_with_its_best_score_wherever_its_folder_lies(whole, separatrix, tmp_path):
    shutil.copytree(whole / "cut", tmp_path / "else where")
    (tmp_path / "else where").rename(tmp_path / "new name")
    run = tmp_path / "link"
    run.symlink_to(tmp_path / "new name", target_is_directory=True)
    best = (run / CHECKPOINTS / "best.ckpt").read_bytes()
    outcome = separatrix.succeed("fit", *separatrix.arguments("strong", steep(3)), "--run", run, "--ckpt_path", "last")
    assert "dirpath" not in outcome.err
    assert (run / CHECKPOINTS / "best.ckpt").read_bytes() == best
    (score, patience), (expected_score, expected_patience) = states(run), states(whole / "through")
    assert score["best_model_score"] == expected_score["best_model_score"]
    assert score["best_model_path"] == str((run / CHECKPOINTS / "best.ckpt").resolve())
    assert patience == expected_patience and patience["wait_count"] == 1
    assert sorted(path.name for path in (run / CHECKPOINTS).iterdir()) == ["best.ckpt", "last.ckpt"]


def test_where_there_is_no_best_checkpoint_the_next_epoch_is_the_best(whole, separatrix, tmp_path):
    run, given = tmp_path / "run", whole / "cut" / CHECKPOINTS / "last.ckpt"
    before = separatrix.listing(whole)
    separatrix.succeed("fit", *separatrix.arguments("strong", steep(3)), "--run", run, "--ckpt_path", given)
    assert torch.load(run / CHECKPOINTS / "best.ckpt", weights_only=True)["epoch"] == 2
    assert separatrix.listing(whole) == before


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        (
            "model.optimizer.lr",
            0.5,
            "optimizer.init_args.lr: 0.5, but 100.0 when the training began; go on with what it was",
        ),
        ("data.event_rate", 3, "train_rules.event_rate: 3.0, but 5.0 when the training began"),
        ("data.corpus.seed", 7, "train_clips: "),
        ("seed_everything", 7, "seed_everything: 7, but 0 when the training began"),
    ],
)
def test_a_setting_that_decides_a_result_is_refused_with_both_its_values(
    setting, value, told, whole, separatrix, tmp_path
):
    shutil.copytree(whole / "cut", tmp_path / "run")
    before = separatrix.listing(tmp_path / "run")
    arguments = separatrix.arguments("strong", {**steep(3), setting: value})
    outcome = separatrix.run("fit", *arguments, "--run", tmp_path / "run", "--ckpt_path", "last")
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("separatrix fit: ")]
    assert outcome.status == 2 and line.startswith(f"separatrix fit: {told}"), outcome.err
    assert separatrix.listing(tmp_path / "run") == before


def test_other_settings_are_applied_and_the_configuration_says_so(whole, separatrix, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole / "cut", run)
    changes = {
        **{"data.workers": 1, "data.batch_size": 2, "data.bank_folder": tmp_path / "banks", "data.test_mixtures": 3},
        **{"trainer.gradient_clip_val": 0.5, "trainer.max_epochs": 9, "stopping.patience": 3, "logger": "none"},
    }
    arguments = separatrix.arguments("strong", {**steep(9), **changes})
    separatrix.succeed("fit", *arguments, "--run", run, "--ckpt_path", "last")
    last = torch.load(run / CHECKPOINTS / "last.ckpt", weights_only=True)
    # Two epochs of two steps each, then some of four.
    stopped = states(run)[1]
    assert stopped["patience"] == stopped["wait_count"] == 3
    assert 2 < last["epoch"] < 8 and last["global_step"] == 2 * 2 + (last["epoch"] - 1) * 4
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["data"]["init_args"]["workers"] == 1 and written["stopping"]["patience"] == 3
