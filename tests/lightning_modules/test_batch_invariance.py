"""One mixture costs one pass through the LSTM, and in an evaluation on a CPU counts as one of several."""

from functools import partial

import pytest
import torch
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, random_batch, trainer

from lightning_modules.networks import BLSTM
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


@pytest.fixture
def separator():
    torch.manual_seed(0)
    return WeakLabelSeparator(classes=CLASSES, **GEOMETRY_SETTINGS, network=partial(BLSTM, units=4, layers=1))


@pytest.fixture
def passes(separator):
    """Mixtures in every pass through the LSTM."""
    counted = []
    separator.network.recurrent.lstm.register_forward_pre_hook(lambda module, inputs: counted.append(len(inputs[0])))
    return counted


def test_one_mixture_at_inference_pays_the_lstm_once(separator, passes):
    with torch.no_grad():
        separator(random_batch(1).mixture), separator(random_batch(3).mixture)
    assert passes == [1, 3]


def test_only_evaluation_computes_one_mixture_as_one_of_several_and_inference_after_it_does_not(separator, passes):
    trainer().validate(separator, datamodule=RandomScenes(), verbose=False)
    assert passes == [5, 2]  # the second batch holds one
    trainer(1).fit(separator, datamodule=RandomScenes())
    assert passes[2:] == [4, 4, 5, 2]
    separator(random_batch(1).mixture)
    assert passes[-1] == 1


def test_a_row_is_the_same_to_the_last_bit_whichever_mixtures_share_its_batch(separator):
    batch = random_batch(4)
    found = []

    def test_step(batch, batch_index=0):
        found.append(separator(batch.mixture))
        return found[-1]

    separator.test_step = test_step
    scenes = RandomScenes()
    for sizes in ((4,), (3, 1), (1, 1, 1, 1)):
        parts = [type(batch)(*fields) for fields in zip(*(field.split(sizes) for field in batch), strict=True)]
        scenes.test_dataloader = lambda parts=parts: torch.utils.data.DataLoader(parts, batch_size=None)
        trainer().test(separator, datamodule=scenes, verbose=False)
    whole, divided, alone = found[0], torch.cat(found[1:3]), torch.cat(found[3:])
    assert torch.equal(whole, divided) and torch.equal(whole, alone)
