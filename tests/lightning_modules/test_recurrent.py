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


def test_while_training_a_batch_of_one_is_not_doubled():
    torch.manual_seed(0)
    recurrent = BidirectionalLSTM(5, 3, 1)
    seen = []
    recurrent.lstm.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    recurrent(torch.randn(1, 5, 4)).sum().backward()
    assert seen == [1]
