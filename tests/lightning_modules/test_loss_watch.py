"""Losses that are not finite are told by their mixtures, at once or when a GPU's are looked at."""

import pytest
import torch

from lightning_modules.errors import InputError
from lightning_modules.loss_watch import LossWatch


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_the_mixtures_of_a_loss_that_is_not_finite_are_named_with_their_batch(value):
    LossWatch().record(torch.tensor([0.0, -1e30]), torch.tensor([1, 2]), split="train", epoch=0)
    losses, indices = torch.tensor([1.0, float(value), 2.0, float(value)]), torch.tensor([40, 7, 3, 19])
    with pytest.raises(InputError) as refused:
        LossWatch().record(losses, indices, split="validation", epoch=4)
    told = str(refused.value)
    assert f"loss: {value} in epoch 5 for validation mixtures 7, 19 (batch: 40, 7, 3, 19)" in told
    assert "--split validation --start 7 --mixtures 1 --output MIXTURE` renders it again" in told


def test_of_what_was_collected_the_first_culprit_is_named():
    watch = LossWatch(steps=3)
    # As on a GPU. Weights that a NaN has spoilt give NaN ever after.
    watch.record(torch.tensor([1.0]), torch.tensor([0]), split="train", epoch=0)
    watch.record(torch.tensor([float("nan")]), torch.tensor([1]), split="train", epoch=0)
    with pytest.raises(InputError, match=r"for train mixture 1 \(batch: 1\)"):
        watch.record(torch.tensor([float("nan")]), torch.tensor([2]), split="train", epoch=0)
    watch.check()  # what was told is not told again


def test_the_last_steps_of_an_epoch_are_looked_at_when_it_ends():
    watch = LossWatch(steps=3)
    watch.record(torch.tensor([float("inf")]), torch.tensor([8]), split="train", epoch=2)
    with pytest.raises(InputError, match=r"^loss: inf in epoch 3 for train mixture 8 \(batch: 8\)"):
        watch.check()


def test_losses_on_a_gpu_are_looked_at_every_50_steps(monkeypatch):
    watch, looked = LossWatch(), []
    monkeypatch.setattr(watch, "check", lambda: looked.append(True))
    for step in range(1, 51):
        watch.record(torch.zeros(2, device="meta"), torch.tensor([0, 1]), split="train", epoch=0)
        assert bool(looked) == (step == 50)
