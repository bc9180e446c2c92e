"""Sigmoids, of unit norm and not, against their definition in float64; blocks do not matter."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_modules.deep_clustering import unit_sigmoid as module
from lightning_modules.deep_clustering.unit_sigmoid import plain_sigmoid, unit_sigmoid


def random_logits(*shape: int, scale: float = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def by_definition(logits: Tensor) -> Tensor:
    shifted = logits.sigmoid() + 1e-9
    return shifted / shifted.square().sum(-1, keepdim=True).sqrt()


def with_gradient(function: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.detach().requires_grad_()
    unit = function(logits)
    upstream = torch.randn(unit.shape, generator=torch.Generator().manual_seed(1))
    return unit.detach(), *torch.autograd.grad(unit, logits, upstream.to(unit.dtype))


@pytest.mark.parametrize("block", [1, 7, 4096])
@pytest.mark.parametrize("shape", [(6,), (3, 5, 6), (1, 3, 5, 1)], ids=str)
def test_vectors_and_derivatives_are_those_of_the_definition_in_any_shape_and_block(shape, block, monkeypatch):
    monkeypatch.setattr(module, "CPU_BLOCK", block)
    logits = random_logits(*shape, dtype=torch.float64)
    torch.testing.assert_close(with_gradient(unit_sigmoid, logits), with_gradient(by_definition, logits))


@pytest.mark.parametrize(("function", "definition"), [(unit_sigmoid, by_definition), (plain_sigmoid, torch.sigmoid)])
@pytest.mark.parametrize("scale", [1, 30])
def test_float32_is_as_good_as_its_rounding(scale, function, definition):
    logits = random_logits(5000, 20, scale=scale)
    found, gradient = with_gradient(function, logits)
    exact, reference = with_gradient(definition, logits.double())
    assert found.dtype == torch.float32 and (found - exact).abs().max() < 2e-7
    assert (gradient - reference).norm() < 1e-6 * reference.norm()


@pytest.mark.parametrize("logit", [-1e4, -25.0, 200.0])
def test_saturated_sigmoids_give_unit_vectors_with_derivatives_that_nearly_vanish(logit):
    unit, gradient = with_gradient(unit_sigmoid, torch.full((3, 4), logit))
    torch.testing.assert_close(unit, torch.full((3, 4), 0.5))
    # At -25 the floor is not yet all there is: σ = 1.4·10⁻¹¹.
    assert gradient.abs().max() < (0.05 if logit == -25 else 1e-6)


def test_logits_in_bfloat16_are_taken_as_they_are_and_calculated_with_in_float32():
    logits = random_logits(3, 500, 20, dtype=torch.bfloat16)
    assert torch.equal(plain_sigmoid(logits), plain_sigmoid(logits.float()))
    unit, gradient = with_gradient(unit_sigmoid, logits)
    expected, reference = with_gradient(unit_sigmoid, logits.float())
    assert unit.dtype == torch.float32 and torch.equal(unit, expected)
    assert gradient.dtype == torch.bfloat16 and torch.equal(gradient, reference.bfloat16())


def test_logits_and_derivatives_may_lie_in_memory_in_any_order():
    logits = random_logits(5, 6, 7)
    moved = logits.permute(2, 0, 1).contiguous().permute(1, 2, 0).requires_grad_()
    assert not moved.is_contiguous()
    unit = unit_sigmoid(moved)
    expected, _ = with_gradient(unit_sigmoid, logits)
    torch.testing.assert_close(unit, expected)
    (gradient,) = torch.autograd.grad(unit[..., 2].sum(), moved)
    reference = logits.clone().requires_grad_()
    by_definition(reference)[..., 2].sum().backward()
    torch.testing.assert_close(gradient, reference.grad)
