"""Weighted Gram matrices against their sums in float64, for blocks that do and do not divide the bins."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.deep_clustering import gram
from lightning_modules.deep_clustering.gram import weighted_gram


@pytest.fixture(params=[1, 7, 10, 30, 4096])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Bins in a block, of 30."""
    monkeypatch.setattr(gram, "CPU_BLOCK", request.param)
    return int(request.param)


def random_bins(
    mixtures: int = 3, sources: int = 2, bins: int = 30, dimensions: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    embedding = torch.randn(mixtures, bins, dimensions, generator=generator, dtype=dtype)
    dominant = F.one_hot(torch.randint(sources, (mixtures, bins), generator=generator), sources).mT.bool()
    return embedding, dominant, torch.rand(mixtures, bins, generator=generator, dtype=dtype)


def by_sums(embedding: Tensor, dominant: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    y = dominant.to(embedding.dtype)
    return (
        torch.einsum("bn,bnd,bne->bde", weight, embedding, embedding),
        torch.einsum("bn,bqn,bnd->bqd", weight, y, embedding),
        torch.einsum("bn,bqn->bq", weight, y),
    )


def assert_same_with_gradients(embedding: Tensor, dominant: Tensor, weight: Tensor) -> None:
    results, references = weighted_gram(embedding, dominant, weight), by_sums(embedding, dominant, weight)
    generator = torch.Generator().manual_seed(1)
    gradients = []
    for made in (results, references):
        generator.manual_seed(1)
        # No symmetric derivative: one that was taken for its transpose would show.
        upstream = [torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in made[:2]]
        gradients += torch.autograd.grad(made[:2], embedding, upstream)
    torch.testing.assert_close(results, references)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("mixtures", [1, 3])
@pytest.mark.parametrize("sources", [2, 3, 5])
@pytest.mark.parametrize("dimensions", [1, 5])
def test_matrices_and_their_derivatives_are_sums_over_all_bins(block, mixtures, sources, dimensions):
    embedding, dominant, weight = random_bins(mixtures, sources, dimensions=dimensions)
    assert_same_with_gradients(embedding.requires_grad_(), dominant, weight)


def test_derivatives_agree_with_finite_differences(block):
    embedding, dominant, weight = random_bins(2, 3, dimensions=3)
    assert torch.autograd.gradcheck(
        lambda v: weighted_gram(v, dominant, weight)[:2], embedding.requires_grad_(), fast_mode=True
    )


def test_the_inputs_may_lie_in_memory_in_any_order(block):
    embedding, dominant, weight = random_bins()
    embedding = embedding.permute(2, 1, 0).contiguous().permute(2, 1, 0)
    dominant, weight = dominant.mT.contiguous().mT, weight.repeat_interleave(2, 1)[:, ::2]
    assert not (embedding.is_contiguous() or dominant.is_contiguous() or weight.is_contiguous())
    assert_same_with_gradients(embedding.requires_grad_(), dominant, weight)


def test_autocast_touches_neither_the_matrices_nor_their_derivatives():
    embedding, dominant, weight = random_bins(dtype=torch.float32)
    embedding.requires_grad_()

    def with_gradient() -> tuple[Tensor, ...]:
        made = weighted_gram(embedding, dominant, weight)
        return *made, *torch.autograd.grad(made[0].square().sum() + made[1].square().sum(), embedding)

    expected = with_gradient()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = with_gradient()
    assert all(torch.equal(*pair) for pair in zip(result, expected, strict=True))


def test_matrices_are_sums_in_float64_of_products_in_the_embeddings_type():
    embedding, dominant, weight = random_bins(bins=100_000, dimensions=20, dtype=torch.float32)
    made = weighted_gram(embedding, dominant, weight)
    assert {part.dtype for part in made} == {torch.float64}
    for part, reference in zip(made, by_sums(embedding.double(), dominant, weight.double()), strict=True):
        assert (part - reference).abs().max() < 2e-7 * reference.abs().max()


def test_without_weight_matrices_and_derivative_are_zero(block):
    embedding, dominant, weight = random_bins()
    made = weighted_gram(embedding.requires_grad_(), dominant, torch.zeros_like(weight))
    (gradient,) = torch.autograd.grad(sum(part.sum() for part in made[:2]), embedding)
    assert not any(torch.count_nonzero(part) for part in (*made, gradient))
