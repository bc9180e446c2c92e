"""k-means against scikit-learn's, and what must not change a result."""

import pytest
import torch
from clustered_points import clustered_points
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor

from lightning_modules.deep_clustering import k_means as module
from lightning_modules.deep_clustering.k_means import Clusters, k_means

B, D = 5, 20


def inertia(points: Tensor, clusters: Clusters) -> Tensor:
    """Sum of squared distances to the labelled centre, as defined, [B]."""
    own = clusters.centres.gather(1, clusters.labels.unsqueeze(-1).expand(-1, -1, points.shape[-1]))
    return (points.double() - own).square().sum((1, 2))


@pytest.mark.parametrize(("n", "clusters"), [(600, 3), (5000, 2)])
def test_k_means_finds_clusters_as_good_as_scikit_learns_best(n, clusters):
    points = clustered_points(n, clusters, 0.3, B, D)
    found = k_means(points, clusters, torch.arange(B))
    inertias = inertia(points, found)
    for b in range(B):
        reference = KMeans(clusters, n_init=20, tol=0, random_state=0).fit(points[b].double().numpy())
        assert inertias[b].item() <= reference.inertia_ * (1 + 1e-4)


def test_k_means_keeps_the_best_of_its_starts():
    points = clustered_points(400, 4, 0.3, B, D)
    identity = torch.arange(B)
    inertias = torch.stack([inertia(points, k_means(points, 4, identity, starts=s)) for s in range(1, 11)])
    assert (inertias.diff(dim=0) <= 1e-9 * inertias[:-1]).all()
    assert (inertias[-1] < inertias[0] * 0.99).any()


@pytest.mark.parametrize("n", [500, 3000])
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "all at once"])
def test_a_mixtures_clusters_do_not_depend_on_the_batch(n, together, generator, monkeypatch):
    points, identity = clustered_points(n, 3, 0.4, B, D), torch.arange(B) + 100
    valid = torch.rand(B, n, generator=generator) < 0.9
    if together:
        monkeypatch.setattr(module, "group", lambda points: len(points))
    batch = k_means(points, 3, identity, valid)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = k_means(points[order], 3, identity[order], valid[order])
    for b in range(B):
        alone = k_means(points[b : b + 1], 3, identity[b : b + 1], valid[b : b + 1])
        place = order.tolist().index(b)
        assert torch.equal(alone.labels[0], batch.labels[b]) and torch.equal(batch.labels[b], shuffled.labels[place])
        torch.testing.assert_close(alone.centres[0], batch.centres[b], rtol=0, atol=1e-13)
        torch.testing.assert_close(shuffled.centres[place], batch.centres[b], rtol=0, atol=1e-13)


def test_points_that_do_not_count_change_nothing_and_have_label_0(generator):
    points = clustered_points(300, 2, 0.4, B, D)
    valid = torch.arange(300) < 250
    other = torch.where(valid.unsqueeze(-1), points, 100 * torch.randn(points.shape, generator=generator))
    other[:, -1] = torch.nan
    mask = valid.expand(B, -1)
    found = k_means(points, 2, torch.arange(B), mask)
    assert all(map(torch.equal, k_means(other, 2, torch.arange(B), mask), found))
    assert found.labels[:, 250:].count_nonzero() == 0


@pytest.mark.parametrize(("clusters", "n"), [(2, 1), (4, 3000)])
def test_equal_points_all_lie_in_one_cluster(clusters, n, generator):
    point = torch.rand(B, 1, D, generator=generator)
    points = point.expand(-1, n, -1)
    found = k_means(points, clusters, torch.arange(B))
    assert found.labels.count_nonzero() == 0
    torch.testing.assert_close(found.centres, point.double().expand(-1, clusters, -1))


@pytest.mark.parametrize(("clusters", "n"), [(3, 40), (4, 3000)])
def test_fewer_distinct_points_than_clusters_each_have_their_own(clusters, n, generator):
    distinct = torch.rand(B, 2, D, generator=generator)
    which = torch.randint(0, 2, (B, n), generator=generator)
    points = distinct.gather(1, which.unsqueeze(-1).expand(-1, -1, D))
    found = k_means(points, clusters, torch.arange(B))
    for b in range(B):
        assert len(found.labels[b].unique()) == 2
        torch.testing.assert_close(found.centres[b][found.labels[b]], points[b].double())
        # A centre without points of its own repeats one: it draws no mask to itself from where nothing is.
        assert torch.cdist(found.centres[b], distinct[b].double()).amin(-1).max() < 1e-7
    assert inertia(points, found).max() < 1e-9


def test_no_points_give_zeros(generator):
    found = k_means(torch.rand(B, 30, D, generator=generator), 2, torch.arange(B), torch.zeros(B, 30).bool())
    assert all(part.count_nonzero() == 0 for part in found)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 300), st.integers(2, 4), st.integers(1, 3), st.booleans())
@example(0, 4000, 3, 3, False)
def test_k_means_is_finite_and_labels_are_nearest(seed, n, clusters, dimensions, whole):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(2, n, dimensions, generator=generator)
    points = points.round() if whole else points  # with many ties
    valid = torch.rand(2, n, generator=generator) < 0.8
    found = k_means(points, clusters, torch.tensor([seed, seed + 1]), valid, starts=3)
    assert all(part.isfinite().all() for part in found)
    distance = torch.cdist(points.double(), found.centres, compute_mode="donot_use_mm_for_euclid_dist")
    own = distance.gather(-1, found.labels.unsqueeze(-1)).squeeze(-1)
    assert ((own - distance.amin(-1)) * valid).max() < 1e-6
    # Every cluster's centre is the mean of its points: nothing is left to gain.
    for x, centres, labels, counts in zip(points.double(), found.centres, found.labels, valid, strict=True):
        for k in labels[counts].unique():
            torch.testing.assert_close(centres[k], x[counts & (labels == k)].mean(0), rtol=1e-9, atol=1e-9)
