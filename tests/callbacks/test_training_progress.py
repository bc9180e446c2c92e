"""How a training tells its progress."""

from functools import partial
from itertools import count
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import Timer
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, trainer

from callbacks import step_progress, training_progress
from callbacks.step_progress import StepProgress
from callbacks.training_progress import LATER, EpochLines, duration, epoch_limit, seconds_left, time_left
from lightning_modules.networks import BLSTM
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


@pytest.mark.parametrize(
    "seconds, told",
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min")],
)
def test_durations_are_told_in_two_units_at_most(seconds, told):
    assert duration(seconds) == told


@pytest.mark.parametrize(
    "epochs, steps, accumulate, limit",
    [
        (10, -1, 1, 10),
        (None, -1, 1, None),
        (-1, -1, 1, None),
        (10, 50, 1, 8),
        (None, 49, 1, 7),
        (-1, 8, 2, 2),
        (-1, 9, 2, 3),
    ],
)
def test_the_last_epoch_is_that_of_the_last_step_where_steps_end_sooner(epochs, steps, accumulate, limit):
    trainer = SimpleNamespace(max_epochs=epochs, max_steps=steps, accumulate_grad_batches=accumulate)
    trainer.num_training_batches = 7
    assert epoch_limit(trainer) == limit


def test_the_time_left_is_that_of_the_epochs_or_of_the_clock_and_of_a_reproductions_later_stages(monkeypatch):
    trainer = SimpleNamespace(max_epochs=10, max_steps=-1, callbacks=[])
    assert seconds_left(trainer, took=60, first=2, done=3.5) == 60 / 1.5 * 6.5  # resumed after two epochs
    assert seconds_left(trainer, took=60, first=2, done=10.1) == 0  # where the last epoch takes longer than others
    trainer.callbacks = [Timer({"seconds": 100})]
    assert seconds_left(trainer, took=60, first=2, done=3.5) == 100
    assert seconds_left(trainer, took=60, first=2, done=2) == 100  # a loader without a length
    trainer.max_epochs, trainer.callbacks = -1, []
    assert seconds_left(trainer, took=60, first=2, done=3.5) == 0
    assert (time_left(60, 0), time_left(60, 30)) == ("", "30 s left")
    monkeypatch.setenv(LATER, "12.5 2")
    assert time_left(60, 30) == "30 s left, 3 min 42 s in all"


def test_a_resumed_training_tells_later_ones_how_long_all_of_it_takes(monkeypatch):
    monkeypatch.setattr(training_progress, "time", SimpleNamespace(monotonic=count(0, 60).__next__))
    monkeypatch.setenv(LATER, "0 4")
    running = SimpleNamespace(max_epochs=18, max_steps=-1, current_epoch=16, callbacks=[], callback_metrics={})
    running.is_global_zero = False
    monkeypatch.setattr(training_progress, "epoch_is_whole", lambda trainer: True)
    lines = EpochLines()
    lines.on_train_start(running, None)
    lines._epoch_begun = 0
    lines.on_train_epoch_end(running, None)  # a minute an epoch
    assert lines._left == f"1 min 00 s left, {duration(60 + 4 * 18 * 60)} in all"


@pytest.mark.parametrize("whole", [True, False])
def test_an_epoch_that_was_cut_short_and_so_is_not_kept_is_never_the_best(whole, monkeypatch):
    monkeypatch.setattr(training_progress, "epoch_is_whole", lambda trainer: whole)
    running = SimpleNamespace(max_epochs=3, max_steps=-1, current_epoch=0, callbacks=[], is_global_zero=False)
    running.callback_metrics = {"validation_loss": 1.5}
    lines = EpochLines()
    lines.on_train_start(running, None)
    lines.on_validation_end(running, None)
    lines.on_train_epoch_end(running, None)
    assert (lines.state_dict() == {"epoch": 1, "loss": 1.5}) == whole


@pytest.mark.parametrize(("epochs", "told"), [(2, False), (30, False), (31, True), (None, True)])
def test_patience_is_told_where_it_can_run_out(epochs, told, capsys):
    running = SimpleNamespace(max_epochs=epochs, max_steps=-1, is_global_zero=True)
    running.early_stopping_callback = SimpleNamespace(wait_count=1, patience=30)
    lines = EpochLines()
    lines._facts = ["epoch 2", "best: epoch 1"]
    lines.on_train_end(running, None)
    assert ("patience 1/30" in capsys.readouterr().out) == told


def test_a_log_is_told_within_an_epoch_and_an_evaluation(monkeypatch, capsys):
    monkeypatch.setattr(step_progress, "EVERY", 0)
    monkeypatch.setattr(step_progress, "time", SimpleNamespace(monotonic=count().__next__))  # a second a look
    tiny = partial(BLSTM, units=4, layers=1)
    module = WeakLabelSeparator("strong", classes=CLASSES, network=tiny, **GEOMETRY_SETTINGS)
    running = trainer(2, callbacks=[StepProgress()])
    running.fit(module, datamodule=RandomScenes())
    running.test(module, datamodule=RandomScenes(), verbose=False)
    lines = capsys.readouterr().out.splitlines()
    epochs = [f"epoch {n}/2{doing} {share}%" for n in (1, 2) for doing in ("", ", validation") for share in (50, 100)]
    assert [line.split("  ")[0] for line in lines] == [*epochs, "test 50%", "test 100%"]
    # The first epoch took 6 s: its start, two batches, two of validation, and the start of the second.
    assert [line.split("  ")[1:] for line in lines[4:]] == [*([f"{n} s left"] for n in (5, 4, 3, 2, 1)), []]
    assert not any("left" in line for line in lines[:4])
