"""How long a training still takes."""

from types import SimpleNamespace

import pytest

from callbacks import training_progress
from callbacks.training_progress import TrainingClock, duration, epoch_limit


@pytest.mark.parametrize(
    "seconds, told",
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min")],
)
def test_durations_are_told_in_two_units_at_most(seconds, told):
    assert duration(seconds) == told


def trainer(epoch, epochs, steps=-1, accumulate=1):
    limits = {"max_epochs": epochs, "max_steps": steps, "accumulate_grad_batches": accumulate}
    return SimpleNamespace(current_epoch=epoch, num_training_batches=7, **limits)


def test_what_is_left_is_the_rest_of_the_epochs_at_the_pace_since_the_start(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(training_progress.time, "monotonic", lambda: now[0])
    clock, resumed = TrainingClock(), TrainingClock(6)
    assert clock.left(trainer(0, 10), 0.0) is None  # nothing to tell by
    now[0] += 5
    assert clock.left(trainer(0, 10), 0.25) == pytest.approx(5 / 0.25 * 9.75)
    now[0] += 25
    assert clock.left(trainer(1, 10), 0.5) == pytest.approx(30 / 1.5 * 8.5)
    assert clock.left(trainer(9, 10), 1.0) == 0
    assert resumed.left(trainer(7, 10), 1.0) == pytest.approx(30 / 2 * 2)  # counts only its own epochs
    for limited in (trainer(1, -1), trainer(1, None)):
        assert epoch_limit(limited) is None and clock.left(limited, 0.5) is None


def test_the_last_epoch_is_that_of_the_last_step_where_steps_end_sooner():
    assert epoch_limit(trainer(1, 10, steps=50)) == 8  # of 7 steps each
    assert epoch_limit(trainer(1, None, steps=49)) == 7
    assert epoch_limit(trainer(1, 3, steps=50)) == 3
    assert epoch_limit(trainer(1, -1, steps=8, accumulate=2)) == 2  # of 4 steps each, the last of a single batch
