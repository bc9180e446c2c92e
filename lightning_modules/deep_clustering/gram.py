"""Gram matrices of embeddings and dominant sources, block by block, without a weighted copy of the embeddings.

Axes: B mixtures, N time-frequency bins, D dimensions of the embedding, Q sources.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_modules.deep_clustering.clustering import group
from lightning_modules.inner_products import inner_products

CPU_BLOCK, BLOCK = 2**12, 2**14  # bins; 4096 of 20 dimensions and all that is made of them stay in a core's cache


def weighted_gram(embedding: Tensor, dominant: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """VᵀWV, YᵀWV and the diagonal of YᵀWY, with V and Y in rows and W = diag(w).

    A mixture's matrices do not depend on the other mixtures, nor on the number of threads.

    Args:
        embedding: V, [B, N, D].
        dominant: Y, one-hot, of any type, [B, Q, N].
        weight: w, [B, N]. Only the embedding has a derivative.

    Returns:
        [B, D, D], [B, Q, D] and [B, Q], in float64: products of a block of bins in the embedding's type, their sum
        over blocks in float64.
    """
    joint, counts = _WeightedGram.apply(embedding, dominant, weight)
    return *joint.split([embedding.shape[-1], dominant.shape[1]], 1), counts


class _WeightedGram(torch.autograd.Function):
    """[V Y]ᵀWV, [B, D + Q, D], and the diagonal of YᵀWY, [B, Q].

    For G and H, the derivatives by VᵀWV and YᵀWV, dL/dv_i = w_i ((G + Gᵀ) v_i + Hᵀ y_i): rows of W [V Y] times
    [G + Gᵀ; H].
    """

    @staticmethod
    def forward(ctx: Any, embedding: Tensor, dominant: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        mixtures, _, dimensions = embedding.shape
        joint = embedding.new_zeros(mixtures, dimensions + dominant.shape[1], dimensions, dtype=torch.float64)
        counts = embedding.new_zeros(mixtures, dominant.shape[1], dtype=torch.float64)
        with torch.autocast(embedding.device.type, enabled=False):
            for which, bins, weighted in _blocks(embedding, dominant, weight):
                joint[which] += inner_products(weighted.mT, embedding[which, bins].mT)
                counts[which] += weighted[..., dimensions:].sum(1, dtype=torch.float64)
        ctx.save_for_backward(embedding, dominant, weight)
        ctx.mark_non_differentiable(counts)
        return joint, counts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        embedding, dominant, weight = ctx.saved_tensors
        dimensions = embedding.shape[-1]
        left, right = upstream.split([dimensions, dominant.shape[1]], 1)
        factor = torch.cat([left + left.mT, right], 1).to(embedding.dtype)
        gradient = torch.empty_like(embedding, memory_format=torch.contiguous_format)
        with torch.autocast(embedding.device.type, enabled=False):
            for which, bins, weighted in _blocks(embedding, dominant, weight):
                torch.bmm(weighted, factor[which], out=gradient[which, bins])
        return gradient, None, None


def _blocks(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Some mixtures, some of their bins, and those rows of W [V Y], [b, n, D + Q]."""
    mixtures, bins = group(embedding), CPU_BLOCK if embedding.is_cpu else BLOCK
    columns = embedding.shape[-1] + dominant.shape[1]
    for first in range(0, len(embedding), mixtures):
        which = slice(first, first + mixtures)
        for start in range(0, embedding.shape[1], bins):
            block = slice(start, start + bins)
            w = weight[which, block].unsqueeze(-1)
            weighted = embedding.new_empty(*w.shape[:-1], columns)
            torch.mul(embedding[which, block], w, out=weighted[..., : embedding.shape[-1]])
            torch.mul(dominant[which, :, block].mT, w, out=weighted[..., embedding.shape[-1] :])
            yield which, block, weighted
