"""The deep clustering loss, forward and backward, against the ways in which others compute it."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.published import masked_products, one_gram_matrix, three_products
from lightning_modules.deep_clustering.losses import deep_clustering_loss

BATCH, BINS, DIMENSIONS, SOURCES = 8, 257 * 501, 20, 2

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def benchmark_loss(device: torch.device) -> Iterator[Comparison]:
    """Loss and gradient of a batch of 4-s mixtures."""
    generator = torch.Generator().manual_seed(0)
    embedding = torch.rand(BATCH, BINS, DIMENSIONS, generator=generator)
    embedding = torch.nn.functional.normalize(embedding, dim=-1).to(device)
    dominant = torch.nn.functional.one_hot(torch.randint(SOURCES, (BATCH, BINS), generator=generator))
    weight = torch.randn(BATCH, BINS, generator=generator).exp()
    audible = (weight > 1).float()
    weight, audible = weight.to(device), audible.to(device)
    # As each wants it: they compute it once a step.
    own, usual = dominant.mT.bool().contiguous().to(device), dominant.float().to(device)

    def both(loss: Loss, dominant: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        leaf = embedding.detach().requires_grad_()
        value = loss(leaf, dominant, weight)
        (gradient,) = torch.autograd.grad(value.mean(), leaf)
        return value.detach(), gradient

    ways: tuple[tuple[Loss, Tensor, str, float | None], ...] = (
        (three_products, weight, "normalising, weighting, three products, as nussl does", 2.4),
        (masked_products, audible, "a binary mask, three products, as asteroid does", 1.3),
        (one_gram_matrix, weight, "plain torch: one Gram matrix of the weighted [V Y]", None),
    )
    for theirs, weights, name, wanted in ways:
        ours, reference = partial(both, deep_clustering_loss, own, weights), partial(both, theirs, usual, weights)
        (value, gradient), (expected, direction) = ours(), reference()
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
        # Of unit vectors' gradients only what turns them counts, and is what a loss that normalises again has.
        turns = [part - embedding * (part * embedding).sum(-1, keepdim=True) for part in (gradient, direction)]
        torch.testing.assert_close(*turns, rtol=1e-3, atol=1e-4 * float(turns[1].abs().max()))
        yield Comparison(
            f"deep clustering loss, forward and backward, {BATCH} mixtures of {BINS:,} bins",
            ours,
            reference,
            name,
            BATCH,
            wanted=wanted,
        )
