"""When one mixture is computed as one of several: while a trainer evaluates on a CPU, and at no other time."""

from functools import partial

import pytest
import torch
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, random_batch, trainer

from lightning_modules.batch_invariance import batch_invariant
from lightning_modules.networks import BLSTM
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


@pytest.fixture
def separator():
    return WeakLabelSeparator("strong", classes=CLASSES, network=partial(BLSTM, units=3, layers=1), **GEOMETRY_SETTINGS)


@pytest.fixture
def at_once(separator):
    """How many mixtures reached the LSTM, call by call."""
    seen: list[int] = []
    separator.network.recurrent.lstm.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    return seen


# Batches of five mixtures and of one are evaluated, of four trained on.
@pytest.mark.parametrize(
    ("stage", "expected"), [("fit", [4, 4, 5, 2]), ("validate", [5, 2]), ("test", [5, 2]), ("predict", [5, 1])]
)
def test_one_mixture_is_doubled_while_a_trainer_evaluates_and_not_afterwards(stage, expected, separator, at_once):
    data = RandomScenes()
    getattr(trainer(1), stage)(separator, datamodule=data)
    assert at_once == expected
    with torch.inference_mode():
        separator.eval()(random_batch(1).mixture)
    assert at_once == [*expected, 1]
    assert not batch_invariant(torch.zeros(1, 2))
