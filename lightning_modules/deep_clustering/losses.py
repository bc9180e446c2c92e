"""Losses of deep clustering: pure functions, one value per mixture, without the matrix of all pairs of bins.

Axes: B mixtures, N time-frequency bins, D dimensions of the embedding, Q sources. V holds the embeddings and Y the
dominant sources in their rows, each row times the square root of its bin's weight.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def dominant_source(magnitudes: Tensor) -> Tensor:
    """Which source is loudest in every bin, one-hot: [B, Q, N] -> [B, N, Q], float32; the first of equals."""
    return F.one_hot(magnitudes.argmax(1), magnitudes.shape[1]).float()


def deep_clustering_loss(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """L_DC = Σ_ij w_i w_j (<v_i, v_j> - <y_i, y_j>)² / (Σ w_i)² (Hershey et al. 2016; weights of Wang et al. 2018).

    Args:
        embedding: unit vectors, [B, N, D].
        dominant: one-hot, [B, N, Q].
        weight: at least 0, such as the mixture's magnitude, [B, N].

    Returns:
        [B], in [0, 1] for embeddings without negative components; 0, with gradient 0, where no bin has weight.
    """
    # ‖VVᵀ - YYᵀ‖² = ‖VᵀV‖² - 2‖VᵀY‖² + ‖YᵀY‖²: products of D×D, D×Q and Q×Q instead of N×N.
    vv, vy, yy = _gram(embedding, dominant, weight / _sum(weight))
    return vv.square().sum((1, 2)) - 2 * vy.square().sum((1, 2)) + yy.square().sum((1, 2))


def whitened_k_means_loss(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """L_WKM = D + Q - 2 tr((VᵀV + 1)⁻¹ VᵀY (YᵀY + 1)⁻¹ YᵀV) (Wang, Le Roux, Hershey 2018, regularised).

    The weights are scaled to Σ w_i = N first, so that the unit matrices only regularise.

    Args:
        embedding: [B, N, D].
        dominant: one-hot, [B, N, Q].
        weight: at least 0, [B, N].

    Returns:
        [B], in [D - Q, D + Q]; 0, with gradient 0, where no bin has weight.
    """
    total = _sum(weight)
    vv, vy, yy = (part.double() for part in _gram(embedding, dominant, weight / total * weight.shape[-1]))
    whitened = torch.linalg.solve(vv + torch.eye(vv.shape[-1]).to(vv), vy)
    reference = torch.linalg.solve(yy + torch.eye(yy.shape[-1]).to(yy), vy.mT)
    loss = vv.shape[-1] + yy.shape[-1] - 2 * (whitened * reference.mT).sum((1, 2))
    return (loss * (weight.sum(-1) > 0)).to(embedding.dtype)


def _gram(embedding: Tensor, dominant: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """VᵀV [B, D, D], VᵀY [B, D, Q] and YᵀY [B, Q, Q]."""
    with torch.autocast(embedding.device.type, enabled=False):  # differences of nearly equal numbers
        # Weighting one factor only: √w √w = w.
        weighted = (embedding * weight.unsqueeze(-1)).mT
        return weighted @ embedding, weighted @ dominant, torch.diag_embed((dominant * weight.unsqueeze(-1)).sum(1))


def _sum(weight: Tensor) -> Tensor:
    # In blocks: torch shares one long sum out among its threads, and only where a batch has no other rows for them.
    blocks = F.pad(weight, (0, -weight.shape[-1] % 512)).unflatten(-1, (-1, 512))
    # Silent mixtures: 0 / tiny = 0.
    return blocks.sum(-1).sum(-1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)
