"""The published networks and affinity losses, written straight from their equations, without a thought for speed.

Axes: B mixtures, N bins, D dimensions, Q sources, C classes, F frequency bins, T frames.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.networks import CRNN


def embeddings(network: nn.Module, features: Tensor) -> Tensor:
    """Unit vectors of 20 dimensions (Hershey et al. 2016): [B, F, T] -> [B, N, 20]."""
    return functional.normalize(torch.sigmoid(network(features).mT).reshape(len(features), -1, 20), dim=-1)


def masks(network: nn.Module, magnitude: Tensor, classes: int) -> Tensor:
    """Masks from log-magnitudes (Pishdadian et al. 2020): [B, F, T] -> [B, C, F, T]."""
    return torch.sigmoid(network(torch.log(magnitude + 1e-8))).unflatten(1, (classes, -1))


def classifier(ours: nn.Module) -> CRNN:
    """A copy whose maps lie channel after channel, with the ReLU before the pooling (Pishdadian et al. 2020)."""
    assert isinstance(ours, CRNN)
    network = copy.deepcopy(ours)
    convolutions = [layer for layer in network.convolutions if isinstance(layer, nn.Conv2d)]
    layers = [
        nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(pooling))
        for convolution, pooling in zip(convolutions, ((2, 1), (2, 2), (2, 2)), strict=True)
    ]
    network.convolutions = nn.Sequential(*layers).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network


def one_gram_matrix(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """L_DC, [B], from one Gram matrix of the weighted [V Y]; V: [B, N, D], Y: one-hot [B, N, Q], weight: [B, N]."""
    root = (weight / weight.sum(1, keepdim=True)).sqrt().unsqueeze(-1)
    both = torch.cat([embedding, dominant], -1) * root
    square = (both.mT @ both).square()
    d = embedding.shape[-1]
    return square[:, :d, :d].sum((1, 2)) - 2 * square[:, :d, d:].sum((1, 2)) + square[:, d:, d:].sum((1, 2))


def three_products(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """L_DC, [B], by the operations of nussl 1.1: both factors normalised and weighted, a product for each term."""
    root = (weight / weight.sum(1, keepdim=True)).sqrt().unsqueeze(-1)
    v, y = (functional.normalize(factor, dim=-1) * root.expand_as(factor) for factor in (embedding, dominant))
    vv, vy, yy = (((a.transpose(1, 2) @ b) ** 2).sum((1, 2)) for a, b in ((v, v), (v, y), (y, y)))
    return vv - 2 * vy + yy


def masked_products(embedding: Tensor, dominant: Tensor, mask: Tensor) -> Tensor:
    """L_DC, [B], by the operations of asteroid: bins outside of a binary mask, [B, N], are zero in both factors."""
    v, y = embedding * mask.unsqueeze(-1), dominant * mask.unsqueeze(-1)
    vv, vy, yy = (torch.linalg.matrix_norm(torch.bmm(a.mT, b)).square() for a, b in ((v, v), (v, y), (y, y)))
    return (vv - 2 * vy + yy) / mask.sum(1).square()
