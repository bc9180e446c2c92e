"""Losses of deep clustering: pure functions, one value per mixture, without the matrix of all pairs of bins.

Axes: B mixtures, N time-frequency bins, D dimensions of the embedding, Q sources. V holds the embeddings and Y the
dominant sources in their rows, each row times the square root of its bin's weight.
"""

import torch
from torch import Tensor

from lightning_modules.deep_clustering.gram import weighted_gram


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
    whitened = torch.linalg.solve_ex(vv + torch.eye(vv.shape[-1]).to(vv), yv.mT).result  # asks no GPU whether it could
    reference = yv / (yy + 1).unsqueeze(-1)
    loss = vv.shape[-1] + yy.shape[-1] - 2 * (whitened.mT * reference).sum((1, 2))
    return (loss * (yy.sum(-1) > 0)).to(embedding.dtype)


def _normalised_gram(embedding: Tensor, dominant: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """VᵀV [B, D, D], YᵀV [B, Q, D] and the diagonal of YᵀY [B, Q], with Σ w_i = 1, in float64."""
    smallest = torch.finfo(weight.dtype).tiny  # silent mixtures: 0 / tiny = 0
    # Any level of the weights fits into float32.
    vv, yv, yy = weighted_gram(embedding, dominant, weight / weight.amax(1, keepdim=True).clamp_min(smallest))
    total = yy.sum(1).clamp_min(smallest).view(-1, 1, 1)
    return vv / total, yv / total, yy / total.squeeze(-1)
