"""Separation by clustering the embeddings of time-frequency bins: the loudest, on which k-means runs, masks for all.

After Liu, Seetharaman, Pardo, "Model selection for deep audio source separation via clustering analysis" (DCASE 2020);
where the paper is silent, the defaults of its authors' library. Axes: B mixtures, N bins, n points chosen among them,
D dimensions of the embedding, Q clusters.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot


def group(points: Tensor) -> int:
    """How many mixtures to work on at once, of [B, n, D]: on a CPU one, whose points then stay in the cache."""
    return 1 if points.is_cpu else len(points)


def loudest(magnitude: Tensor, share: float, among: Tensor | None = None) -> Tensor:
    """The loudest bins of each mixture, by rank; of equally loud ones those of lower index.

    Args:
        magnitude: [B, N].
        share: of all bins, in (0, 1].
        among: those of a larger share, [B, m]: the loudest lie among them, and are found sooner.

    Returns:
        Indices of n = max(1, round(share·N)) bins in ascending order, int64, [B, n]. Bins of magnitude 0 are among them
        where too few others are left.
    """
    n = max(1, round(share * magnitude.shape[-1]))
    if among is not None and among.shape[-1] >= n:
        return among.gather(1, _largest(magnitude.gather(1, among), n))
    return _largest(magnitude, n)


def _largest(values: Tensor, n: int) -> Tensor:
    """Indices of the n largest of each row in ascending order; of equal ones the first."""
    if values.is_cpu:  # NumPy selects ten times as fast as topk.
        exact = values.detach().to(torch.promote_types(values.dtype, torch.float32)).numpy()
        threshold = torch.from_numpy(np.partition(exact, -n, -1)[:, -n, None]).to(values.dtype)
    else:
        threshold = values.topk(n, sorted=False).values.amin(-1, keepdim=True)
    chosen = values >= threshold
    index = chosen.nonzero()[:, 1]
    if len(index) > n * len(values):
        equal = values == threshold
        wanted = n - (chosen & ~equal).sum(-1, keepdim=True)
        index = (chosen & ~(equal & (equal.cumsum(-1) > wanted))).nonzero()[:, 1]
    return index.view(-1, n)


def points_at(embedding: Tensor, bins: Tensor) -> Tensor:
    """The embedding, [B, N, D], of some bins of each mixture, [B, n]: [B, n, D]."""
    first = torch.arange(len(bins), device=bins.device).unsqueeze(-1) * embedding.shape[1]
    return embedding.flatten(0, 1).index_select(0, (first + bins).flatten()).view(*bins.shape, -1)


def members(labels: Tensor, clusters: int, valid: Tensor | None = None) -> Tensor:
    """1 where a point belongs to a cluster and counts, of labels [B, n]: float64, [B, n, Q]."""
    membership = one_hot(labels, clusters).double()
    return membership if valid is None else membership * valid.unsqueeze(-1)


def distances(points: Tensor, centres: Tensor) -> Tensor:
    """Distances of points [B, n, D] from centres [B, Q, D], without cancellation in |x|² - 2xc + |c|²: [B, Q, n]."""
    return torch.cdist(centres, points, compute_mode="donot_use_mm_for_euclid_dist")


def soft_masks(embedding: Tensor, centres: Tensor, beta: float = 5.0) -> Tensor:
    """γ_ik ∝ exp(-β |x_i - c_k|), a softmax over the clusters.

    Args:
        embedding: of all bins, [B, N, D].
        centres: [B, Q, D].
        beta: how decided the masks are.

    Returns:
        In [0, 1], 1 in total over the clusters, [B, Q, N]; in the embedding's type, at least float32.
    """
    dtype = torch.promote_types(embedding.dtype, torch.float32)
    masks = []
    for x, c in zip(embedding.split(group(embedding)), centres.split(group(embedding)), strict=True):
        exponent = distances(x.to(dtype), c.to(dtype)).mul_(-beta)
        # In half the time of torch's softmax over few rows.
        odds = exponent.sub_(exponent.amax(1, keepdim=True)).exp_()
        masks.append(odds.div_(odds.sum(1, keepdim=True)))
    return torch.cat(masks)
