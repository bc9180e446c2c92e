"""The LSTM stack: torch's own with the same weights, its initialisations, and batches that must not show."""

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.networks.blstm import BidirectionalLSTM

INPUTS, OUTPUTS, FRAMES = 9, 4, 11


def tiny(**settings) -> BLSTM:
    torch.manual_seed(0)
    return BLSTM(INPUTS, OUTPUTS, **{"units": 5, "layers": 2, **settings})


def features(batch: int = 3, frames: int = FRAMES) -> Tensor:
    return torch.randn(batch, INPUTS, frames, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layers", [1, 3])
def test_it_is_torchs_bidirectional_lstm_and_a_linear_layer_of_the_same_weights(layers):
    network = tiny(layers=layers)
    lstm = nn.LSTM(INPUTS, 5, layers, batch_first=True, bidirectional=True)
    linear = nn.Linear(10, OUTPUTS)
    lstm.load_state_dict(network.recurrent.lstm.state_dict())
    linear.load_state_dict(network.output.state_dict())
    for batch in (1, 3):
        expected = linear(lstm(features(batch).mT)[0]).mT
        assert torch.equal(network(features(batch)), expected) and expected.shape == (batch, OUTPUTS, FRAMES)


def test_an_answer_in_one_frame_depends_on_all_of_them():
    inputs = features(1).requires_grad_()
    (gradient,) = torch.autograd.grad(tiny()(inputs)[0, 0, 3], inputs)
    assert gradient.abs().amax((0, 1)).min() > 0


def test_dropout_acts_between_layers_in_training_alone(recwarn):
    network = tiny(dropout=0.5)
    assert not torch.equal(network(features()), network(features()))
    assert torch.equal(network.eval()(features()), tiny()(features()))
    single = tiny(dropout=0.5, layers=1)
    assert torch.equal(single(features()), single(features()))
    assert not recwarn.list


@pytest.mark.parametrize(("scale", "deviation"), [(8.0, 8 / 600**0.5), (None, 1 / 1800**0.5)])
def test_the_linear_layer_starts_as_wide_as_it_is_told(scale, deviation):
    network = BLSTM(20, 1000, units=300, layers=1, output_init_scale=scale)
    assert network.output.weight.detach().std().item() == pytest.approx(deviation, rel=0.01)


def parameters(init: str, units: int = 40) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(BidirectionalLSTM(30, units, 2, lstm_init=init).lstm.named_parameters())  # type: ignore[arg-type]


def test_orthogonal_has_orthogonal_recurrence_open_forget_gates_and_inputs_as_wide_as_glorots():
    units = 40
    for name, parameter in parameters("orthogonal", units).items():
        gates = parameter.unflatten(0, (4, units))  # input, forget, cell, output
        if name.startswith("weight_hh"):
            torch.testing.assert_close(gates @ gates.mT, torch.eye(units).expand(4, -1, -1), atol=1e-5, rtol=0)
        elif name.startswith("weight_ih"):
            bound = (6 / (units + parameter.shape[1])) ** 0.5
            assert 0.97 * bound < parameter.abs().max() <= bound
        else:
            opened = torch.zeros(4, units)
            opened[1] = float(name.startswith("bias_ih"))
            assert torch.equal(gates, opened)


def test_uniform_is_torchs_own():
    torch.manual_seed(0)
    reference = dict(nn.LSTM(30, 40, 2, batch_first=True, bidirectional=True).named_parameters())
    made = parameters("uniform")
    assert made.keys() == reference.keys()
    assert all(torch.equal(made[name], reference[name]) for name in reference)


def test_a_setting_that_is_not_possible_is_refused_by_name():
    impossible = {"units": 0, "layers": 0, "dropout": -0.1, "output_init_scale": 0.0, "lstm_init": "open_gate"}
    for setting, value in impossible.items():
        with pytest.raises(InputError, match=rf"^{setting}: '?{value}'?; [^\n]*needed$"):
            tiny(**{setting: value})
