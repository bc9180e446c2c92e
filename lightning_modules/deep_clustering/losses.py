"""Losses of deep clustering and of mask inference: pure functions, one value per mixture.

Those of embeddings do without the matrix of all pairs of bins.

Axes: B mixtures, N time-frequency bins, D dimensions of the embedding, Q sources. V holds the embeddings and Y the
dominant sources in their rows, each row times the square root of its bin's weight.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_modules.deep_clustering.clustering import group

CPU_BLOCK, BLOCK = 2**12, 2**14  # bins; 4096 of 20 dimensions and all that is made of them stay in a core's cache


def dominant_source(magnitudes: Tensor) -> Tensor:
    """Which source is loudest in every bin, one-hot: [B, Q, N] -> bool, [B, Q, N]; the first of equals."""
    loudest = magnitudes == magnitudes.amax(1, keepdim=True)
    # Source by source: torch's argmax over this axis takes fifty times as long.
    for source in range(1, magnitudes.shape[1]):
        loudest[:, source] &= ~loudest[:, :source].any(1)
    return loudest


def deep_clustering_loss(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """L_DC = Σ_ij w_i w_j (⟨v_i, v_j⟩ - ⟨y_i, y_j⟩)² / (Σ w_i)² (Hershey et al. 2016; weights of Wang et al. 2018).

    Args:
        embedding: as a rule unit vectors, [B, N, D].
        dominant: one-hot, [B, Q, N].
        weight: at least 0, such as the mixture's magnitude, without a derivative, [B, N].

    Returns:
        [B], in [0, 1] for unit vectors without negative components; 0, with gradient 0, where no bin has weight.
    """
    # ‖VVᵀ - YYᵀ‖² = ‖VᵀV‖² - 2‖YᵀV‖² + ‖YᵀY‖²: products of D×D, Q×D and Q×Q instead of N×N.
    vv, yv, yy = _normalised_gram(embedding, dominant, weight)
    return (vv.square().sum((1, 2)) - 2 * yv.square().sum((1, 2)) + yy.square().sum(1)).to(embedding.dtype)


def whitened_k_means_loss(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """L_WKM = D + Q - 2 tr((VᵀV + 1)⁻¹ VᵀY (YᵀY + 1)⁻¹ YᵀV) (Wang, Le Roux, Hershey 2018, regularised).

    The weights are scaled to Σ w_i = N first, so that the unit matrices only regularise.

    Args:
        embedding: [B, N, D].
        dominant: one-hot, [B, Q, N].
        weight: at least 0, without a derivative, [B, N].

    Returns:
        [B], in [D - Q, D + Q]; 0, with gradient 0, where no bin has weight.
    """
    vv, yv, yy = (weight.shape[-1] * part for part in _normalised_gram(embedding, dominant, weight))
    unit = torch.eye(vv.shape[-1], dtype=vv.dtype, device=vv.device)
    whitened = torch.linalg.solve_ex(vv + unit, yv.mT).result  # asks no GPU whether it could
    reference = yv / (yy + 1).unsqueeze(-1)
    loss = vv.shape[-1] + yy.shape[-1] - 2 * (whitened.mT * reference).sum((1, 2))
    return (loss * (yy.sum(-1) > 0)).to(embedding.dtype)


def mask_inference_loss(masks: Tensor, magnitude: Tensor, source_magnitudes: Tensor) -> Tensor:
    """L_MI = min_π Σ_q,i |min(x_i, s_q,i) - m_π(q),i x_i| / Σ_i x_i over permutations π (Yu et al. 2017).

    The error of magnitudes is absolute, as in the chimera++ network of Wang, Le Roux, Hershey (2018), and a share of
    the mixture's: any level gives the same, and its size is that of L_DC.

    Args:
        masks: in [0, 1], [B, Q, N].
        magnitude: of the mixture, x, [B, N].
        source_magnitudes: s, [B, Q, N].

    Returns:
        [B], at least 0; 0, with gradient 0, where the mixture is silent.
    """
    mixture = magnitude.unsqueeze(1)
    targets, estimates = torch.minimum(mixture, source_magnitudes), masks * mixture
    differences = ((target.unsqueeze(1) - estimates).abs() for target in targets.unbind(1))
    errors = torch.stack([of_source.sum(-1, dtype=torch.float64) for of_source in differences], 1)
    # NaN stays in the loss: any order will do.
    orders = [linear_sum_assignment(error)[1] for error in errors.detach().nan_to_num().cpu().numpy()]
    order = torch.tensor(np.array(orders), device=errors.device).unsqueeze(-1)
    # Silent: 0 / tiny = 0, and 1 / tiny, the gradient's, is finite in the magnitudes' type.
    total = magnitude.sum(-1, dtype=torch.float64).clamp_min(torch.finfo(magnitude.dtype).tiny)
    return (errors.gather(2, order).sum((1, 2)) / total).to(masks.dtype)


def _normalised_gram(embedding: Tensor, dominant: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """VᵀV [B, D, D], YᵀV [B, Q, D] and the diagonal of YᵀY [B, Q], with Σ w_i = 1, in float64."""
    smallest = torch.finfo(weight.dtype).tiny  # silent mixtures: 0 / tiny = 0
    # Any level of the weights fits into float32.
    weight = weight / weight.amax(1, keepdim=True).clamp_min(smallest)
    joint, yy = _WeightedGram.apply(embedding, dominant, weight)
    total = yy.sum(1).clamp_min(smallest).view(-1, 1, 1)
    vv, yv = (joint / total).split([embedding.shape[-1], dominant.shape[1]], 1)
    return vv, yv, yy / total.squeeze(-1)


class _WeightedGram(torch.autograd.Function):
    """[V Y]ᵀWV, [B, D + Q, D], and the diagonal of YᵀWY, [B, Q], of V and Y without weights and W = diag(w).

    Products of a block of bins are of the embedding's type, their sums of float64; no weighted copy of the embeddings
    is made. For G and H, the derivatives by VᵀWV and YᵀWV, dL/dv_i = w_i ((G + Gᵀ) v_i + Hᵀ y_i): rows of W [V Y] times
    [G + Gᵀ; H].
    """

    @staticmethod
    def forward(ctx: Any, embedding: Tensor, dominant: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        mixtures, _, dimensions = embedding.shape
        joint = embedding.new_zeros(mixtures, dimensions + dominant.shape[1], dimensions, dtype=torch.float64)
        counts = embedding.new_zeros(mixtures, dominant.shape[1], dtype=torch.float64)
        with torch.autocast(embedding.device.type, enabled=False):
            for which, bins, weighted in _blocks(embedding, dominant, weight):
                joint[which] += weighted.mT @ embedding[which, bins]
                counts[which] += weighted[..., dimensions:].sum(1, dtype=torch.float64)
        ctx.save_for_backward(embedding, dominant, weight)
        ctx.mark_non_differentiable(counts)
        return joint, counts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        embedding, dominant, weight = ctx.saved_tensors
        left, right = upstream.split([embedding.shape[-1], dominant.shape[1]], 1)
        factor = torch.cat([left + left.mT, right], 1).to(embedding.dtype)
        gradient = torch.empty_like(embedding, memory_format=torch.contiguous_format)
        with torch.autocast(embedding.device.type, enabled=False):
            for which, bins, weighted in _blocks(embedding, dominant, weight):
                torch.bmm(weighted, factor[which], out=gradient[which, bins])
        return gradient, None, None


def _blocks(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Some mixtures, some of their bins, and those rows of W [V Y], [b, n, D + Q]."""
    mixtures, bins, dimensions = group(embedding), CPU_BLOCK if embedding.is_cpu else BLOCK, embedding.shape[-1]
    for first in range(0, len(embedding), mixtures):
        which = slice(first, first + mixtures)
        for start in range(0, embedding.shape[1], bins):
            block = slice(start, start + bins)
            w = weight[which, block].unsqueeze(-1)
            weighted = embedding.new_empty(*w.shape[:-1], dimensions + dominant.shape[1])
            torch.mul(embedding[which, block], w, out=weighted[..., :dimensions])
            torch.mul(dominant[which, :, block].mT, w, out=weighted[..., dimensions:])
            yield which, block, weighted
