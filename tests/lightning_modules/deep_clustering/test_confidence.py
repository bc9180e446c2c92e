"""Every measure against scikit-learn or its definition, degenerate input, and what must not change a result."""

import math

import numpy as np
import pytest
import sklearn.metrics
import sklearn.mixture
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_modules.deep_clustering.clustering import Stream, k_means, loudest, uniform
from lightning_modules.deep_clustering.confidence import (
    Confidence,
    cluster_balance,
    confidence,
    fit_gaussian_mixture,
    jensen_shannon,
    log_densities,
    posterior_strength,
    silhouette_samples,
)

B, N, D = 4, 3000, 8


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def embeddings(generator: torch.Generator, n: int, clusters: int, spread: float = 0.3) -> Tensor:
    """Overlapping clusters on the unit sphere's positive orthant, float32, [B, n, D]."""
    label = torch.randint(0, clusters, (B, n), generator=generator)
    points = torch.rand(B, clusters, D, generator=generator).gather(1, label.unsqueeze(-1).expand(-1, -1, D))
    points = points + spread * torch.randn(B, n, D, generator=generator)
    return torch.nn.functional.normalize(points.clamp(min=1e-3), dim=-1)


def mixtures(generator: torch.Generator, clusters: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Embedding, magnitude and identity."""
    magnitude = torch.randn(B, N, generator=generator).exp()
    return embeddings(generator, N, clusters), magnitude, torch.arange(B) + 10


def assert_same(actual: Confidence, expected: Confidence, tolerance: float = 1e-5) -> None:
    for mine, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_silhouettes_are_scikit_learns(clusters, generator):
    points = embeddings(generator, 200, clusters)
    labels = torch.randint(0, clusters, (B, 200), generator=generator)
    labels[0] = k_means(points, clusters, torch.arange(B)).labels[0]
    labels[1][labels[1] == 1] = 0
    labels[1, 5] = 1  # a point alone
    if clusters > 2:
        labels[2][labels[2] == 1] = 0  # an empty cluster
    points[3, :150] = points[3, 0]  # equal points, in several clusters
    silhouettes = silhouette_samples(points, labels, clusters)
    for b in range(B):
        expected = sklearn.metrics.silhouette_samples(points[b].double().numpy(), labels[b].numpy())
        np.testing.assert_allclose(silhouettes[b], expected, atol=1e-6)


def test_silhouettes_of_invalid_points_are_0_and_change_no_others(generator):
    points, valid = embeddings(generator, 100, 2), torch.arange(100) < 70
    labels = torch.randint(0, 2, (B, 100), generator=generator)
    silhouettes = silhouette_samples(points, labels, 2, valid.expand(B, -1))
    assert silhouettes[:, 70:].count_nonzero() == 0
    expected = silhouette_samples(points[:, :70], labels[:, :70], 2)
    torch.testing.assert_close(silhouettes[:, :70], expected, rtol=0, atol=1e-6)


def test_degenerate_silhouettes_are_0(generator):
    points = embeddings(generator, 6, 2)
    one_cluster = silhouette_samples(points, torch.ones(B, 6, dtype=torch.int64), 3)
    equal = silhouette_samples(points[:, :1].expand(-1, 6, -1), torch.tensor([0, 1, 0, 1, 1, 2]).expand(B, -1), 3)
    alone = silhouette_samples(points[:, :2], torch.tensor([0, 1]).expand(B, -1), 2)
    for silhouettes in (one_cluster, equal, alone):
        assert silhouettes.count_nonzero() == 0 and silhouettes.isfinite().all()


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_posterior_strength_is_as_defined(clusters, generator):
    points = embeddings(generator, 50, clusters)
    centres = k_means(points, clusters, torch.arange(B)).centres
    strength = posterior_strength(points, centres, beta=1.0)
    for b in range(B):
        for i in range(50):
            likelihood = [math.exp(-(points[b, i].double() - c).norm().item()) for c in centres[b]]
            expected = (clusters * max(likelihood) / sum(likelihood) - 1) / (clusters - 1)
            assert strength[b, i].item() == pytest.approx(expected, abs=1e-12)


def test_posterior_strength_is_0_between_the_centres_and_1_far_from_all_but_one():
    centres = torch.tensor([[[0.0, 0.0], [100.0, 0.0]]])
    strength = posterior_strength(torch.tensor([[[50.0, 3.0], [0.0, 0.0]]]), centres)
    torch.testing.assert_close(strength, torch.tensor([[0.0, 1.0]], dtype=torch.float64))


def test_cluster_balance_is_the_smallest_share_times_the_number_of_clusters():
    labels = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 1]])
    assert cluster_balance(labels, 3).tolist() == [1, 0.5, 0]
    valid = torch.tensor([True, False, True, True, True, False]).expand(3, -1)
    assert cluster_balance(labels, 3, valid).tolist() == [0.75, 0, 0]


@pytest.mark.parametrize("clusters", [1, 2, 3, 4])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_gaussian_mixtures_are_scikit_learns(clusters, generator):
    points = embeddings(generator, 400, clusters).double()
    labels = k_means(points, max(clusters, 2), torch.arange(B)).labels.clamp(max=clusters - 1)
    members = torch.nn.functional.one_hot(labels, clusters).double()
    fitted = fit_gaussian_mixture(points, members, 10)
    start = fit_gaussian_mixture(points, members, 0)
    for b in range(B):
        covariance = (start.factors @ start.factors.mT)[b]
        reference = sklearn.mixture.GaussianMixture(
            clusters,
            tol=0,
            max_iter=10,
            reg_covar=1e-6,
            weights_init=start.weights[b].numpy(),
            means_init=start.means[b].numpy(),
            precisions_init=torch.linalg.inv(covariance).numpy(),
        ).fit(points[b].numpy())
        np.testing.assert_allclose(fitted.weights[b], reference.weights_, atol=1e-9)
        np.testing.assert_allclose(fitted.means[b], reference.means_, atol=1e-9)
        np.testing.assert_allclose((fitted.factors @ fitted.factors.mT)[b], reference.covariances_, atol=1e-9)
    density = log_densities(points, fitted).logsumexp(-1)
    np.testing.assert_allclose(density[-1], reference.score_samples(points[-1].numpy()), atol=1e-6)


def test_jensen_shannon_is_the_integral_on_a_line(generator):
    points = torch.cat(
        [torch.randn(B, 300, 1, generator=generator) - 2, torch.randn(B, 200, 1, generator=generator)], 1
    )
    labels = (torch.arange(500) >= 300).long().expand(B, -1)
    members = torch.nn.functional.one_hot(labels, 2).double()
    x = torch.linspace(-15, 15, 30_001, dtype=torch.float64).view(1, -1, 1).expand(B, -1, -1)
    p = log_densities(x, fit_gaussian_mixture(points.double(), members.sum(-1, keepdim=True), 0)).exp().sum(-1)
    q = log_densities(x, fit_gaussian_mixture(points.double(), members, 30)).exp().sum(-1)
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


@pytest.mark.parametrize("sources", [2, 3, 4])
@pytest.mark.parametrize("fitted", ["refit", "masks"])
def test_confidence_is_put_together_as_defined(sources, fitted, generator):
    embedding, magnitude, identity = mixtures(generator, sources)
    magnitude = torch.where(torch.rand(B, N, generator=generator) < 0.1, magnitude, 0)
    centres = torch.rand(B, sources, D, generator=generator)
    measures = confidence(embedding, magnitude, identity, sources, fitted, centres, points=100, share=0.2)
    keys = uniform(identity, N, Stream.POINTS)
    for b in range(B):
        bins = [i for i in loudest(magnitude[b : b + 1], 0.2)[0].tolist() if magnitude[b, i] > 0]
        drawn = sorted(bins, key=lambda i: keys[b, i])[:100]
        loud, chosen = embedding[b : b + 1, bins], embedding[b : b + 1, drawn]
        if fitted == "refit":
            labels = k_means(chosen, sources, identity[b : b + 1]).labels[0]
            own = k_means(loud, sources, identity[b : b + 1]).centres
        else:
            labels, own = torch.cdist(chosen[0], centres[b]).argmin(-1), centres[b : b + 1].double()
        silhouette = sklearn.metrics.silhouette_score(chosen[0].double().numpy(), labels.numpy())
        posterior = posterior_strength(loud, own).mean().item()
        assert measures.silhouette[b].item() == pytest.approx(silhouette, abs=1e-5)
        assert measures.posterior[b].item() == pytest.approx(posterior, abs=1e-5)
        assert measures.confidence[b].item() == pytest.approx(silhouette * posterior, abs=1e-5)
        assert measures.cluster_balance[b] == cluster_balance(labels.unsqueeze(0), sources)[0]
        alone = jensen_shannon(chosen, labels.unsqueeze(0), sources)[0].item()
        assert measures.jensen_shannon[b].item() == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("fitted", ["refit", "masks"])
@pytest.mark.parametrize("sources", [2, 3])
def test_confidence_depends_neither_on_precision_nor_on_the_batch(fitted, sources, generator):
    embedding, magnitude, identity = mixtures(generator, sources)
    magnitude[1, 500:] = 0
    centres = k_means(embedding, sources, identity).centres

    def measures(order: list[int], dtype: torch.dtype) -> Confidence:
        inputs = embedding[order].to(dtype), magnitude[order].to(dtype), identity[order]
        return confidence(*inputs, sources, fitted, centres[order], points=200, share=0.2)

    expected = measures([0, 1, 2, 3], torch.float32)
    assert_same(measures([0, 1, 2, 3], torch.float64), expected)
    assert_same(measures([2, 0, 3, 1], torch.float32), Confidence(*(m[[2, 0, 3, 1]] for m in expected)))
    for b in range(B):
        assert_same(measures([b], torch.float32), Confidence(*(m[b : b + 1] for m in expected)))


def test_confidence_is_higher_where_clusters_are_further_apart(generator):
    magnitude, identity = torch.rand(B, N, generator=generator), torch.arange(B)
    clear, blurred = (
        confidence(embeddings(torch.Generator().manual_seed(1), N, 2, spread), magnitude, identity, share=0.1)
        for spread in (0.1, 0.5)
    )
    for measure in ("silhouette", "posterior", "confidence", "jensen_shannon"):
        assert (getattr(clear, measure) > getattr(blurred, measure)).all()


@pytest.mark.parametrize("sources", [2, 3, 4])
@pytest.mark.parametrize("fitted", ["refit", "masks"])
@pytest.mark.parametrize("case", ["silent", "one bin", "few bins", "equal points", "nearly silent batch"])
def test_degenerate_mixtures_have_defined_measures(sources, fitted, case, generator):
    embedding, magnitude, identity = mixtures(generator, sources)
    centres = embedding[:, :sources].clone()
    if case == "silent":
        magnitude.zero_()
    elif case == "one bin":
        magnitude[:, 1:] = 0
    elif case == "few bins":
        magnitude[:, 3:] = 0
    elif case == "equal points":
        embedding[:] = embedding[:, :1].clone()
        centres[:] = embedding[:, :1]
    else:
        magnitude[1:] = 0
    measures = confidence(embedding, magnitude, identity, sources, fitted, centres)
    assert all(measure.isfinite().all() for measure in measures)
    if case in ("silent", "equal points"):
        for measure in measures:
            torch.testing.assert_close(measure, torch.zeros(B, dtype=torch.float64), rtol=0, atol=1e-9)
    if case == "one bin":
        assert measures.silhouette.count_nonzero() == 0 and measures.confidence.count_nonzero() == 0
    if case == "nearly silent batch":
        assert all(measure[1:].count_nonzero() == 0 for measure in measures)
        assert measures.silhouette[0] > 0


def test_masks_need_their_centres(generator):
    with pytest.raises(ValueError, match="centres"):
        confidence(*mixtures(generator), fitted="masks")


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(2, 4), st.integers(1, 4), st.booleans())
def test_measures_keep_their_ranges(seed, n, sources, dimensions, whole):
    generator = torch.Generator().manual_seed(seed)
    embedding = 3 * torch.randn(2, n, dimensions, generator=generator)
    embedding = embedding.round() if whole else embedding
    magnitude = torch.rand(2, n, generator=generator) * (torch.rand(2, n, generator=generator) < 0.7)
    labels = torch.randint(0, sources, (2, n), generator=generator)
    silhouettes = silhouette_samples(embedding, labels, sources, magnitude > 0)
    assert silhouettes.abs().max() <= 1
    measures = confidence(embedding, magnitude, torch.tensor([seed, 1]), sources, points=20, share=1.0)
    assert all(measure.isfinite().all() for measure in measures)
    assert measures.silhouette.abs().max() <= 1
    for measure in (measures.posterior, measures.jensen_shannon, measures.cluster_balance):
        assert measure.min() >= 0 and measure.max() <= 1
    torch.testing.assert_close(measures.confidence, measures.silhouette * measures.posterior)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_confidence_on_a_gpu_is_that_on_the_cpu():
    embedding = torch.nn.functional.normalize(
        torch.rand(3, 20_000, 20, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    magnitude = torch.rand(3, 20_000, generator=torch.Generator().manual_seed(1))
    identity = torch.arange(3)
    on_cpu = confidence(embedding, magnitude, identity)
    on_gpu = confidence(embedding.cuda(), magnitude.cuda(), identity.cuda())
    for ours, theirs in zip(on_gpu, on_cpu, strict=True):
        assert ours.device.type == "cuda"
        torch.testing.assert_close(ours.cpu(), theirs, atol=1e-4, rtol=0)
