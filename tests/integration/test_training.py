"""What `fit` leaves behind, and that going on after an interruption leaves the same."""

import json

import pytest
import torch
import yaml

from lightning_modules.checkpoint import read_checkpoint

THREE_EPOCHS = {"trainer.max_epochs": 3, "trainer.log_every_n_steps": 1}


def last(run):
    return run / "checkpoints" / "last.ckpt"


def best(run):
    return run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def three_epochs(separatrix, tmp_path_factory):
    """A training of three epochs without interruption."""
    run = tmp_path_factory.mktemp("three")
    separatrix.succeed("fit", *separatrix.arguments("strong", THREE_EPOCHS), "--run", run)
    return run


def test_a_training_leaves_its_configuration_versions_checkpoints_and_curves(separatrix, three_epochs):
    assert sorted(path.name for path in three_epochs.iterdir()) == [
        "checkpoints",
        "config.yaml",
        "curves",
        "environment.json",
    ]
    assert sorted(path.name for path in (three_epochs / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    for path in (best(three_epochs), last(three_epochs)):
        checkpoint = torch.load(path, weights_only=True)
        identity = {name: checkpoint["hyper_parameters"][name] for name in ("sample_rate", "window", "supervision")}
        assert identity == {"sample_rate": 8000, "window": 256, "supervision": "strong"}
        assert len(checkpoint["hyper_parameters"]["classes"]) == 5
    assert read_checkpoint(last(three_epochs))["epoch"] == 2
    environment = json.loads((three_epochs / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__
    (curves,) = three_epochs.glob("curves/*/metrics.csv")
    lines = separatrix.rows(curves)
    losses = [line["validation_loss"] for line in lines if line["validation_loss"]]
    assert len(losses) == 3 and len(set(losses)) == 3
    assert sum(line["train_loss"] != "" for line in lines) == 6
    assert sum(line["validation_improvement_db"] != "" for line in lines) == 3


def test_the_configuration_in_the_folder_alone_makes_the_same_weights_again(separatrix, three_epochs, tmp_path):
    separatrix.succeed("fit", "--config", three_epochs / "config.yaml", "--run", tmp_path)
    assert separatrix.same_weights(last(three_epochs), last(tmp_path))
    assert separatrix.same_weights(best(three_epochs), best(tmp_path))
    first, again = (yaml.safe_load((run / "config.yaml").read_text()) for run in (three_epochs, tmp_path))
    assert first.pop("run") != again.pop("run")
    assert first == again


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(separatrix, three_epochs):
    (curves,) = three_epochs.glob("curves/*/metrics.csv")
    losses = [float(line["validation_loss"]) for line in separatrix.rows(curves) if line["validation_loss"]]
    assert read_checkpoint(best(three_epochs))["epoch"] == losses.index(min(losses))


def test_going_on_from_the_last_epoch_ends_as_if_there_had_been_no_interruption(separatrix, three_epochs, tmp_path):
    separatrix.succeed("fit", *separatrix.arguments("strong"), "--run", tmp_path)
    assert read_checkpoint(last(tmp_path))["epoch"] == 0
    more = separatrix.arguments("strong", THREE_EPOCHS)
    separatrix.succeed("fit", *more, "--run", tmp_path, "--ckpt_path", "last")
    assert separatrix.same_weights(last(three_epochs), last(tmp_path))
    assert separatrix.same_weights(best(three_epochs), best(tmp_path))
    # Both parts of the curve are kept, and the configuration is that of a training from the start.
    assert len(list(tmp_path.glob("curves/*/metrics.csv"))) == 2
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["ckpt_path"] is None


def test_a_weak_system_goes_on_as_well_as_it_ran_through(separatrix, tmp_path):
    settings = {"model.judge": separatrix.best("judge_frame"), "trainer.max_epochs": 2}
    through = separatrix.arguments("frame", settings)
    separatrix.succeed("fit", *through, "--run", tmp_path / "through")
    separatrix.succeed("fit", *through, "--trainer.max_epochs", "1", "--run", tmp_path / "cut")
    separatrix.succeed("fit", *through, "--run", tmp_path / "cut", "--ckpt_path", "last")
    assert separatrix.same_weights(last(tmp_path / "through"), last(tmp_path / "cut"))


# At this rate the loss soon stands still.
HALVED = {"model.optimizer.lr": 100, "model.scheduler": "torch.optim.lr_scheduler.ReduceLROnPlateau"}
HALVED |= {"model.scheduler.patience": 0, "model.scheduler.factor": 0.5}
# Two steps an epoch.
CYCLE = {"model.optimizer": "SGD", "model.optimizer.lr": 0.1, "model.optimizer.momentum": 0.9}
CYCLE |= {"model.scheduler": "OneCycleLR", "model.scheduler.max_lr": 0.1, "model.scheduler.total_steps": 10}
CYCLE |= {"model.scheduler_interval": "step"}


@pytest.mark.parametrize(("settings", "first"), [(HALVED, 100), (CYCLE, 0.1)], ids=["halved on a plateau", "one cycle"])
def test_a_rate_that_changes_is_the_same_after_an_interruption(settings, first, separatrix, tmp_path):
    for run, stops in (("through", [5]), ("cut", [4, 5])):
        for epochs in stops:
            arguments = separatrix.arguments("strong", {**settings, "trainer.max_epochs": epochs})
            separatrix.succeed("fit", *arguments, "--run", tmp_path / run, "--ckpt_path", "last")
    rates = [
        read_checkpoint(last(tmp_path / run))["optimizer_states"][0]["param_groups"][0]["lr"]
        for run in ("through", "cut")
    ]
    assert rates[0] == rates[1] < first
    assert separatrix.same_weights(last(tmp_path / "through"), last(tmp_path / "cut"))


def test_a_training_that_had_stopped_early_is_not_resumed_for_another_epoch(separatrix, tmp_path):
    # At this rate the loss soon stands still.
    settings = {"trainer.max_epochs": 9, "stopping.patience": 1, "model.optimizer.lr": 100}
    arguments = [*separatrix.arguments("strong", settings), "--run", tmp_path]
    separatrix.succeed("fit", *arguments)
    best_epoch, stopped = (read_checkpoint(path(tmp_path))["epoch"] for path in (best, last))
    assert stopped == best_epoch + 1 < 8  # the last epoch is kept though another was better
    before = separatrix.listing(tmp_path / "checkpoints")
    separatrix.succeed("fit", *arguments, "--ckpt_path", "last")
    assert separatrix.listing(tmp_path / "checkpoints") == before


def test_the_first_of_many_starts_with_ckpt_path_last_begins_from_nothing(separatrix, tmp_path):
    separatrix.succeed("fit", *separatrix.arguments("strong"), "--run", tmp_path, "--ckpt_path", "last")
    assert separatrix.same_weights(last(tmp_path), separatrix.systems / "strong" / "checkpoints" / "last.ckpt")


def test_a_folder_that_holds_a_training_is_not_written_over(separatrix, tmp_path):
    arguments = [*separatrix.arguments("strong", {"trainer.max_epochs": 1}), "--run", tmp_path]
    separatrix.succeed("fit", *arguments)
    written = last(tmp_path).read_bytes()
    outcome = separatrix.run("fit", *arguments)
    assert outcome.status == 2 and "holds a training; --ckpt_path last goes on" in outcome.err
    assert last(tmp_path).read_bytes() == written


def test_predict_writes_the_estimates_of_every_test_mixture_as_audio(separatrix, tmp_path):
    arguments = separatrix.arguments("strong")
    separatrix.succeed("predict", *arguments, "--ckpt_path", separatrix.best("strong"), "--run", tmp_path)
    folders = list((tmp_path / "estimates").iterdir())
    assert len(folders) == int(separatrix.scenes["data.test_mixtures"])
    assert {file.stem for file in folders[0].iterdir()} == {
        "mixture", "car_horn", "dog_bark", "gun_shot", "jackhammer", "siren"
    }  # fmt: skip


def test_predict_with_a_judge_is_refused(separatrix, tmp_path):
    arguments = [*separatrix.arguments("judge_frame"), "--ckpt_path", separatrix.best("judge_frame"), "--run", tmp_path]
    outcome = separatrix.run("predict", *arguments)
    assert outcome.status == 2 and "EventClassifier makes no estimates" in outcome.err
