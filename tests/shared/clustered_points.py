"""Points in clusters that overlap, which tests of clustering and of its measures share."""

import torch
from torch import Tensor


def clustered_points(
    n: int, clusters: int, spread: float = 0.3, mixtures: int = 4, dimensions: int = 8, seed: int = 0
) -> Tensor:
    """Clusters of unequal sizes on the unit sphere's positive orthant, float32, [B, n, D]."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(mixtures, clusters, dimensions, generator=generator)
    label = (clusters * torch.rand(mixtures, n, generator=generator) ** 1.5).long()
    points = centres.gather(1, label.unsqueeze(-1).expand(-1, -1, dimensions))
    points = points + spread * torch.randn(mixtures, n, dimensions, generator=generator)
    return torch.nn.functional.normalize(points.clamp(min=1e-3), dim=-1)
