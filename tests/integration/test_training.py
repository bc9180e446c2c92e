"""What `fit` leaves behind, and that a resumed training leaves what an uninterrupted one does."""

import json
import os
import shutil
import signal
from collections import defaultdict
from pathlib import Path

import pytest
import torch
import yaml
from stages import epochs

from datamodules.sampling import EpochSampler

CHECKPOINTS = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")


def steep(number):
    """At this rate the loss soon stands still: the last epoch is not the best."""
    settings = {"model.optimizer.lr": 100, "early_stopping.patience": 9, "trainer.log_every_n_steps": 1}
    return {**settings, "trainer.max_epochs": number}


@pytest.fixture(scope="module")
def trained(separatrix, tmp_path_factory):
    """A folder with a training of three epochs, `through`, and the same one `cut` after two."""
    folder = tmp_path_factory.mktemp("trained")
    for name, number in (("through", 3), ("cut", 2)):
        separatrix.succeed("fit", *separatrix.arguments("strong", steep(number)), "--run", folder / name)
    return folder


def last(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def states(run):
    """What the last checkpoint says of the best score and of patience."""
    callbacks = last(run)["callbacks"]
    best = next(state for key, state in callbacks.items() if key.startswith("EpochCheckpoint") and "validation" in key)
    return best, next(state for key, state in callbacks.items() if key.startswith("ResumableEarlyStopping"))


def test_a_training_leaves_its_configuration_versions_checkpoints_and_curves(separatrix, trained):
    run = trained / "through"
    assert {path.name for path in run.iterdir()} == {"checkpoints", "config.yaml", "curves", "environment.json"}
    assert {str(path.relative_to(run)) for path in (run / "checkpoints").iterdir()} == {*CHECKPOINTS}
    settings = last(run)["hyper_parameters"]
    assert (settings["sample_rate"], settings["window"], settings["supervision"]) == (8000, 256, "strong")
    assert len(settings["classes"]) == 5 and last(run)["epoch"] == 2
    assert json.loads((run / "environment.json").read_text())["versions"]["torch"] == torch.__version__
    (curves,) = run.glob("curves/*/metrics.csv")
    lines = separatrix.rows(curves)
    losses = [float(line["validation_loss"]) for line in lines if line["validation_loss"]]
    assert torch.load(run / CHECKPOINTS[0], weights_only=True)["epoch"] == losses.index(min(losses))
    assert sum(line["train_loss"] != "" for line in lines) == 6
    assert sum(line["validation_improvement_db"] != "" for line in lines) == len(losses) == 3


def test_the_configuration_in_the_folder_makes_the_same_weights_with_any_workers_and_logger(
    separatrix, trained, tmp_path
):
    other = ["--data.workers", "2", "--logger", "none", "--run", tmp_path]
    separatrix.succeed("fit", "--config", trained / "through" / "config.yaml", *other)
    assert all(separatrix.same_weights(trained / "through" / name, tmp_path / name) for name in CHECKPOINTS)
    first, again = (yaml.safe_load((run / "config.yaml").read_text()) for run in (trained / "through", tmp_path))
    assert {name for name in first if first[name] != again[name]} == {"run", "data", "logger"}


def test_a_run_is_resumed_with_its_best_score_wherever_its_folder_lies(trained, separatrix, tmp_path):
    shutil.copytree(trained / "cut", tmp_path / "new name")
    run = tmp_path / "link"
    run.symlink_to(tmp_path / "new name", target_is_directory=True)
    best = (run / CHECKPOINTS[0]).read_bytes()
    outcome = separatrix.succeed("fit", *separatrix.arguments("strong", steep(3)), "--run", run, "--ckpt_path", "last")
    assert "dirpath" not in outcome.err
    assert (run / CHECKPOINTS[0]).read_bytes() == best
    assert all(separatrix.same_weights(trained / "through" / name, run / name) for name in CHECKPOINTS)
    (score, patience), (expected_score, expected_patience) = states(run), states(trained / "through")
    assert score["best_model_score"] == expected_score["best_model_score"]
    assert score["best_model_path"] == str((run / CHECKPOINTS[0]).resolve())
    assert patience == expected_patience and patience["wait_count"] >= 1
    # Both parts of the curve are kept, and the configuration is that of a training from the start.
    assert len(list(run.glob("curves/*/metrics.csv"))) == 2
    assert yaml.safe_load((run / "config.yaml").read_text())["ckpt_path"] is None


def test_where_there_is_no_best_checkpoint_the_next_epoch_is_the_best(trained, separatrix, tmp_path):
    given = trained / "cut" / CHECKPOINTS[1]
    separatrix.succeed("fit", *separatrix.arguments("strong", steep(3)), "--run", tmp_path, "--ckpt_path", given)
    assert torch.load(tmp_path / CHECKPOINTS[0], weights_only=True)["epoch"] == 2


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("model.optimizer.lr", 0.5, "optimizer.init_args.lr: 0.5, but 100.0 when the training began; go on with what"),
        ("data.event_rate", 3, "train_rules.event_rate: 3.0, but 5.0 when the training began"),
        ("data.corpus.seed", 7, "train_clips: "),
        ("seed_everything", 7, "seed_everything: 7, but 0 when the training began"),
        ("ckpt_path", "null", "holds a training; --ckpt_path last resumes"),
        ("ckpt_path", "{trained}", "holds a training; --ckpt_path last resumes"),  # of another folder
    ],
)
def test_a_setting_that_decides_a_result_is_refused_with_both_its_values(
    setting, value, told, trained, separatrix, tmp_path
):
    shutil.copytree(trained / "cut", tmp_path / "run")
    before = separatrix.listing(tmp_path / "run")
    value = trained / "cut" / CHECKPOINTS[1] if value == "{trained}" else value
    settings = {**steep(3), "run": tmp_path / "run", "ckpt_path": "last", setting: value}
    outcome = separatrix.run("fit", *separatrix.arguments("strong", settings))
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("separatrix fit: ")]
    assert outcome.status == 2 and told in line, outcome.err
    assert separatrix.listing(tmp_path / "run") == before


def test_other_settings_are_applied_and_early_stopping_holds_after_a_resume(trained, separatrix, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained / "cut", run)
    changes = {
        **{"data.workers": 1, "data.batch_size": 2, "data.bank_folder": tmp_path / "banks", "data.test_mixtures": 3},
        **{"trainer.gradient_clip_val": 0.5, "early_stopping.patience": 3, "logger": "none"},
    }
    arguments = [*separatrix.arguments("strong", {**steep(9), **changes}), "--run", run, "--ckpt_path", "last"]
    separatrix.succeed("fit", *arguments)
    # Two epochs of two steps each, then some of four.
    checkpoint, patience = last(run), states(run)[1]
    assert patience["patience"] == patience["wait_count"] == 3
    assert 2 < checkpoint["epoch"] < 8 and checkpoint["global_step"] == 2 * 2 + (checkpoint["epoch"] - 1) * 4
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["workers"] == 1
    before = separatrix.listing(run / "checkpoints")
    separatrix.succeed("fit", *arguments)
    assert separatrix.listing(run / "checkpoints") == before


def seen(folder):
    """The mixtures of every epoch, by rank."""
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


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_killed_training_resumes_with_the_mixtures_of_the_next_epoch(
    ranks, separatrix, processes, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # of further ranks
    run = tmp_path / "run"
    settings = {"data.workers": 1, "data.batch_size": 4 // ranks, "trainer.devices": ranks}
    watched = ["--trainer.callbacks+", "faults.SeenMixtures", "--trainer.callbacks.folder"]

    def fit(number, folder):
        arguments = separatrix.arguments("strong", {**settings, "trainer.max_epochs": number})
        return ["fit", *arguments, *watched, tmp_path / folder, "--run", run, "--ckpt_path", "last"]

    with processes.start(*fit(10_000, "killed")) as running:
        running.wait_until(lambda: epochs(run))
        running.signal(signal.SIGKILL)
        running.end()
    kept = epochs(run)
    processes.succeed(*fit(kept + 1, "resumed"))
    before, after = seen(tmp_path / "killed"), seen(tmp_path / "resumed")
    assert {visit: before[visit] for visit in expected(ranks, kept)} == expected(ranks, kept)
    assert after == {(rank, kept): expected(ranks, kept + 1)[rank, kept] for rank in range(ranks)}


def test_a_loader_worker_that_is_killed_ends_the_training_in_one_line(separatrix, processes, tmp_path):
    settings = {"data.workers": 1, "trainer.max_epochs": 100_000}
    with processes.start("fit", *separatrix.arguments("strong", settings), "--run", tmp_path / "run") as running:
        running.wait_until(lambda: epochs(tmp_path / "run"))
        for worker in running.others():
            os.kill(worker, signal.SIGKILL)
        ended = running.end()
    (line,) = [line for line in ended.printed.splitlines() if line.startswith("separatrix fit: ")]
    assert ended.status == 2 and "Traceback" not in ended.printed
    assert "DataLoader worker" in line and "--data.workers 0" in line


def test_predict_writes_the_estimates_of_every_test_mixture_as_audio(separatrix, tmp_path):
    best = separatrix.best("strong")
    separatrix.succeed("predict", *separatrix.arguments("strong"), "--ckpt_path", best, "--run", tmp_path)
    folders = list((tmp_path / "estimates").iterdir())
    assert len(folders) == int(separatrix.scenes["data.test_mixtures"])
    names = {"mixture", "car_horn", "dog_bark", "gun_shot", "jackhammer", "siren"}
    assert {file.stem for file in folders[0].iterdir()} == names
