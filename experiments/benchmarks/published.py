"""The published networks and losses, written straight from their equations with torch's own modules.

What this project's own are measured against: they give the same numbers, without a thought for speed. Axes: B mixtures,
N bins, D dimensions, Q sources, C classes, E = C estimates, F frequency bins, T frames.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM, CRNN
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


class PublishedEmbeddingNetwork(nn.Module):
    """LSTM layers, a linear one, sigmoid, unit norm (Hershey et al. 2016).

    Args:
        ours: whose weights to copy.
    """

    def __init__(self, ours: DeepClustering) -> None:
        super().__init__()
        assert isinstance(ours.network, BLSTM)
        self.lstm = copy.deepcopy(ours.network.recurrent.lstm)
        self.linear = copy.deepcopy(ours.network.output)
        self.dimensions = ours.dimensions

    def forward(self, features: Tensor) -> Tensor:
        """[B, F, T] -> [B, N, D]."""
        states, _ = self.lstm(features.mT)
        embedding = torch.sigmoid(self.linear(states))
        return functional.normalize(embedding.reshape(len(features), -1, self.dimensions), dim=-1)


class PublishedSeparator(nn.Module):
    """Log-magnitude, LSTM layers, a linear one, sigmoid (Pishdadian et al. 2020).

    Args:
        ours: whose weights to copy.
    """

    def __init__(self, ours: WeakLabelSeparator) -> None:
        super().__init__()
        assert isinstance(ours.network, BLSTM)
        self.lstm = copy.deepcopy(ours.network.recurrent.lstm)
        self.linear = copy.deepcopy(ours.network.output)
        self.classes = len(ours.classes)

    def forward(self, magnitude: Tensor) -> Tensor:
        """[B, F, T] -> masks, [B, C, F, T]."""
        states, _ = self.lstm(torch.log(magnitude + 1e-8).mT)
        masks = torch.sigmoid(self.linear(states))
        return masks.reshape(*masks.shape[:2], self.classes, -1).permute(0, 2, 3, 1)


class PublishedJudge(nn.Module):
    """Three times convolution, ReLU and max-pooling, an LSTM layer, a linear one (Pishdadian et al. 2020).

    Args:
        ours: whose weights to copy.
    """

    def __init__(self, ours: CRNN) -> None:
        super().__init__()
        found = [layer for layer in ours.modules() if isinstance(layer, nn.Conv2d)]
        convolutions = [copy.deepcopy(layer).to(memory_format=torch.contiguous_format) for layer in found]  # type: ignore[call-overload]
        poolings = [nn.MaxPool2d(size) for size in ((2, 1), (2, 2), (2, 2))]
        self.layers = nn.Sequential(
            *(layer for pair in zip(convolutions, poolings, strict=True) for layer in (pair[0], nn.ReLU(), pair[1]))
        )
        self.lstm = copy.deepcopy(ours.recurrent.lstm)
        self.linear = copy.deepcopy(ours.output)

    def forward(self, magnitude: Tensor) -> Tensor:
        """[B, F, T] -> logits, [B, C, T // 4]."""
        maps = self.layers(magnitude.unsqueeze(1))
        states, _ = self.lstm(maps.flatten(1, 2).mT)
        return self.linear(states).mT


def one_gram_matrix(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """L_DC, [B], from one Gram matrix of the weighted [V Y]; V: [B, N, D], Y: one-hot [B, N, Q], weight: [B, N]."""
    root = (weight / weight.sum(1, keepdim=True)).sqrt().unsqueeze(-1)
    both = torch.cat([embedding, dominant], -1) * root
    square = (both.mT @ both).square()
    d = embedding.shape[-1]
    return square[:, :d, :d].sum((1, 2)) - 2 * square[:, :d, d:].sum((1, 2)) + square[:, d:, d:].sum((1, 2))


def three_products(embedding: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
    """L_DC, [B], by the operations of nussl 1.1: both factors normalised and weighted, a product for each term."""
    total = weight.sum(1, keepdim=True)
    root = (weight / total).sqrt().unsqueeze(-1)
    v = functional.normalize(embedding, dim=-1) * root.expand_as(embedding)
    y = functional.normalize(dominant, dim=-1) * root.expand_as(dominant)
    vv, vy, yy = (a.transpose(1, 2) @ b for a, b in ((v, v), (v, y), (y, y)))
    return (vv**2).sum((1, 2)) - 2 * (vy**2).sum((1, 2)) + (yy**2).sum((1, 2))


def masked_products(embedding: Tensor, dominant: Tensor, mask: Tensor) -> Tensor:
    """L_DC, [B], by the operations of asteroid: bins outside of a binary mask, [B, N], are zero in both factors."""
    v, y = embedding * mask.unsqueeze(-1), dominant * mask.unsqueeze(-1)
    norms = (torch.linalg.matrix_norm(torch.bmm(a.mT, b)) for a, b in ((v, v), (v, y), (y, y)))
    vv, vy, yy = (norm.square() for norm in norms)
    return (vv - 2 * vy + yy) / mask.sum(1).square()


def loud_frames(mixture: Tensor) -> Tensor:
    """Frames with at least 1 % of the loudest one's magnitude, [B, T]."""
    level = mixture.sum(1)
    return (level >= 0.01 * level.max(1, keepdim=True).values).float()


def frame_label_loss(
    mixture: Tensor, masks: Tensor, judge: nn.Module, labels: Tensor, prior: Tensor, alpha: float
) -> Tensor:
    """L_class(estimates) + α L_mix, [B]; mixture: [B, F, T], labels: [B, C, T], prior: [C]."""
    estimates = masks * mixture.unsqueeze(1)
    logits = judge(estimates.flatten(0, 1)).unflatten(0, estimates.shape[:2])
    activity = functional.max_pool1d(labels, 4)
    weight = torch.where(activity > 0, 1 / prior.unsqueeze(-1), 1 / (1 - prior).unsqueeze(-1)).unsqueeze(1)
    wanted = torch.eye(len(prior), device=prior.device)[:, :, None] * activity.unsqueeze(1)
    p = torch.sigmoid(logits)
    cross_entropy = functional.binary_cross_entropy(p, wanted, weight.expand_as(p), reduction="none")
    classification = cross_entropy.mean((2, 3)).sum(1)
    active = (estimates * labels.unsqueeze(2)).sum(1)
    inactive = (estimates * (1 - labels).unsqueeze(2)).abs().sum(1)
    kept = loud_frames(mixture)
    error = ((mixture - active).abs() + inactive).mean(1)
    return classification + alpha * (error * kept).sum(1) / kept.sum(1)


def strong_loss(mixture: Tensor, masks: Tensor, sources: Tensor, labels: Tensor, prior: Tensor) -> Tensor:
    """Σ_i |W_i (min(X, S_i) - M_i X)|, averaged, [B]; sources: magnitudes, [B, C, F, T]."""
    weight = torch.where(labels > 0, 1 / prior.unsqueeze(-1), 1 / (1 - prior).unsqueeze(-1)).unsqueeze(2)
    mixture = mixture.unsqueeze(1)
    error = (weight * (torch.minimum(mixture, sources) - masks * mixture)).abs().sum(1).mean(1)
    kept = loud_frames(mixture.squeeze(1))
    return (error * kept).sum(1) / kept.sum(1)
