"""k-means of many mixtures' points at once, in float64.

Axes: B mixtures, n points, D dimensions, Q clusters, S starts. Nothing depends on what else is in the batch or on a
random state: draws are functions of a mixture's identity.
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
    points: Tensor,
    clusters: int = 2,
    identity: Tensor | None = None,
    valid: Tensor | None = None,
    starts: int = 10,
    initial_centres: Tensor | None = None,
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
        identity: of each mixture, which decides the starts, int64, [B]; not needed with `initial_centres`.
        valid: points that count, bool, [B, n]; default: all.
        starts: the best is kept, the first of equally good ones. Ten (scikit-learn's default for long) miss the best of
            four separate clusters less than once in 1000 times; two separate clusters are found from any one.
        initial_centres: [B, Q, D], a single start instead.

    Returns:
        The fixed point reached from the best start (or where it got in `ITERATIONS`).

    Raises:
        ValueError: neither `identity` nor `initial_centres` is given.
    """
    if identity is None and initial_centres is None:
        raise ValueError("k-means needs an identity to draw its starts by, or initial centres")
    if valid is None:
        valid = torch.ones(1, 1, dtype=torch.bool, device=points.device).expand(points.shape[:2])
    size = group(points)
    found = []
    for part in (slice(first, first + size) for first in range(0, len(points), size)):
        rows, mean = _rows(points[part], valid[part])
        if initial_centres is not None:
            centres = initial_centres[part].double() - mean
        elif identity is not None:
            centres = _best_start(rows, identity[part], starts, clusters)
        end = _lloyd(rows, centres.unsqueeze(1))
        found.append(Clusters(end.centres.squeeze(1) + mean, _labels(end.membership.squeeze(1))))
    return Clusters(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _rows(points: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A point x as the row (x - mean, 1), one that does not count as a row of zeros.

    Sums of rows are then sums and numbers of points, and a row of zeros scores 0 everywhere: it goes to cluster 0.

    Args:
        points: [B, n, D].
        valid: [B, n].

    Returns:
        Rows, float64, [B, n, D + 1], and means, [B, 1, D].
    """
    rows = points.new_empty(*points.shape[:2], points.shape[2] + 1, dtype=torch.float64)
    rows[..., :-1] = points.masked_fill(~valid.unsqueeze(-1), 0)
    rows[..., -1] = valid
    sums = rows.sum(1, keepdim=True)
    mean = sums[..., :-1] / sums[..., -1:].clamp(min=1)
    rows[..., :-1].addcmul_(mean, rows[..., -1:], value=-1)
    return rows, mean


def _best_start(rows: Tensor, identity: Tensor, starts: int, clusters: int) -> Tensor:
    """Centres of the start that wins the competition, [B, Q, D]."""
    if rows.shape[1] > COMPETITION:
        place = torch.arange(COMPETITION, device=rows.device) + uniform(identity, COMPETITION, Stream.COMPETITION)
        rows = points_at(rows, _draw(rows[..., -1].long(), place / COMPETITION))
    draws = uniform(identity, starts * clusters, Stream.STARTS).view(-1, starts, clusters)
    ends = _lloyd(rows, _plus_plus(rows, draws))
    # Starts that end in the same clusters differ by rounding: the first of them.
    best = (ends.between >= ends.between.amax(-1, keepdim=True) * (1 - 1e-9)).byte().argmax(-1)
    return ends.centres[torch.arange(len(best), device=best.device), best]


def _draw(likelihood: Tensor, place: Tensor) -> Tensor:
    """Indices in proportion to whole numbers: their sums do not depend on the order of addition.

    Args:
        likelihood: not negative, int64, [..., n].
        place: in [0, 1): the share of the total likelihood that lies before the index wanted, [..., m].

    Returns:
        [..., m]; 0 where every likelihood is 0.
    """
    cumulative = likelihood.cumsum(-1)
    total = cumulative[..., -1:]
    return torch.searchsorted(cumulative, (place * total).long().minimum(total - 1), right=True)


def _plus_plus(rows: Tensor, draws: Tensor) -> Tensor:
    """k-means++ (Arthur, Vassilvitskii 2007): each further centre is a point drawn by its squared distance.

    Args:
        rows: [B, n, D + 1].
        draws: uniform in [0, 1), [B, S, Q].

    Returns:
        [B, S, Q, D].
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


class _End(NamedTuple):
    """Where Lloyd's iteration ends.

    Attributes:
        centres: [B, S, Q, D].
        membership: of the points in the clusters of these centres, as `_membership` gives it, [B, S, Q - 1, n].
        between: scatter between clusters Σ_k n_k |c_k|²: with the inertia it adds up to the total scatter, [B, S].
    """

    centres: Tensor
    membership: Tensor
    between: Tensor


def _lloyd(rows: Tensor, centres: Tensor) -> _End:
    """Lloyd's iteration of all starts at once; it waits for the device once an iteration, to see whether to stop.

    Args:
        rows: [B, n, D + 1].
        centres: [B, S, Q, D].
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
    return _End(centres, membership, (sizes * centres.square()).sum((-2, -1)))


def _membership(rows: Tensor, centres: Tensor) -> Tensor:
    """Whether a point lies nearest to a centre; the first centre, which has all the others, is left out.

    Args:
        rows: [B, n, D + 1].
        centres: [B, S, Q, D].

    Returns:
        bool, [B, S, Q - 1, n].
    """
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


def _labels(membership: Tensor) -> Tensor:
    number = torch.arange(1, membership.shape[1] + 1, device=membership.device)
    return (membership * number.unsqueeze(-1)).sum(1)
