"""The logistic function, the same wherever an element stands."""

import pytest
import torch

from lightning_modules.activation import sigmoid


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_it_is_the_logistic_function_with_and_without_gradients():
    logits = torch.linspace(-200, 200, 4001)
    expected = logits.double().sigmoid().float()
    with torch.no_grad():
        torch.testing.assert_close(sigmoid(logits), expected, rtol=3e-7, atol=1e-38)
    logits.requires_grad_()
    sigmoid(logits).sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all() and float(logits.grad.max()) == 0.25
    torch.testing.assert_close(sigmoid(logits), expected, rtol=3e-7, atol=1e-38)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("length", [1, 7, 129 * 38, 50_001])
def test_an_element_does_not_depend_on_its_place_nor_on_the_threads(length, number):
    logits = 4 * torch.randn(5, length, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.set_num_threads(1)
        whole = sigmoid(logits)
        torch.set_num_threads(number)
        for size in (1, 2, 3):
            parts = torch.cat([sigmoid(part) for part in logits.split(size)])
            assert torch.equal(parts, whole)
        assert logits.abs().max() > 1  # and the argument is left alone
        assert torch.equal(sigmoid(logits), whole)
