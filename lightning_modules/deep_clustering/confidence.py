"""How sure a separation by clustering is of itself, from the geometry of its loudest bins' embeddings alone.

C = S·P of Liu, Seetharaman, Pardo, "Model selection for deep audio source separation via clustering analysis" (DCASE
2020), and measures to compare it with. Axes: B mixtures, N bins, n points chosen among them, D dimensions, Q clusters.

A point that is not `valid` counts nowhere. Without any valid point every measure is 0.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lightning_modules.deep_clustering.clustering import (
    Stream,
    group,
    k_means,
    loudest,
    soft_masks,
    uniform,
    uniform_at,
)

EM_ITERATIONS = 30
SAMPLES = 2048
REGULARISATION = 1e-6
STRIP = 128


class Confidence(NamedTuple):
    """Measures of one separation, float64, [B].

    Attributes:
        silhouette: S, in [-1, 1].
        posterior: P, in [0, 1].
        confidence: C = S·P.
        jensen_shannon: in [0, 1].
        cluster_balance: in [0, 1].
    """

    silhouette: Tensor
    posterior: Tensor
    confidence: Tensor
    jensen_shannon: Tensor
    cluster_balance: Tensor


def confidence(
    embedding: Tensor,
    magnitude: Tensor,
    identity: Tensor,
    sources: int = 2,
    fitted: Literal["refit", "masks"] = "refit",
    mask_centres: Tensor | None = None,
    points: int = 1000,
    share: float = 0.01,
    comparison: bool = True,
) -> Confidence:
    """Confidence in the clusters of each mixture's embedding.

    Bins of magnitude 0 are never loud: of fewer loud bins than asked for all are used.

    Args:
        embedding: [B, N, D].
        magnitude: of the mixture, [B, N].
        identity: of each mixture, which decides what is drawn and where k-means starts, int64, [B].
        sources: Q.
        fitted: `refit`: k-means anew, on the drawn points for S (and the measures of comparison), on all the loudest
            for P; `masks`: the clusters that made the masks.
        mask_centres: those clusters, [B, Q, D].
        points: how many are drawn for S from the loudest bins, without replacement.
        share: of bins that are the loudest.
        comparison: whether to fit Gaussian mixtures for the Jensen-Shannon measure, which takes longer than all else.

    Returns:
        The measures; without `comparison` the Jensen-Shannon measure is NaN.
    """
    bins = loudest(magnitude, share)
    mixture = torch.arange(len(bins), device=bins.device).unsqueeze(-1)
    loud = embedding[mixture, bins]
    audible = magnitude.gather(1, bins) > 0
    # A bin's key is a function of the bin: another loudest bin more or less does not change the order of the others.
    keys = uniform_at(identity, bins, Stream.POINTS).masked_fill(~audible, 1)
    drawn = keys.topk(min(points, bins.shape[1]), largest=False).indices
    chosen, valid = loud[mixture, drawn], audible[mixture, drawn]
    if fitted == "refit":
        labels = k_means(chosen, sources, identity, valid).labels
        centres = k_means(loud, sources, identity, audible).centres
    elif mask_centres is not None:
        centres = mask_centres.double()
        labels = torch.cdist(chosen.double(), centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
    else:
        raise ValueError("fitted='masks' needs the centres that made the masks")
    silhouette = _mean(silhouette_samples(chosen, labels, sources, valid), valid)
    posterior = _mean(posterior_strength(loud, centres), audible)
    return Confidence(
        silhouette,
        posterior,
        silhouette * posterior,
        jensen_shannon(chosen, labels, sources, valid) if comparison else torch.full_like(silhouette, torch.nan),
        cluster_balance(labels, sources, valid),
    )


def silhouette_samples(points: Tensor, labels: Tensor, clusters: int, valid: Tensor | None = None) -> Tensor:
    """s = (b - a)/max(a, b) of every point (Rousseeuw 1987).

    a is the mean distance to the other points of its own cluster, b the smallest mean distance to those of another;
    distances are in the points' type, at least float32, which leaves an error below 1e-6 in s.

    Args:
        points: [B, n, D].
        labels: in 0, ..., Q - 1, [B, n].
        clusters: Q; some may be empty.
        valid: points that count, bool, [B, n]; default: all.

    Returns:
        In [-1, 1], float64, [B, n]; 0 for a point alone in its cluster, where a = b = 0, where all points share one
        cluster, and for points that do not count.
    """
    members = _members(labels, clusters, valid)
    points = points.to(torch.promote_types(points.dtype, torch.float32))
    groups = zip(points.split(group(points)), members.to(points.dtype).split(group(points)), strict=True)
    sums = torch.cat([_distance_sums(*part) for part in groups]).double()
    sizes = members.sum(1, keepdim=True)
    own = (sums * members).sum(-1) / ((sizes * members).sum(-1) - 1).clamp(min=1)
    other = (sums / sizes).masked_fill((members > 0) | (sizes == 0), torch.inf).amin(-1)
    defined = ((sizes * members).sum(-1) > 1) & other.isfinite() & (torch.maximum(own, other) > 0)
    return torch.where(defined, (other - own) / torch.maximum(own, other), 0)


def _distance_sums(points: Tensor, members: Tensor) -> Tensor:
    """Sum of the distances from every point to those of every cluster, [B, n, Q]."""
    sums = torch.zeros_like(members)
    for first in range(0, points.shape[1], STRIP):
        # Each pair once, a strip of them in the cache. Not from products, which leave equal points a little apart.
        strip, later = slice(first, first + STRIP), slice(first + STRIP, None)
        distance = torch.cdist(points[:, first:], points[:, strip], compute_mode="donot_use_mm_for_euclid_dist")
        sums[:, strip] += (members[:, first:].mT @ distance).mT
        sums[:, later] += distance[:, STRIP:] @ members[:, strip]
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
    """Q times the smallest cluster's share of the points.

    Args:
        labels: in 0, ..., Q - 1, [B, n].
        clusters: Q.
        valid: points that count, bool, [B, n]; default: all.

    Returns:
        1 for clusters of equal size, 0 where one is empty, float64, [B].
    """
    sizes = _members(labels, clusters, valid).sum(1)
    return clusters * sizes.amin(-1) / sizes.sum(-1).clamp(min=1)


class GaussianMixture(NamedTuple):
    """Gaussians with full covariances.

    Attributes:
        weights: [B, K].
        means: [B, K, D].
        factors: Cholesky factors of the covariances, lower, [B, K, D, D].
    """

    weights: Tensor
    means: Tensor
    factors: Tensor


def jensen_shannon(points: Tensor, labels: Tensor, clusters: int, valid: Tensor | None = None) -> Tensor:
    """Jensen-Shannon divergence between one Gaussian and a mixture of Q, both fitted to the points.

    The measure of Seetharaman, Wichern, Le Roux, Pardo, "Bootstrapping single-channel source separation via
    unsupervised spatial clustering on stereo mixtures" (ICASSP 2019), in units of log 2. The covariances are full, as
    theirs: one Gaussian then explains whatever a single elongated cloud can be. Expectations are means over `SAMPLES`
    draws from each Gaussian, made of the same normal numbers for every mixture.

    Args:
        points: [B, n, D].
        labels: clusters to start the mixture from, in 0, ..., Q - 1, [B, n].
        clusters: Q.
        valid: points that count, bool, [B, n]; default: all.

    Returns:
        0 where one Gaussian explains the points as well, 1 where the two have nothing in common, float64, [B].
    """
    points = points.double()
    members = _members(labels, clusters, valid)
    one = fit_gaussian_mixture(points, members.sum(-1, keepdim=True), 0)
    many = fit_gaussian_mixture(points, members, EM_ITERATIONS)
    place = uniform(torch.zeros(1, dtype=torch.int64, device=points.device), SAMPLES * points.shape[-1], Stream.NORMAL)
    normal = torch.special.ndtri(place.clamp(min=2.0**-54)).view(SAMPLES, -1)

    def divergence_to_midpoint(mixture: GaussianMixture, other: GaussianMixture) -> Tensor:
        samples = mixture.means.unsqueeze(2) + torch.einsum("bkij,sj->bksi", mixture.factors, normal)
        samples = samples.flatten(1, 2)
        own, theirs = (log_densities(samples, g).logsumexp(-1) for g in (mixture, other))
        midpoint = torch.logaddexp(own, theirs) - math.log(2)
        return ((own - midpoint).unflatten(1, (-1, SAMPLES)).mean(-1) * mixture.weights).sum(-1)

    divergence = (divergence_to_midpoint(one, many) + divergence_to_midpoint(many, one)) / 2
    return torch.where(members.any((1, 2)), divergence / math.log(2), 0).clamp(0, 1)


def fit_gaussian_mixture(points: Tensor, responsibilities: Tensor, iterations: int) -> GaussianMixture:
    """Expectation-maximisation from responsibilities on; covariances get `REGULARISATION` on the diagonal.

    Args:
        points: float64, [B, n, D].
        responsibilities: of each Gaussian for each point, adding up to 1, or to 0 for points that do not count,
            [B, n, K].
        iterations: after the first fit.

    Returns:
        The Gaussians; one without points has weight 0, unless there are none at all.
    """
    valid = responsibilities.sum(-1, keepdim=True)
    mixture = _maximise(points, responsibilities)
    for _ in range(iterations):
        mixture = _maximise(points, log_densities(points, mixture).softmax(-1) * valid)
    return mixture


def _maximise(points: Tensor, responsibilities: Tensor) -> GaussianMixture:
    sizes = responsibilities.sum(1)  # [B, K]
    shares = responsibilities / sizes.clamp(min=torch.finfo(points.dtype).tiny).unsqueeze(1)
    means = shares.mT @ points
    offsets = (points.unsqueeze(1) - means.unsqueeze(2)) * shares.mT.unsqueeze(-1).sqrt()  # [B, K, n, D]
    covariances = offsets.mT @ offsets
    covariances.diagonal(dim1=-2, dim2=-1).add_(REGULARISATION)
    total = sizes.sum(-1, keepdim=True)
    weights = torch.where(total > 0, sizes / total, 1 / sizes.shape[-1])
    return GaussianMixture(weights, means, torch.linalg.cholesky(covariances))


def log_densities(points: Tensor, mixture: GaussianMixture) -> Tensor:
    """log w_k N(x; μ_k, Σ_k) of points [B, n, D], [B, n, K]."""
    offsets = points.unsqueeze(1) - mixture.means.unsqueeze(2)  # [B, K, n, D]
    whitened = torch.linalg.solve_triangular(mixture.factors, offsets.mT, upper=False)
    log_determinant = mixture.factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = mixture.weights.log() - log_determinant - points.shape[-1] / 2 * math.log(2 * math.pi)
    return (constant.unsqueeze(-1) - whitened.square().sum(-2) / 2).mT


def _members(labels: Tensor, clusters: int, valid: Tensor | None) -> Tensor:
    """1 where a point belongs to a cluster and counts, float64, [B, n, Q]."""
    members = one_hot(labels, clusters).double()
    return members if valid is None else members * valid.unsqueeze(-1)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    return (values * valid).sum(-1) / valid.sum(-1).clamp(min=1)
