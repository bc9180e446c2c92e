"""How sure a separation by clustering is of itself, from the geometry of its loudest bins' embeddings alone.

C = S·P of Liu, Seetharaman, Pardo, "Model selection for deep audio source separation via clustering analysis" (DCASE
2020). Axes: B mixtures, N bins, n points chosen among them, m drawn from those, D dimensions, Q clusters.

A point that is not `valid` counts nowhere. Without any valid point every score is 0. All products are of float64,
which reduced precision of float32 products (TF32) leaves alone.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.deep_clustering.clustering import distances, group, loudest, members, points_at, soft_masks
from lightning_modules.deep_clustering.draws import Stream, uniform_at
from lightning_modules.deep_clustering.k_means import Clusters, k_means

STRIP = 128
QUANTUM = 2.0**-44  # squared distances below it are rounding


class Confidence(NamedTuple):
    """Scores of one separation, float64, [B].

    Attributes:
        silhouette: S, in [-1, 1].
        posterior: P, in [0, 1].
        confidence: C = S·P.
        cluster_balance: in [0, 1].
    """

    silhouette: Tensor
    posterior: Tensor
    confidence: Tensor
    cluster_balance: Tensor


class LoudPoints(NamedTuple):
    """Embeddings of the loudest bins."""

    loud: Tensor  # [B, n, D]
    audible: Tensor  # which of them count: bins of magnitude 0 are never loud, bool, [B, n]
    drawn: Tensor  # some of them, for scores that take the square of their number, [B, m, D]
    drawn_audible: Tensor  # bool, [B, m]


def confidence(
    embedding: Tensor, magnitude: Tensor, mixture_ids: Tensor, sources: int = 2, points: int = 1000, share: float = 0.01
) -> Confidence:
    """The published confidence: that in clusters fitted anew to the loudest bins of each mixture.

    Args:
        embedding: [B, N, D].
        magnitude: of the mixture, [B, N].
        mixture_ids: decide what is drawn and where k-means starts, int64, [B].
        sources: Q.
        points: how many are drawn for S.
        share: of bins that are the loudest.
    """
    loud = loud_points(embedding, magnitude, mixture_ids, points, share)
    return score_clusters(loud, refit(loud, mixture_ids, sources))


def loud_points(
    embedding: Tensor,
    magnitude: Tensor,
    mixture_ids: Tensor,
    points: int = 1000,
    share: float = 0.01,
    among: Tensor | None = None,
) -> LoudPoints:
    """The points that the confidence looks at, as `confidence` asks for them.

    `among` are the loudest bins of a larger share, where they are known, int64, [B, n].
    """
    bins = loudest(magnitude, share, among)
    loud, audible = points_at(embedding, bins), magnitude.gather(1, bins) > 0
    # A bin's key is a function of the bin: another loudest bin more or less does not change the order of the others.
    keys = uniform_at(mixture_ids, bins, Stream.POINTS).masked_fill(~audible, 1)
    drawn = keys.topk(min(points, bins.shape[1]), largest=False).indices
    return LoudPoints(loud, audible, points_at(loud, drawn), audible.gather(1, drawn))


def refit(points: LoudPoints, mixture_ids: Tensor, sources: int) -> Clusters:
    """k-means anew, of the drawn points for their labels, of all the loud ones for the centres."""
    labels = k_means(points.drawn, sources, mixture_ids, points.drawn_audible).labels
    return k_means(points.loud, sources, mixture_ids, points.audible)._replace(labels=labels)


def mask_clusters(points: LoudPoints, centres: Tensor) -> Clusters:
    """The clusters that made the masks, by their centres, [B, Q, D], with the labels of the drawn points."""
    centres = centres.double()
    return Clusters(centres, distances(points.drawn.double(), centres).argmin(1))


def score_clusters(points: LoudPoints, clusters: Clusters) -> Confidence:
    """Confidence in clusters: S and the balance of the drawn points, P of all the loud ones."""
    sources = clusters.centres.shape[1]
    silhouettes = silhouette_samples(points.drawn, clusters.labels, sources, points.drawn_audible)
    silhouette = _mean(silhouettes, points.drawn_audible)
    posterior = _mean(posterior_strength(points.loud, clusters.centres), points.audible)
    balance = cluster_balance(clusters.labels, sources, points.drawn_audible)
    return Confidence(silhouette, posterior, silhouette * posterior, balance)


def silhouette_samples(points: Tensor, labels: Tensor, clusters: int, valid: Tensor | None = None) -> Tensor:
    """s = (b - a)/max(a, b) of every point (Rousseeuw 1987).

    a is the mean distance to the other points of its own cluster, b the smallest mean distance to those of another;
    distances below 2^-22 of the largest from the mean count as 0: they are rounding.

    Args:
        points: [B, n, D].
        labels: in 0, ..., Q - 1, [B, n].
        clusters: Q; some may be empty.
        valid: points that count, bool, [B, n]; default: all.

    Returns:
        In [-1, 1], float64, [B, n]; 0 for a point alone in its cluster, where a = b = 0, where all points share one
        cluster, and for points that do not count.
    """
    membership = members(labels, clusters, valid)
    size = group(points)
    parts = zip(points.split(size), membership.split(size), strict=True)
    sums = torch.cat([_distance_sums(*part) for part in parts])
    sizes = membership.sum(1, keepdim=True)
    own_size = (sizes * membership).sum(-1)
    own = (sums * membership).sum(-1) / (own_size - 1).clamp(min=1)
    other = (sums / sizes).masked_fill((membership > 0) | (sizes == 0), torch.inf).amin(-1)
    larger = torch.maximum(own, other)
    defined = (own_size > 1) & other.isfinite() & (larger > 0)
    return torch.where(defined, (other - own) / larger, 0)


def _distance_sums(points: Tensor, membership: Tensor) -> Tensor:
    """Sum of the distances from every point to those of every cluster, in units of the largest from their mean.

    Points [B, n, D] without any membership [B, n, Q] are taken for the mean; [B, n, Q].
    """
    counts = membership.sum(-1, keepdim=True)
    points = points.double().masked_fill(counts == 0, 0)
    points = (points - points.sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)) * counts
    square = points.square().sum(-1, keepdim=True)
    largest = square.amax(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    points, square = points / largest.sqrt(), square / largest
    # |x - y|² = (-2x, |x|², 1)·(y, 1, |y|²)
    one = torch.ones_like(square)
    left, right = torch.cat([-2 * points, square, one], -1), torch.cat([points, one, square], -1).mT
    of_clusters = membership.split(1, -1)
    sums = torch.zeros_like(membership)
    for first in range(0, points.shape[1], STRIP):
        # Each pair once, a strip of them in the cache; roots of float32 are several times faster.
        strip, later = slice(first, first + STRIP), slice(first + STRIP, None)
        square = torch.bmm(left[:, strip], right[..., first:])
        distance = torch.nn.functional.threshold(square, QUANTUM, 0, inplace=True).float().sqrt_().double()
        across = distance[..., STRIP:].mT
        # Products with one column at a time take a quarter of the time.
        sums[:, strip] += torch.cat([distance @ cluster[:, first:] for cluster in of_clusters], -1)
        sums[:, later] += torch.cat([across @ cluster[:, strip] for cluster in of_clusters], -1)
    return sums


def posterior_strength(points: Tensor, centres: Tensor, beta: float = 1.0) -> Tensor:
    """(Q·max_k γ_k - 1)/(Q - 1): how decided the soft masks of the points are.

    Args:
        points: [B, n, D].
        centres: [B, Q, D].
        beta: of the masks.

    Returns:
        0 where every cluster is as near, towards 1 where all but one are far, float64, [B, n].
    """
    clusters = centres.shape[1]
    return ((clusters * soft_masks(points.double(), centres, beta).amax(1) - 1) / (clusters - 1)).clamp(0, 1)


def cluster_balance(labels: Tensor, clusters: int, valid: Tensor | None = None) -> Tensor:
    """Q times the smallest cluster's share of the points: 1 for clusters of equal size, 0 where one is empty.

    Args:
        labels: in 0, ..., Q - 1, [B, n].
        clusters: Q.
        valid: points that count, bool, [B, n]; default: all.

    Returns:
        float64, [B].
    """
    sizes = members(labels, clusters, valid).sum(1)
    return clusters * sizes.amin(-1) / sizes.sum(-1).clamp(min=1)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    return (values * valid).sum(-1) / valid.sum(-1).clamp(min=1)
