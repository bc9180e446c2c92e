"""The convolutional network: frame rates, shapes, and what its answers may depend on."""

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.errors import InputError
from lightning_modules.networks import CRNN
from lightning_modules.weak_labels.labels import pool_frame_labels

BINS, CLASSES = 17, 3


def tiny(**settings) -> CRNN:
    torch.manual_seed(0)
    return CRNN(BINS, CLASSES, **{"channels": (2, 3, 4), "units": 5, **settings})


def magnitudes(frames: int = 12, batch: int = 2) -> Tensor:
    return torch.rand(batch, BINS, frames, generator=torch.Generator().manual_seed(1))


def test_the_published_classifier_is_three_convolutions_and_one_lstm_of_100_units_without_dropout_or_normalisation():
    network = CRNN(257, 5)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert [(c.kernel_size, c.out_channels) for c in convolutions] == [((5, 5), 32), ((5, 5), 64), ((5, 5), 128)]
    # 257 bins are pooled to 128, 64 and 32 rows of 128 channels.
    lstm = next(layer for layer in network.modules() if isinstance(layer, nn.LSTM))
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.bidirectional) == (32 * 128, 100, 1, True)
    assert not [
        m for m in network.modules() if isinstance(m, nn.Dropout | nn.Dropout2d | nn.BatchNorm2d | nn.LayerNorm)
    ]
    assert lstm.dropout == 0


def test_it_is_convolutions_pooling_lstm_and_linear_written_out():
    network, inputs = tiny(), magnitudes()
    maps = inputs.unsqueeze(1)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer, pooling in zip(convolutions, ((2, 1), (2, 2), (2, 2)), strict=True):
        maps = nn.functional.conv2d(maps, layer.weight, layer.bias, padding=2).relu()
        maps = nn.functional.max_pool2d(maps, pooling)
    states = network.recurrent.lstm(maps.flatten(1, 2).mT)[0]
    torch.testing.assert_close(network(inputs), network.output(states).mT)


@pytest.mark.parametrize("frames", [4, 7, 30, 33])
def test_labels_and_logits_have_the_same_frames_whatever_the_length(frames):
    labels = pool_frame_labels(torch.zeros(2, CLASSES, frames), CRNN.frame_reduction)
    assert tiny()(magnitudes(frames)).shape == labels.shape == (2, CLASSES, frames // 4)


def test_an_answer_in_one_place_depends_on_the_future_and_on_the_past():
    inputs = magnitudes(48, batch=1).requires_grad_()
    logits = tiny()(inputs)
    (gradient,) = torch.autograd.grad(logits[0, 0, logits.shape[-1] // 2], inputs)
    # Farther away than three convolutions see.
    assert gradient[0, :, :12].any() and gradient[0, :, -12:].any()


def test_a_setting_that_is_not_possible_is_refused_by_name_and_so_are_too_few_bins_for_the_pooling():
    for settings in ({"channels": (2, 3)}, {"channels": 3}, {"channels": (2, 0, 4)}, {"lstm_init": "other"}):
        with pytest.raises(InputError, match=rf"^{next(iter(settings))}: [^\n]*$"):
            tiny(**settings)
    assert CRNN(8, 2, channels=(1, 1, 1), units=1)(torch.zeros(1, 8, 4)).shape == (1, 2, 1)
    with pytest.raises(InputError, match=r"^window: 12; a CRNN needs one of 14 samples at least$"):
        CRNN(7, 2)
