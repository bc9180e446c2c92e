"""Every score against scikit-learn or its definition, degenerate input, and what must not change a result."""

from functools import partial

import numpy as np
import pytest
import sklearn.metrics
import torch
from clustered_points import clustered_points
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lightning_modules.deep_clustering.clustering import loudest
from lightning_modules.deep_clustering.confidence import (
    Confidence,
    cluster_balance,
    confidence,
    loud_points,
    mask_clusters,
    posterior_strength,
    refit,
    score_clusters,
    silhouette_samples,
)
from lightning_modules.deep_clustering.draws import Stream, uniform
from lightning_modules.deep_clustering.k_means import k_means

B, N, D = 4, 3000, 8


def mixtures(generator: torch.Generator, clusters: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Embedding, magnitude and identity."""
    magnitude = torch.randn(B, N, generator=generator).exp()
    return clustered_points(N, clusters), magnitude, torch.arange(B) + 10


def scored(fitted, embedding, magnitude, identity, sources, centres, points=1000, share=0.01) -> Confidence:
    """The published confidence (`refit`), or that in the clusters of the masks (`masks`)."""
    if fitted == "refit":
        return confidence(embedding, magnitude, identity, sources, points, share)
    loud = loud_points(embedding, magnitude, identity, points, share)
    return score_clusters(loud, mask_clusters(loud, centres))


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_silhouettes_are_scikit_learns(clusters, generator):
    points = clustered_points(200, clusters)
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
    # Points that do not count have 0 and change no others.
    partly = silhouette_samples(points, labels, clusters, (torch.arange(200) < 170).expand(B, -1))
    assert partly[:, 170:].count_nonzero() == 0
    expected = silhouette_samples(points[:, :170], labels[:, :170], clusters)
    torch.testing.assert_close(partly[:, :170], expected, rtol=0, atol=1e-6)


def test_degenerate_silhouettes_are_0(generator):
    points = clustered_points(6, 2)
    one_cluster = silhouette_samples(points, torch.ones(B, 6, dtype=torch.int64), 3)
    equal = silhouette_samples(points[:, :1].expand(-1, 6, -1), torch.tensor([0, 1, 0, 1, 1, 2]).expand(B, -1), 3)
    alone = silhouette_samples(points[:, :2], torch.tensor([0, 1]).expand(B, -1), 2)
    for silhouettes in (one_cluster, equal, alone):
        assert silhouettes.count_nonzero() == 0 and silhouettes.isfinite().all()


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_posterior_strength_is_as_defined(clusters, generator):
    points = clustered_points(50, clusters)
    centres = k_means(points, clusters, torch.arange(B)).centres
    strength = posterior_strength(points, centres, beta=1.0)
    likelihood = np.exp(-np.linalg.norm(points.double().numpy()[:, :, None] - centres.numpy()[:, None], axis=-1))
    expected = (clusters * likelihood.max(-1) / likelihood.sum(-1) - 1) / (clusters - 1)
    np.testing.assert_allclose(strength, expected, atol=1e-12)
    strength = posterior_strength(torch.tensor([[[50.0, 3.0], [0.0, 0.0]]]), torch.tensor([[[0.0, 0.0], [100.0, 0.0]]]))
    torch.testing.assert_close(strength, torch.tensor([[0.0, 1.0]], dtype=torch.float64))  # between, and far from one


def test_cluster_balance_is_the_smallest_share_times_the_number_of_clusters():
    labels = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 1]])
    assert cluster_balance(labels, 3).tolist() == [1, 0.5, 0]
    valid = torch.tensor([True, False, True, True, True, False]).expand(3, -1)
    assert cluster_balance(labels, 3, valid).tolist() == [0.75, 0, 0]


@pytest.mark.parametrize(("fitted", "sources"), [("refit", 2), ("masks", 3), ("refit", 4)])
def test_confidence_is_put_together_as_defined(fitted, sources, generator):
    embedding, magnitude, identity = mixtures(generator, sources)
    magnitude = torch.where(torch.rand(B, N, generator=generator) < 0.1, magnitude, 0)
    centres = embedding[:, :sources]
    scores = scored(fitted, embedding, magnitude, identity, sources, centres, points=100, share=0.2)
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
        assert scores.silhouette[b].item() == pytest.approx(silhouette, abs=1e-5)
        assert scores.posterior[b].item() == pytest.approx(posterior, abs=1e-5)
        assert scores.confidence[b].item() == pytest.approx(silhouette * posterior, abs=1e-5)
        assert scores.cluster_balance[b] == cluster_balance(labels.unsqueeze(0), sources)[0]


@pytest.mark.parametrize(("fitted", "sources"), [("refit", 2), ("masks", 3)])
def test_confidence_depends_neither_on_precision_nor_on_the_batch(fitted, sources, generator):
    embedding, magnitude, identity = mixtures(generator, sources)
    magnitude[1, 500:] = 0
    centres = k_means(embedding, sources, identity).centres

    def scores(order: list[int], dtype: torch.dtype) -> Confidence:
        inputs = embedding[order].to(dtype), magnitude[order].to(dtype), identity[order]
        return scored(fitted, *inputs, sources, centres[order], points=200, share=0.2)

    expected = torch.stack(scores([0, 1, 2, 3], torch.float32))
    close = partial(torch.testing.assert_close, rtol=0, atol=1e-5)
    close(torch.stack(scores([0, 1, 2, 3], torch.float64)), expected)
    close(torch.stack(scores([2, 0, 3, 1], torch.float32)), expected[:, [2, 0, 3, 1]])
    close(torch.stack(scores([1], torch.float32)), expected[:, 1:2])


@pytest.mark.parametrize(("fitted", "sources"), [("refit", 2), ("masks", 3)])
@pytest.mark.parametrize("case", ["silent", "few bins", "equal points", "one bin of one mixture"])
def test_degenerate_mixtures_have_defined_measures(fitted, sources, case, generator):
    embedding, magnitude, identity = mixtures(generator, sources)
    centres = embedding[:, :sources].clone()
    if case == "equal points":
        embedding[:] = embedding[:, :1].clone()
        centres[:] = embedding[:, :1]
    elif case == "one bin of one mixture":
        magnitude[1:], magnitude[0, 1:] = 0, 0
    else:
        magnitude[:, 0 if case == "silent" else 3 :] = 0
    scores = scored(fitted, embedding, magnitude, identity, sources, centres)
    assert all(values.isfinite().all() for values in scores)
    if case in ("silent", "equal points"):
        for values in scores:
            torch.testing.assert_close(values, torch.zeros(B, dtype=torch.float64), rtol=0, atol=1e-9)
    if case == "one bin of one mixture":
        assert scores.silhouette.count_nonzero() == 0 and scores.confidence.count_nonzero() == 0
        assert all(values[1:].count_nonzero() == 0 for values in scores)


def test_points_found_among_the_loudest_of_a_larger_share_are_those_found_among_all(generator):
    embedding, magnitude, identity = mixtures(generator)
    magnitude[1, 100:] = 0
    magnitude[2] = (4 * magnitude[2]).ceil()  # with many ties
    found = loud_points(embedding, magnitude, identity, 100, among=loudest(magnitude, 0.2))
    assert all(map(torch.equal, found, loud_points(embedding, magnitude, identity, 100)))


@pytest.mark.parametrize(("scale", "shift"), [(1e-18, 0), (1e-3, 1000), (1e18, 1000)])
def test_silhouettes_do_not_depend_on_scale_or_origin(scale, shift, generator):
    points = clustered_points(200, 2).double()
    labels = k_means(points, 2, torch.arange(B)).labels
    moved = silhouette_samples((points + shift) * scale, labels, 2)
    torch.testing.assert_close(moved, silhouette_samples(points, labels, 2), rtol=0, atol=1e-6)


def test_by_default_s_is_of_1000_of_the_loudest_hundredth_and_p_of_all_of_it_with_beta_1():
    generator = torch.Generator().manual_seed(0)
    count, identity = 120_000, torch.tensor([7])
    embedding, magnitude = torch.rand(1, count, 3, generator=generator), torch.rand(1, count, generator=generator)
    bins = magnitude[0].topk(1200).indices.sort().values
    drawn = bins[uniform(identity, count, Stream.POINTS)[0, bins].argsort()[:1000]]
    labels = k_means(embedding[:, drawn], 2, identity).labels[0].numpy()
    silhouette = sklearn.metrics.silhouette_score(embedding[0, drawn].double().numpy(), labels)
    loud = embedding[:, bins]
    distance = torch.cdist(loud.double(), k_means(loud, 2, identity).centres)[0]
    likelihood = (-distance).exp()
    posterior = float((2 * likelihood.amax(-1) / likelihood.sum(-1) - 1).mean())
    points = loud_points(embedding, magnitude, identity)
    assert torch.equal(points.drawn, embedding[:, drawn])
    for scores in (confidence(embedding, magnitude, identity), score_clusters(points, refit(points, identity, 2))):
        found = [float(value) for value in scores[:3]]
        assert found == pytest.approx([silhouette, posterior, silhouette * posterior], abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(2, 4), st.integers(1, 4), st.booleans())
def test_measures_keep_their_ranges(seed, n, sources, dimensions, whole):
    generator = torch.Generator().manual_seed(seed)
    embedding = 3 * torch.randn(2, n, dimensions, generator=generator)
    embedding = embedding.round() if whole else embedding
    magnitude = torch.rand(2, n, generator=generator) * (torch.rand(2, n, generator=generator) < 0.7)
    scores = confidence(embedding, magnitude, torch.tensor([seed, 1]), sources, points=20, share=1.0)
    assert all(values.isfinite().all() for values in scores)
    assert scores.silhouette.abs().max() <= 1
    for share in (scores.posterior, scores.cluster_balance):
        assert share.min() >= 0 and share.max() <= 1
    torch.testing.assert_close(scores.confidence, scores.silhouette * scores.posterior)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["highest", "high"])
def test_confidence_on_a_gpu_is_that_on_the_cpu(precision, generator):
    before = torch.get_float32_matmul_precision()
    given = torch.rand(3, 20_000, 20, generator=generator), torch.rand(3, 20_000, generator=generator), torch.arange(3)
    on_cpu = confidence(*given)
    torch.set_float32_matmul_precision(precision)
    on_gpu = confidence(*(each.cuda() for each in given))
    torch.set_float32_matmul_precision(before)
    torch.testing.assert_close([each.cpu() for each in on_gpu], list(on_cpu), atol=1e-5, rtol=0)
