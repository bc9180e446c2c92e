"""How a training tells its progress."""

from types import SimpleNamespace

import pytest

from callbacks.training_progress import duration, epoch_limit


@pytest.mark.parametrize(
    "seconds, told",
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3600, "1 h 00 min")],
)
def test_durations_are_told_in_two_units_at_most(seconds, told):
    assert duration(seconds) == told


@pytest.mark.parametrize(
    "epochs, steps, accumulate, limit",
    [(10, -1, 1, 10), (None, -1, 1, None), (-1, -1, 1, None), (10, 50, 1, 8), (None, 49, 1, 7), (-1, 8, 2, 2)],
)
def test_the_last_epoch_is_that_of_the_last_step_where_steps_end_sooner(epochs, steps, accumulate, limit):
    trainer = SimpleNamespace(max_epochs=epochs, max_steps=steps, accumulate_grad_batches=accumulate)
    trainer.num_training_batches = 7
    assert epoch_limit(trainer) == limit
