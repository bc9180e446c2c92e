"""Separation by clustering the embeddings of time-frequency bins: k-means on the loudest, soft masks for all.

After Liu, Seetharaman, Pardo, "Model selection for deep audio source separation via clustering analysis" (DCASE 2020);
where the paper is silent, the defaults of its authors' library. Axes: B mixtures, N bins, n points chosen among them,
D dimensions of the embedding, Q clusters, S starts.

Nothing depends on what else is in the batch or on a random state: draws are functions of a mixture's identity.
"""

import itertools
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

ITERATIONS = 300
COMPETITION = 1024


class Stream(IntEnum):
    """What random numbers are for: each purpose has a stream of its own."""

    STARTS = 0
    COMPETITION = 1
    POINTS = 2
    NORMAL = 3
    EXCERPTS = 4


# splitmix64 (Steele, Lea, Flood 2014), its constants as the signed integers that have their bits.
_GOLDEN, _FIRST, _SECOND = (c - 2**64 for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def uniform(identity: Tensor, count: int, stream: int) -> Tensor:
    """Random numbers that are a function of the arguments alone: the same on every device and in any batch.

    Args:
        identity: of each mixture, int64, [B].
        count: how many for each; a larger count continues the sequence of a smaller one.
        stream: separates purposes: each has numbers of its own.

    Returns:
        Uniform in [0, 1), float64, [B, count].
    """
    return uniform_at(identity, torch.arange(count, device=identity.device).unsqueeze(0), stream)


def uniform_at(identity: Tensor, place: Tensor, stream: int) -> Tensor:
    """Those of the numbers `uniform` gives that stand at some places of the sequence: places [B, n], numbers [B, n]."""
    key = _mix(_mix(identity) + stream)
    return _shift(_mix(key.unsqueeze(-1) + (place + 1) * _GOLDEN), 11).double() * 2.0**-53


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _FIRST
    z = (z ^ _shift(z, 27)) * _SECOND
    return z ^ _shift(z, 31)


def _shift(z: Tensor, places: int) -> Tensor:
    # int64 >> repeats the sign.
    return (z >> places) & (2 ** (64 - places) - 1)


def loudest(magnitude: Tensor, share: float) -> Tensor:
    """The loudest bins of each mixture, by rank; of equally loud ones those of lower index.

    Args:
        magnitude: [B, N].
        share: of all bins, in (0, 1].

    Returns:
        Indices of n = max(1, round(share·N)) bins in ascending order, int64, [B, n]. Bins of magnitude 0 are among them
        where too few others are left.
    """
    n = max(1, round(share * magnitude.shape[-1]))
    threshold = magnitude.topk(n, sorted=False).values.amin(-1, keepdim=True)
    louder, equal = magnitude > threshold, magnitude == threshold
    wanted = n - louder.sum(-1, keepdim=True)
    chosen = louder | (equal & (equal.cumsum(-1) <= wanted))
    return chosen.nonzero()[:, 1].view(-1, n)


class Clusters(NamedTuple):
    """What k-means found.

    Attributes:
        centres: float64, [B, Q, D].
        labels: number of each point's cluster, 0 for points that do not count, int64, [B, n].
        inertia: sum of the squared distances to the centres, float64, [B].
    """

    centres: Tensor
    labels: Tensor
    inertia: Tensor


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
    equal centres the first gets the points: equal points all lie in one cluster. Without any valid point, centres,
    labels and inertia are 0.

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
        centres, between = (result.squeeze(1) for result in _lloyd(rows, centres.unsqueeze(1)))
        total = rows[..., :-1].square().sum((1, 2))
        found.append(Clusters(centres + mean, _labels(rows, centres), (total - between).clamp(min=0)))
    return Clusters(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def group(points: Tensor) -> int:
    """How many mixtures to work on at once, of [B, n, D]: on a CPU one, whose points then stay in the cache."""
    return 1 if points.device.type == "cpu" else len(points)


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
    rows[..., :-1] = points
    rows[..., -1] = 1
    rows.masked_fill_(~valid.unsqueeze(-1), 0)
    sums = rows.sum(1, keepdim=True)
    mean = sums[..., :-1] / sums[..., -1:].clamp(min=1)
    rows[..., :-1].addcmul_(mean, rows[..., -1:], value=-1)
    return rows, mean


def _best_start(rows: Tensor, identity: Tensor, starts: int, clusters: int) -> Tensor:
    """Centres of the start that wins the competition, [B, Q, D]."""
    if rows.shape[1] > COMPETITION:
        place = torch.arange(COMPETITION, device=rows.device) + uniform(identity, COMPETITION, Stream.COMPETITION)
        count = rows[..., -1].long()
        index = _draw(count, place / COMPETITION)
        rows = rows.gather(1, index.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))
    draws = uniform(identity, starts * clusters, Stream.STARTS).view(-1, starts, clusters)
    centres, between = _lloyd(rows, _plus_plus(rows, draws))
    # Starts that end in the same clusters differ by rounding: the first of them.
    best = (between >= between.amax(-1, keepdim=True) * (1 - 1e-9)).byte().argmax(-1)
    return centres[torch.arange(len(best), device=best.device), best]


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


def _lloyd(rows: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Lloyd's iteration of all starts at once.

    Args:
        rows: [B, n, D + 1].
        centres: [B, S, Q, D].

    Returns:
        Centres, [B, S, Q, D], and the scatter between clusters Σ_k n_k |c_k|², [B, S]: with the inertia it adds up to
        the total scatter.
    """
    total = rows.sum(1).view(len(rows), 1, 1, -1)
    membership = _membership(rows, centres)
    for _ in range(ITERATIONS):
        sums = torch.bmm(membership.flatten(1, 2).double(), rows).unflatten(1, membership.shape[1:3])
        sums = torch.cat([total - sums.sum(2, keepdim=True), sums], 2)
        sizes = sums[..., -1:]
        centres = torch.where(sizes > 0, sums[..., :-1] / sizes.clamp(min=1), centres)
        before, membership = membership, _membership(rows, centres)
        # What has converged stays as it is while others go on: the same points have the same mean.
        if torch.equal(membership, before):
            break
    return centres, (sizes * centres.square()).sum((-2, -1))


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
    square = centres.square().sum(-1)
    rank = torch.arange(1, centres.shape[2], device=centres.device)
    margin = 1e-12 * square.amax((1, 2), keepdim=True) * rank
    bias = (square[..., :1] - square[..., 1:]) / 2 - margin
    score = torch.cat([centres[:, :, 1:] - centres[:, :, :1], bias.unsqueeze(-1)], -1)
    scores = torch.bmm(score.flatten(1, 2), rows.mT).unflatten(1, score.shape[1:3])
    won = scores > 0
    for j, k in itertools.combinations(range(len(rank)), 2):
        later = scores[:, :, k] > scores[:, :, j]
        won[:, :, j] &= ~later
        won[:, :, k] &= later
    return won


def _labels(rows: Tensor, centres: Tensor) -> Tensor:
    membership = _membership(rows, centres.unsqueeze(1)).squeeze(1)
    number = torch.arange(1, centres.shape[1], device=rows.device)
    return (membership * number.unsqueeze(-1)).sum(1)


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
    distance = torch.cdist(centres.to(dtype), embedding.to(dtype), compute_mode="donot_use_mm_for_euclid_dist")
    return (-beta * distance).softmax(1)
