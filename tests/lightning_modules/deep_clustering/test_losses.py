"""Losses of deep clustering against sums over all pairs of bins, and against the trace as written, in float64.

That of masks against all permutations.
"""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_modules.deep_clustering import losses
from lightning_modules.deep_clustering.losses import (
    deep_clustering_loss,
    dominant_source,
    mask_inference_loss,
    whitened_k_means_loss,
)

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

B, N, D = 3, 40, 5
LOSSES = [deep_clustering_loss, whitened_k_means_loss]


@pytest.fixture(params=LOSSES, ids=["deep clustering", "whitened k-means"])
def loss(request: pytest.FixtureRequest) -> Loss:
    return request.param


def random_bins(
    sources: int = 2, bins: int = N, dimensions: int = D, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Unit vectors without negative components, dominant sources and weights of very different size."""
    generator = torch.Generator().manual_seed(seed)
    embedding = F.normalize(torch.rand(B, bins, dimensions, generator=generator, dtype=dtype), dim=-1)
    dominant = F.one_hot(torch.randint(sources, (B, bins), generator=generator), sources).mT.bool()
    return embedding, dominant, torch.randn(B, bins, generator=generator, dtype=dtype).exp()


def over_all_pairs(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """Σ_ij w_i w_j (<v_i, v_j> - <y_i, y_j>)² / (Σ w_i)², pair by pair."""
    y = dominant.mT.to(embedding.dtype)
    pairs = weight.unsqueeze(-1) * weight.unsqueeze(-2) * (embedding @ embedding.mT - y @ y.mT).square()
    return pairs.sum((1, 2)) / weight.sum(-1).square()


def by_traces(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """D + Q - 2 tr((VᵀV + 1)⁻¹ VᵀY (YᵀY + 1)⁻¹ YᵀV), rows of V and Y times √w, Σ w = N."""
    found = []
    for v, y, w in zip(embedding, dominant.mT.to(embedding.dtype), weight, strict=True):
        root = (w * len(w) / w.sum()).sqrt().unsqueeze(-1)
        V, Y = root * v, root * y
        D, Q = V.shape[1], Y.shape[1]
        left = torch.linalg.inv(V.T @ V + torch.eye(D, dtype=v.dtype)) @ V.T @ Y
        right = torch.linalg.inv(Y.T @ Y + torch.eye(Q, dtype=v.dtype)) @ Y.T @ V
        found.append(D + Q - 2 * torch.trace(left @ right))
    return torch.stack(found)


def assert_same_with_gradients(actual: Tensor, expected: Tensor, embedding: Tensor) -> None:
    torch.testing.assert_close(actual, expected)
    # Different factors for each mixture: a loss that mixed them up would show.
    factors = torch.arange(1, len(actual) + 1, dtype=actual.dtype)
    (gradient,) = torch.autograd.grad((factors * actual).sum(), embedding)
    (reference,) = torch.autograd.grad((factors * expected).sum(), embedding)
    torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize(("block", "sources"), [(1, 2), (7, 3), (4096, 4)])
def test_losses_are_their_equations_of_embeddings_of_any_length_in_blocks_of_any_size(
    loss, block, sources, monkeypatch
):
    monkeypatch.setattr(losses, "CPU_BLOCK", block)
    embedding, dominant, weight = random_bins(sources, bins=20)
    embedding = 3 * embedding * weight.flip(1).unsqueeze(-1)
    # Whatever the order in memory.
    embedding, dominant = embedding.permute(2, 1, 0).contiguous().permute(2, 1, 0), dominant.mT.contiguous().mT
    embedding.requires_grad_()
    reference = over_all_pairs if loss is deep_clustering_loss else by_traces
    assert_same_with_gradients(loss(embedding, dominant, weight), reference(embedding, dominant, weight), embedding)


def test_losses_of_float32_agree_with_float64_however_many_bins_there_are(loss):
    embedding, dominant, weight = random_bins(bins=100_000, dimensions=20, dtype=torch.float32)
    exact = embedding.double().requires_grad_()
    expected = loss(exact, dominant, weight.double())
    result = loss(embedding.requires_grad_(), dominant, weight)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=5e-7, atol=0)
    (gradient,) = torch.autograd.grad(result.sum(), embedding)
    (reference,) = torch.autograd.grad(expected.sum(), exact)
    # The whitening subtracts what is nearly equal.
    assert (gradient - reference).norm() < reference.norm() * (1e-6 if loss is deep_clustering_loss else 5e-5)


def test_neither_the_level_of_the_weights_nor_autocast_matters(loss):
    embedding, dominant, weight = random_bins()
    levels = torch.tensor([1e-40, 1e-3, 1e6], dtype=torch.float64).unsqueeze(-1)
    torch.testing.assert_close(loss(embedding, dominant, levels * weight), loss(embedding, dominant, weight))
    single = embedding.float(), dominant, weight.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(*single)
    assert result.dtype == torch.float32 and torch.equal(result, loss(*single))


def test_a_bin_without_weight_does_not_matter(loss):
    embedding, dominant, weight = random_bins()
    weight[:, N // 2 :] = 0
    half = slice(N // 2)
    changed = embedding.clone()
    changed[:, N // 2 :] = changed[:, N // 2 :].roll(1, -1)
    torch.testing.assert_close(loss(changed, dominant, weight), loss(embedding, dominant, weight))
    if loss is deep_clustering_loss:  # the other one counts bins
        alone = loss(embedding[:, half], dominant[..., half], weight[:, half])
        torch.testing.assert_close(loss(embedding, dominant, weight), alone)


@pytest.mark.parametrize("silent", [[0, 1, 2], [1]], ids=["alone", "beside others"])
def test_silence_costs_nothing_and_has_a_gradient_of_zero(loss, silent):
    embedding, dominant, weight = random_bins(dtype=torch.float32)
    expected = loss(embedding, dominant, weight)
    weight[silent] = 0
    embedding.requires_grad_()
    result = loss(embedding, dominant, weight)
    (gradient,) = torch.autograd.grad(result.sum(), embedding)
    assert gradient.isfinite().all()
    for mixture in range(B):
        if mixture in silent:
            assert result[mixture] == 0 and torch.count_nonzero(gradient[mixture]) == 0
        else:
            torch.testing.assert_close(result[mixture], expected[mixture])
            assert gradient[mixture].abs().max() > 0


@pytest.mark.parametrize(("sources", "seed"), [(2, 0), (3, 4)])
def test_losses_lie_within_their_bounds(sources, seed):
    embedding, dominant, weight = random_bins(sources, seed=seed)
    embedding = F.normalize(embedding ** (3 * seed), dim=-1)  # from all equal to nearly one-hot
    pairs = deep_clustering_loss(embedding, dominant, weight)
    assert (pairs >= 0).all() and (pairs <= 1).all()
    whitened = whitened_k_means_loss(embedding, dominant, weight)
    assert (whitened >= D - sources).all() and (whitened <= D + sources).all()


def random_masks(sources: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Masks of two to four sources, the mixture's magnitudes and theirs, of which some exceed the mixture's."""
    generator = torch.Generator().manual_seed(sources)
    masks = torch.rand(4, sources, N, generator=generator, dtype=dtype).softmax(1)
    magnitudes = torch.randn(4, sources, N, generator=generator, dtype=dtype).exp()
    return masks.requires_grad_(), magnitudes.mean(1), magnitudes


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_masks_are_compared_with_the_sources_in_the_permutation_of_least_error(sources):
    masks, mixture, magnitudes = random_masks(sources)
    expected = []
    for m, x, s in zip(masks, mixture, magnitudes, strict=True):
        errors = [sum((torch.minimum(x, s[q]) - m[p] * x).abs().sum() for q, p in enumerate(order)) / x.sum()
                  for order in permutations(range(sources))]  # fmt: skip
        expected.append(torch.stack(errors).amin())
    found = mask_inference_loss(masks, mixture, magnitudes)
    assert_same_with_gradients(found, torch.stack(expected), masks)
    torch.testing.assert_close(mask_inference_loss(masks.flip(1), 9 * mixture, 9 * magnitudes.roll(1, 1)), found)
    ideal = torch.minimum(mixture.unsqueeze(1), magnitudes) / mixture.unsqueeze(1)
    assert (mask_inference_loss(ideal.flip(1), mixture, magnitudes) < 1e-12).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0, 1e-42])
def test_masks_of_silence_cost_nothing_and_what_is_not_finite_stays_so(level, dtype):
    masks, mixture, magnitudes = random_masks(2, dtype)
    mixture[1] *= level
    magnitudes[1] *= level
    loss = mask_inference_loss(masks, mixture, magnitudes)
    (gradient,) = torch.autograd.grad(loss.sum(), masks)
    assert gradient.isfinite().all() and (loss[[0, 2, 3]] > 0).all()
    assert level or (loss[1] == 0 and not gradient[1].any())
    mixture[2, 3] = torch.nan
    assert mask_inference_loss(masks, mixture, magnitudes).isnan().tolist() == [False, False, True, False]


@pytest.mark.parametrize("sources", [2, 3, 4])
def test_the_dominant_source_is_the_loudest_and_the_first_of_equals(sources):
    magnitudes = torch.rand(B, sources, N, generator=torch.Generator().manual_seed(0))
    magnitudes[0, :, 3] = 0  # silence
    magnitudes[1, :, 5] = torch.tensor([0.1, 0.7, 0.7, 0.7])[:sources]
    dominant = dominant_source(magnitudes)
    assert dominant.dtype == torch.bool and dominant.shape == (B, sources, N)
    first = np.argmax(magnitudes.numpy(), axis=1)  # the first of equals
    assert np.array_equal(dominant.numpy(), first[:, None] == np.arange(sources)[:, None])
