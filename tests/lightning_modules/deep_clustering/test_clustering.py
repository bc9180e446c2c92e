"""k-means against scikit-learn's, masks and selection against brute force, and what must not change a result."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor

from lightning_modules.deep_clustering import clustering
from lightning_modules.deep_clustering.clustering import Clusters, k_means, loudest, soft_masks, uniform

B, D = 5, 20


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def embeddings(generator: torch.Generator, n: int, clusters: int, spread: float, mixtures: int = B) -> Tensor:
    """Overlapping clusters on the unit sphere's positive orthant, of unequal sizes, float32, [B, n, D]."""
    centres = torch.rand(mixtures, clusters, D, generator=generator)
    label = (clusters * torch.rand(mixtures, n, generator=generator) ** 1.5).long()
    points = centres.gather(1, label.unsqueeze(-1).expand(-1, -1, D))
    points = points + spread * torch.randn(mixtures, n, D, generator=generator)
    return torch.nn.functional.normalize(points.clamp(min=1e-3), dim=-1)


def inertia(points: Tensor, clusters: Clusters) -> Tensor:
    """Sum of squared distances to the labelled centre, as defined."""
    totals = []
    for x, centres, labels in zip(points.double(), clusters.centres, clusters.labels, strict=True):
        totals.append((x - centres[labels]).square().sum())
    return torch.stack(totals)


def assert_same(actual: Clusters, expected: Clusters) -> None:
    for mine, theirs in zip(actual, expected, strict=True):
        assert torch.equal(mine, theirs)


def test_uniform_follows_splitmix64():
    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    identity = torch.tensor([0, 1, -1, 2**62, -(2**63)])
    numbers = uniform(identity, 50, stream=3)
    assert numbers.dtype == torch.float64
    for b, number in enumerate(identity.tolist()):
        key = mix((mix(number % 2**64) + 3) % 2**64)
        expected = [(mix((key + i * 0x9E3779B97F4A7C15) % 2**64) >> 11) / 2**53 for i in range(1, 51)]
        assert numbers[b].tolist() == expected


def test_uniform_is_uniform_and_independent_between_identities_and_streams():
    identity = torch.arange(20)
    numbers = torch.stack([uniform(identity, 20_000, stream) for stream in range(2)]).flatten(0, 1)
    assert numbers.min() >= 0 and numbers.max() < 1
    histogram = torch.histc(numbers, 100, 0, 1)
    assert ((histogram - 8000).abs() < 5 * 8000**0.5).all()
    correlation = torch.corrcoef(torch.cat([numbers[:, 1:], numbers[:, :-1]])) - torch.eye(80)
    assert correlation.abs().max() < 5 / 20_000**0.5


def test_uniform_of_a_mixture_does_not_depend_on_batch_or_count():
    identity = torch.tensor([5, 6, 7])
    numbers = uniform(identity, 100, 0)
    assert torch.equal(uniform(identity[2:], 30, 0), numbers[2:, :30])


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 1.0])
def test_loudest_are_the_first_of_a_stable_sort(share, generator):
    magnitude = torch.stack(
        [
            torch.rand(999, generator=generator),
            torch.randint(0, 7, (999,), generator=generator) / 8,  # many ties
            (torch.rand(999, generator=generator) < 0.05) * 1.0,  # ties at 0
            torch.zeros(999),
        ]
    )
    n = max(1, round(share * 999))
    expected = [np.sort(np.argsort(-row, kind="stable")[:n]) for row in magnitude.numpy()]
    assert loudest(magnitude, share).tolist() == np.stack(expected).tolist()


@pytest.mark.parametrize("clusters", [2, 3, 4])
@pytest.mark.parametrize("spread", [0.2, 1.0])
def test_k_means_goes_where_scikit_learn_goes_from_the_same_centres(clusters, spread, generator):
    points = embeddings(generator, 700, clusters, spread)
    start = points[:, :clusters]
    found = k_means(points, clusters, initial_centres=start)
    for b in range(B):
        reference = KMeans(clusters, init=start[b].double().numpy(), n_init=1, tol=0).fit(points[b].double().numpy())
        assert found.labels[b].tolist() == reference.labels_.tolist()
        np.testing.assert_allclose(found.centres[b], reference.cluster_centers_, atol=1e-12)
        assert found.inertia[b].item() == pytest.approx(reference.inertia_, rel=1e-12)


@pytest.mark.parametrize("clusters", [2, 3, 4])
@pytest.mark.parametrize("n", [600, 5000])
def test_k_means_finds_clusters_as_good_as_scikit_learns_best(clusters, n, generator):
    points = embeddings(generator, n, clusters, 0.3)
    found = k_means(points, clusters, torch.arange(B))
    torch.testing.assert_close(found.inertia, inertia(points, found))
    for b in range(B):
        reference = KMeans(clusters, n_init=20, tol=0, random_state=0).fit(points[b].double().numpy())
        assert found.inertia[b].item() <= reference.inertia_ * (1 + 1e-4)


@pytest.mark.parametrize("n", [300, 4000])
def test_k_means_ends_in_a_fixed_point(n, generator):
    points = embeddings(generator, n, 3, 0.5)
    found = k_means(points, 3, torch.arange(B))
    nearest = torch.cdist(points.double(), found.centres).argmin(-1)
    assert torch.equal(found.labels, nearest)
    for b in range(B):
        for k in range(3):
            mean = points[b][found.labels[b] == k].double().mean(0)
            torch.testing.assert_close(found.centres[b, k], mean, rtol=0, atol=1e-12)


def test_k_means_keeps_the_best_of_its_starts(generator):
    points = embeddings(generator, 400, 4, 0.3)
    identity = torch.arange(B)
    inertias = torch.stack([k_means(points, 4, identity, starts=s).inertia for s in range(1, 11)])
    assert (inertias.diff(dim=0) <= 1e-9 * inertias[:-1]).all()
    assert (inertias[-1] < inertias[0] * 0.99).any()


@pytest.mark.parametrize("n", [500, 3000])
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "all at once"])
def test_a_mixtures_clusters_do_not_depend_on_the_batch(n, together, generator, monkeypatch):
    points, identity = embeddings(generator, n, 3, 0.4), torch.arange(B) + 100
    valid = torch.rand(B, n, generator=generator) < 0.9
    if together:
        monkeypatch.setattr(clustering, "group", lambda points: len(points))
    batch = k_means(points, 3, identity, valid)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = k_means(points[order], 3, identity[order], valid[order])
    for b in range(B):
        alone = k_means(points[b : b + 1], 3, identity[b : b + 1], valid[b : b + 1])
        place = order.tolist().index(b)
        assert torch.equal(alone.labels[0], batch.labels[b]) and torch.equal(batch.labels[b], shuffled.labels[place])
        torch.testing.assert_close(alone.centres[0], batch.centres[b], rtol=0, atol=1e-13)
        torch.testing.assert_close(shuffled.centres[place], batch.centres[b], rtol=0, atol=1e-13)


def test_converged_mixtures_stay_as_they_are_while_others_go_on(generator, monkeypatch):
    monkeypatch.setattr(clustering, "group", lambda points: len(points))
    quick, slow = embeddings(generator, 400, 2, 0.1, mixtures=2), embeddings(generator, 400, 2, 2.0, mixtures=1)
    identity = torch.arange(3)
    first = k_means(torch.cat([quick, slow]), 2, identity)
    second = k_means(torch.cat([quick, slow[:, :1].expand_as(slow)]), 2, identity)  # the third converges at once
    assert_same(Clusters(*(part[:2] for part in first)), Clusters(*(part[:2] for part in second)))


def test_points_that_do_not_count_change_nothing_and_have_label_0(generator):
    points = embeddings(generator, 300, 2, 0.4)
    valid = torch.arange(300) < 250
    other = torch.where(valid.unsqueeze(-1), points, 100 * torch.randn(points.shape, generator=generator))
    other[:, -1] = torch.nan
    mask = valid.expand(B, -1)
    found = k_means(points, 2, torch.arange(B), mask)
    assert_same(k_means(other, 2, torch.arange(B), mask), found)
    assert found.labels[:, 250:].count_nonzero() == 0
    alone = k_means(points[:, :250], 2, initial_centres=found.centres)
    assert torch.equal(alone.labels, found.labels[:, :250])
    torch.testing.assert_close(alone.inertia, found.inertia)


def test_an_empty_cluster_keeps_its_centre(generator):
    points = embeddings(generator, 100, 2, 0.3)
    far = torch.full((B, 1, D), 50.0)
    for place in range(3):
        start = torch.cat([points[:, :place], far, points[:, place:2]], 1)
        found = k_means(points, 3, initial_centres=start)
        torch.testing.assert_close(found.centres[:, place], far[:, 0].double())
        assert (found.labels != place).all()


@pytest.mark.parametrize("clusters", [2, 3, 4])
@pytest.mark.parametrize("n", [1, 50, 3000])
def test_equal_points_all_lie_in_one_cluster(clusters, n, generator):
    point = torch.rand(B, 1, D, generator=generator)
    points = point.expand(-1, n, -1)
    for found in (
        k_means(points, clusters, torch.arange(B)),
        k_means(points, clusters, initial_centres=point.expand(-1, clusters, -1)),
    ):
        assert found.labels.count_nonzero() == 0
        torch.testing.assert_close(found.centres, point.double().expand(-1, clusters, -1))
        torch.testing.assert_close(found.inertia, torch.zeros(B, dtype=torch.float64))


@pytest.mark.parametrize("clusters", [3, 4])
@pytest.mark.parametrize("n", [40, 3000])
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
    assert found.inertia.max() < 1e-9


def test_no_points_give_zeros(generator):
    found = k_means(torch.rand(B, 30, D, generator=generator), 2, torch.arange(B), torch.zeros(B, 30).bool())
    assert all(part.count_nonzero() == 0 for part in found)


def test_k_means_asks_for_what_decides_its_starts():
    with pytest.raises(ValueError, match="identity"):
        k_means(torch.rand(1, 5, 2))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(2, 4), st.integers(1, 3), st.booleans())
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
    torch.testing.assert_close((own.square() * valid).sum(-1), found.inertia, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_soft_masks_are_the_softmax_of_distances(dtype, clusters, generator):
    embedding = embeddings(generator, 50, clusters, 0.4).to(dtype)
    centres = k_means(embedding, clusters, torch.arange(B)).centres
    centres[:, 0] = embedding[:, 7]  # one distance is 0
    masks = soft_masks(embedding, centres, 5.0)
    assert masks.shape == (B, clusters, 50)
    assert masks.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    x, c = embedding.double().numpy(), centres.numpy()
    for b in range(B):
        for i in range(50):
            likelihood = np.exp(-5.0 * np.sqrt(((x[b, i] - c[b]) ** 2).sum(-1)))
            np.testing.assert_allclose(masks[b, :, i], likelihood / likelihood.sum(), atol=1e-6)


def test_soft_masks_of_equal_or_distant_centres_are_defined():
    embedding = torch.rand(1, 5, D)
    same = soft_masks(embedding, torch.full((1, 2, D), 0.5))
    assert (same == 0.5).all()
    far = soft_masks(embedding, torch.stack([embedding[0, 0], torch.full((D,), 1e6)]).unsqueeze(0))
    assert (far[:, 0] == 1).all() and far.isfinite().all()
