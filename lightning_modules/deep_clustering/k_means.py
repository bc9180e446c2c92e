"""k-means of many mixtures' points at once, in float64.

Axes: B mixtures, n points, D dimensions, Q clusters, S starts. Nothing depends on what else is in the batch or on a
random state: draws are functions of a mixture's index.
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.deep_clustering.clustering import group, points_at
from lightning_modules.deep_clustering.draws import Stream, uniform

ITERATIONS = 300
COMPETITION = 1024


class Clusters(NamedTuple):
    """What k-means found.

    Attributes:
        centres: float64, [B, Q, D].
        labels: number of each point's cluster, 0 for points that do not count, int64, [B, n].
    """

    centres: Tensor
    labels: Tensor


def k_means(
    points: Tensor, clusters: int, mixture_ids: Tensor, valid: Tensor | None = None, starts: int = 10
) -> Clusters:
    """Clusters of least inertia, by Lloyd's iteration in float64 from k-means++ starts.

    Every start runs to its fixed point. Among many points the starts compete on `COMPETITION` of them, drawn evenly,
    and the best goes on with all (Bradley, Fayyad, "Refining initial points for k-means clustering", ICML 1998).

    An empty cluster keeps its centre. A start that finds no further distinct point repeats its first centre, and of
    equal centres the first gets the points: equal points all lie in one cluster. Without any valid point, centres
    and labels are 0.

    Args:
        points: [B, n, D].
        clusters: Q, at least 2.
        mixture_ids: of each mixture, which decides the starts, int64, [B].
        valid: points that count, bool, [B, n]; default: all.
        starts: the best is kept, the first of equally good ones. Ten (scikit-learn's default for long) miss the best of
            four separate clusters less than once in 1000 times; two separate clusters are found from any one.

    Returns:
        The fixed point reached from the best start (or where it got in `ITERATIONS`).
    """
    if valid is None:
        valid = torch.ones(1, 1, dtype=torch.bool, device=points.device).expand(points.shape[:2])
    number = torch.arange(1, clusters, device=points.device).view(-1, 1)
    found = []
    for x, ids, counts in zip(*(each.split(group(points)) for each in (points, mixture_ids, valid)), strict=True):
        rows, mean = _rows(x, counts)
        centres, membership, _ = _lloyd(rows, _best_start(rows, ids, starts, clusters).unsqueeze(1))
        found.append((centres.squeeze(1) + mean, (membership.squeeze(1) * number).sum(1)))
    return Clusters(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _rows(points: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Points x as rows (x - mean, 1), those that do not count as zeros, float64, [B, n, D + 1]; means, [B, 1, D].

    Sums of rows are then sums and numbers of points, and a row of zeros scores 0 everywhere: it goes to cluster 0.
    """
    rows = points.new_empty(*points.shape[:2], points.shape[2] + 1, dtype=torch.float64)
    rows[..., :-1] = points.masked_fill(~valid.unsqueeze(-1), 0)
    rows[..., -1] = valid
    sums = rows.sum(1, keepdim=True)
    mean = sums[..., :-1] / sums[..., -1:].clamp(min=1)
    rows[..., :-1].addcmul_(mean, rows[..., -1:], value=-1)
    return rows, mean


def _best_start(rows: Tensor, mixture_ids: Tensor, starts: int, clusters: int) -> Tensor:
    """Centres of the start that wins the competition, [B, Q, D]."""
    if rows.shape[1] > COMPETITION:
        place = torch.arange(COMPETITION, device=rows.device) + uniform(mixture_ids, COMPETITION, Stream.COMPETITION)
        rows = points_at(rows, _draw(rows[..., -1].long(), place / COMPETITION))
    draws = uniform(mixture_ids, starts * clusters, Stream.STARTS).view(-1, starts, clusters)
    centres, _, between = _lloyd(rows, _plus_plus(rows, draws))
    # Starts that end in the same clusters differ by rounding: the first of them.
    best = (between >= between.amax(-1, keepdim=True) * (1 - 1e-9)).byte().argmax(-1)
    return centres[torch.arange(len(best), device=best.device), best]


def _draw(likelihood: Tensor, place: Tensor) -> Tensor:
    """Indices [..., m] in proportion to whole numbers [..., n], whose sums do not depend on the order of addition.

    A place, [..., m], in [0, 1), is the share of the total likelihood before the index; 0 where every likelihood is 0.
    """
    cumulative = likelihood.cumsum(-1)
    total = cumulative[..., -1:]
    return torch.searchsorted(cumulative, (place * total).long().minimum(total - 1), right=True)


def _plus_plus(rows: Tensor, draws: Tensor) -> Tensor:
    """k-means++ (Arthur, Vassilvitskii 2007): each further centre is a point drawn by its squared distance.

    Rows [B, n, D + 1], and uniform numbers [B, S, Q]: centres [B, S, Q, D].
    """
    points, valid = rows[..., :-1], rows[..., -1].long().unsqueeze(1)
    square = points.square().sum(-1).unsqueeze(1)
    # Distances below a quantum are rounding.
    quantum = (4 * square.amax(-1, keepdim=True) * 2.0**-40).clamp(min=torch.finfo(torch.float64).tiny)
    likelihood = valid.expand(-1, draws.shape[1], -1)
    nearest = torch.full_like(square, torch.inf)
    centres: list[Tensor] = []
    for draw in draws.split(1, -1):
        index = _draw(likelihood, draw)
        centre = points.gather(1, index.expand(-1, -1, points.shape[-1]))  # [B, S, D]
        if centres:
            distinct = likelihood.sum(-1, keepdim=True) > 0
            centre = torch.where(distinct, centre, centres[0])
        centres.append(centre)
        distance = torch.baddbmm(square + centre.square().sum(-1, keepdim=True), centre, points.mT, alpha=-2)
        nearest = torch.minimum(nearest, distance)
        likelihood = (nearest / quantum).clamp(min=0).long() * valid
    return torch.stack(centres, 2)


def _lloyd(rows: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lloyd's iteration of all starts at once, on rows [B, n, D + 1] from centres [B, S, Q, D].

    It waits for the device once an iteration, to see whether to stop.

    Returns:
        Centres, the points' membership in their clusters as `_membership` gives it, and the scatter between clusters
        Σ_k n_k |c_k|², [B, S]: with the inertia it adds up to the total scatter.
    """
    total = rows.sum(1).view(len(rows), 1, 1, -1)
    membership = _membership(rows, centres)
    for _ in range(ITERATIONS):
        sums = torch.bmm(membership.flatten(1, 2).double(), rows).unflatten(1, membership.shape[1:3])
        sums = torch.cat([total - sums.sum(2, keepdim=True), sums], 2)
        sizes = sums[..., -1:]
        centres = torch.where(sizes > 0, sums[..., :-1] / sizes, centres)
        before, membership = membership, _membership(rows, centres)
        # What has converged stays as it is while others go on: the same points have the same mean.
        if torch.equal(membership, before):
            break
    return centres, membership, (sizes * centres.square()).sum((-2, -1))


def _membership(rows: Tensor, centres: Tensor) -> Tensor:
    """Whether a point lies nearest to a centre, bool, [B, S, Q - 1, n]; the first centre has all the others."""
    # Cluster k scores (|x - c_0|² - |x - c_k|²)/2 = x·(c_k - c_0) - (|c_k|² - |c_0|²)/2: above 0 where it is nearer.
    # Later clusters have to win by more than rounding, else copies of a centre would share its points.
    square = centres.square().sum(-1, keepdim=True)
    augmented = torch.cat([centres, square / -2], -1)
    score = augmented[:, :, 1:] - augmented[:, :, :1]
    rank = torch.arange(1, centres.shape[2], device=centres.device)
    score[..., -1] -= 1e-12 * square.amax((1, 2), keepdim=True).squeeze(-1) * rank
    scores = torch.bmm(score.flatten(1, 2), rows.mT).unflatten(1, score.shape[1:3])
    won = scores > 0
    for j, k in itertools.combinations(range(won.shape[2]), 2):
        later = scores[:, :, k] > scores[:, :, j]
        won[:, :, j] &= ~later
        won[:, :, k] &= later
    return won
