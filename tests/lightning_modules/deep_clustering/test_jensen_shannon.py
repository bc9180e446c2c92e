"""Gaussian mixtures against scikit-learn's, their divergence against its integral, degenerate input."""

import math

import numpy as np
import pytest
import sklearn.mixture
import torch
from clustered_points import clustered_points
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.deep_clustering.jensen_shannon import fit_gaussian_mixture, jensen_shannon, log_densities
from lightning_modules.deep_clustering.k_means import k_means

B, D = 4, 8


@pytest.mark.parametrize("clusters", [1, 2, 4])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gaussian_mixtures_are_scikit_learns(clusters, generator):
    points = clustered_points(400, clusters).double()
    labels = k_means(points, max(clusters, 2), torch.arange(B)).labels.clamp(max=clusters - 1)
    members = torch.nn.functional.one_hot(labels, clusters).double().mT
    fitted = fit_gaussian_mixture(points.mT, members, 10)
    start = fit_gaussian_mixture(points.mT, members, 0)
    for b in range(B):
        covariance = (start.factors @ start.factors.mT)[b]
        init = {"weights_init": start.weights[b].numpy(), "means_init": start.means[b].numpy()}
        init["precisions_init"] = torch.linalg.inv(covariance).numpy()
        reference = sklearn.mixture.GaussianMixture(clusters, tol=0, max_iter=10, reg_covar=1e-6, **init)
        reference.fit(points[b].numpy())
        np.testing.assert_allclose(fitted.weights[b], reference.weights_, atol=1e-9)
        np.testing.assert_allclose(fitted.means[b], reference.means_, atol=1e-9)
        np.testing.assert_allclose((fitted.factors @ fitted.factors.mT)[b], reference.covariances_, atol=1e-9)
    density = log_densities(points.mT, fitted).logsumexp(1)
    np.testing.assert_allclose(density[-1], reference.score_samples(points[-1].numpy()), atol=1e-6)


def test_jensen_shannon_is_the_integral_on_a_line(generator):
    points = torch.cat(
        [torch.randn(B, 300, 1, generator=generator) - 2, torch.randn(B, 200, 1, generator=generator)], 1
    )
    labels = (torch.arange(500) >= 300).long().expand(B, -1)
    members = torch.nn.functional.one_hot(labels, 2).double().mT
    x = torch.linspace(-15, 15, 30_001, dtype=torch.float64).expand(B, 1, -1)
    p = log_densities(x, fit_gaussian_mixture(points.double().mT, members.sum(1, keepdim=True), 0)).exp().sum(1)
    q = log_densities(x, fit_gaussian_mixture(points.double().mT, members, 30)).exp().sum(1)
    middle = (p + q) / 2
    expected = (torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)).sum(-1) * 1e-3 / 2
    torch.testing.assert_close(jensen_shannon(points, labels, 2), expected / math.log(2), rtol=0, atol=0.01)


def test_jensen_shannon_is_0_for_one_gaussian_and_near_1_for_far_clusters(generator):
    points = torch.randn(B, 1000, D, generator=generator)
    labels = (torch.arange(1000) % 2).expand(B, -1)
    assert (jensen_shannon(points, torch.zeros_like(labels), 2) < 1e-9).all()
    # Two thin sheets: one Gaussian has to fill the space between them.
    points[..., 0] = 1e-3 * points[..., 0] + labels
    assert (jensen_shannon(points, labels, 2) > 0.95).all()


@pytest.mark.parametrize("clusters", [2, 4])
def test_the_divergence_depends_neither_on_precision_nor_on_the_batch_nor_on_points_that_do_not_count(
    clusters, generator
):
    points = clustered_points(300, clusters)
    labels = k_means(points, clusters, torch.arange(B)).labels
    valid = torch.rand(B, 300, generator=generator) < 0.8
    divergence = jensen_shannon(points, labels, clusters, valid)
    torch.testing.assert_close(jensen_shannon(points.double(), labels, clusters, valid), divergence, rtol=0, atol=1e-9)
    for b in range(B):
        alone = jensen_shannon(points[b : b + 1, valid[b]], labels[b : b + 1, valid[b]], clusters)
        torch.testing.assert_close(alone, divergence[b : b + 1], rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(2, 4), st.integers(1, 4), st.booleans())
def test_the_divergence_keeps_its_range(seed, n, clusters, dimensions, whole):
    generator = torch.Generator().manual_seed(seed)
    points = 3 * torch.randn(2, n, dimensions, generator=generator)
    points = points.round() if whole else points
    valid = torch.rand(2, n, generator=generator) < 0.7
    labels = k_means(points, clusters, torch.tensor([seed, 1]), valid).labels
    divergence = jensen_shannon(points, labels, clusters, valid)
    assert (divergence >= 0).all() and (divergence <= 1).all()
    assert jensen_shannon(points, labels, clusters, torch.zeros_like(valid)).count_nonzero() == 0
