"""Jensen-Shannon divergence between one Gaussian and a mixture of them, a score to compare the confidence with.

Axes: B mixtures, n points, D dimensions, Q clusters, K Gaussians. A point that is not `valid` counts nowhere.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.batch_invariance import inner_products
from lightning_modules.deep_clustering.clustering import group, members
from lightning_modules.deep_clustering.draws import Stream, uniform

EM_ITERATIONS = 30
SAMPLES = 2048
REGULARISATION = 1e-6


class GaussianMixture(NamedTuple):
    """Gaussians with full covariances."""

    weights: Tensor  # [B, K]
    means: Tensor  # [B, K, D]
    factors: Tensor  # Cholesky factors of the covariances, lower, [B, K, D, D]


def jensen_shannon(points: Tensor, labels: Tensor, clusters: int, valid: Tensor | None = None) -> Tensor:
    """Jensen-Shannon divergence between one Gaussian and a mixture of Q, both fitted to the points.

    The score of Seetharaman, Wichern, Le Roux, Pardo, "Bootstrapping single-channel source separation via
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
    membership = members(labels, clusters, valid)
    place = uniform(torch.zeros(1, dtype=torch.int64, device=points.device), SAMPLES * points.shape[-1], Stream.NORMAL)
    normal = torch.special.ndtri(place.clamp(min=2.0**-54)).view(SAMPLES, -1).mT
    size = group(points)
    # Points as columns: what is computed for each of them is then long rows.
    parts = zip(points.mT.contiguous().split(size), membership.mT.contiguous().split(size), strict=True)
    return torch.cat([_divergence(*part, normal) for part in parts])


def _divergence(points: Tensor, membership: Tensor, normal: Tensor) -> Tensor:
    """The divergence for points [B, D, n] and their membership [B, Q, n], from normal numbers [D, SAMPLES]."""
    one = fit_gaussian_mixture(points, membership.sum(1, keepdim=True), 0)
    many = fit_gaussian_mixture(points, membership, EM_ITERATIONS)

    def to_midpoint(mixture: GaussianMixture, other: GaussianMixture) -> Tensor:
        samples = (mixture.factors.flatten(1, 2) @ normal).unflatten(1, mixture.means.shape[1:])
        samples = (mixture.means.unsqueeze(-1) + samples).transpose(1, 2).flatten(2)
        own, theirs = (log_densities(samples, g).logsumexp(1) for g in (mixture, other))
        midpoint = torch.logaddexp(own, theirs) - math.log(2)
        return ((own - midpoint).unflatten(1, (-1, SAMPLES)).mean(-1) * mixture.weights).sum(-1)

    divergence = (to_midpoint(one, many) + to_midpoint(many, one)) / 2
    return torch.where(membership.any((1, 2)), divergence / math.log(2), 0).clamp(0, 1)


def fit_gaussian_mixture(points: Tensor, responsibilities: Tensor, iterations: int) -> GaussianMixture:
    """Expectation-maximisation of points [B, D, n], float64, from responsibilities [B, K, n] on.

    Responsibilities add up to 1, or to 0 for points that do not count. Covariances get `REGULARISATION` on the
    diagonal; a Gaussian without points has weight 0, unless there are none at all.
    """
    valid = responsibilities.sum(1, keepdim=True)
    mixture = _maximise(points, responsibilities)
    for _ in range(iterations):
        # A softmax over the Gaussians; torch's own depends on the number of threads.
        logarithm = log_densities(points, mixture)
        odds = logarithm.sub_(logarithm.amax(1, keepdim=True)).exp_()
        mixture = _maximise(points, odds.mul_(valid / odds.sum(1, keepdim=True)))
    return mixture


def _maximise(points: Tensor, responsibilities: Tensor) -> GaussianMixture:
    sizes = responsibilities.sum(-1)  # [B, K]
    shares = responsibilities / sizes.clamp(min=torch.finfo(points.dtype).tiny).unsqueeze(-1)
    means = inner_products(shares, points)
    offsets = points.unsqueeze(1) - means.unsqueeze(-1)  # [B, K, D, n]
    weighted = (offsets * shares.unsqueeze(2)).flatten(0, 1)
    covariances = inner_products(weighted, offsets.flatten(0, 1)).unflatten(0, sizes.shape)
    covariances.diagonal(dim1=-2, dim2=-1).add_(REGULARISATION)
    total = sizes.sum(-1, keepdim=True)
    weights = torch.where(total > 0, sizes / total, 1 / sizes.shape[-1])
    # Regularised, they are positive definite: torch.linalg.cholesky would wait for a GPU to say so.
    return GaussianMixture(weights, means, torch.linalg.cholesky_ex(covariances).L)


def log_densities(points: Tensor, mixture: GaussianMixture) -> Tensor:
    """log w_k N(x; μ_k, Σ_k) of points [B, D, n], [B, K, n]."""
    dimensions = points.shape[1]
    unit = torch.eye(dimensions, dtype=points.dtype, device=points.device)
    # From the right: on a CPU, the solution from the left depends on the number of threads.
    whiten = torch.linalg.solve_triangular(mixture.factors, unit, upper=False, left=False)
    shift = whiten @ mixture.means.unsqueeze(-1)
    # A product of all Gaussians' matrices with the points; solving for offsets takes longer.
    whitened = torch.baddbmm(shift.flatten(1, 2), whiten.flatten(1, 2), points, beta=-1)
    square = whitened.square_().unflatten(1, (-1, dimensions)).sum(2)
    log_determinant = mixture.factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = mixture.weights.log() - log_determinant - dimensions / 2 * math.log(2 * math.pi)
    return constant.unsqueeze(-1) - square / 2
