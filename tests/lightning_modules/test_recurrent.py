"""The bidirectional LSTM: what surrounds a mixture in its batch must not show."""

import pytest
import torch
from lightning_modules.recurrent import BidirectionalLSTM


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("units, layers", [(6, 1), (128, 1), (300, 2)])
def test_in_evaluation_states_are_the_same_bits_in_batches_of_any_size(units, layers, precision):
    torch.manual_seed(0)
    recurrent = BidirectionalLSTM(65, units, layers).eval()
    features = torch.randn(7, 65, 30)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
        together = recurrent(features)
        assert together.shape == (7, 30, 2 * units)
        for size in (1, 2, 3, 5):
            assert torch.equal(torch.cat([recurrent(batch) for batch in features.split(size)]), together), size


def parameters(start, units=40, layers=2):
    torch.manual_seed(0)
    return dict(BidirectionalLSTM(30, units, layers, start=start).lstm.named_parameters())


def test_with_open_gates_recurrence_is_orthogonal_forget_gates_are_open_and_inputs_as_wide_as_glorots():
    units = 40
    for name, parameter in parameters("open_gate", units).items():
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


def test_the_uniform_start_is_torchs_own():
    torch.manual_seed(0)
    reference = dict(torch.nn.LSTM(30, 40, 2, batch_first=True, bidirectional=True).named_parameters())
    made = parameters("uniform")
    assert made.keys() == reference.keys()
    assert all(torch.equal(made[name], reference[name]) for name in reference)


def test_while_training_a_batch_of_one_is_not_doubled():
    torch.manual_seed(0)
    recurrent = BidirectionalLSTM(5, 3, 1)
    seen = []
    recurrent.lstm.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    recurrent(torch.randn(1, 5, 4)).sum().backward()
    assert seen == [1]
