"""Clustering a mixture's embedding, masks and confidence, against scikit-learn mixture by mixture."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import scipy.special
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_samples
from sklearn.metrics.pairwise import euclidean_distances
from threadpoolctl import threadpool_limits
from torch import Tensor

from experiments.benchmarks.comparison import Comparison
from lightning_modules.deep_clustering.clustering import loudest, points_at, soft_masks
from lightning_modules.deep_clustering.confidence import loud_points, measure, refit
from lightning_modules.deep_clustering.k_means import k_means

BINS, DIMENSIONS, SOURCES = 626 * 257, 20, 2  # of 5 s at 16 kHz
STARTS, POINTS = 10, 1000
BATCH = 16


def benchmark_clustering(device: torch.device) -> Iterator[Comparison]:
    """k-means on the loudest 10 % of bins, masks for all, confidence; of one 5-s mixture and of a batch.

    Both ways take the same number of k-means++ starts, ours on a sample of the points, and end in the same clusters.
    """
    embedding, magnitude = (part.to(device) for part in clustered_bins(BATCH))
    identity = torch.arange(BATCH, device=device)

    def ours(mixtures: int) -> tuple[Tensor, Tensor, Tensor]:
        x, loudness, own = embedding[:mixtures], magnitude[:mixtures], identity[:mixtures]
        bins = loudest(loudness, 0.1)
        centres = k_means(points_at(x, bins), SOURCES, own, starts=STARTS).centres
        points = loud_points(x, loudness, own, POINTS, among=bins)
        measures = measure(points, refit(points, own, SOURCES))
        return soft_masks(x, centres), measures.silhouette, measures.posterior

    def reference(mixtures: int) -> list[tuple[np.ndarray, float, float]]:
        return [
            cluster_by_scikit_learn(x.numpy(force=True), loudness.numpy(force=True))
            for x, loudness in zip(embedding[:mixtures], magnitude[:mixtures], strict=True)
        ]

    with threadpool_limits(torch.get_num_threads()):
        _check(ours(BATCH), reference(BATCH))
        for mixtures, runs in ((1, 15), (BATCH, 5)):
            yield Comparison(
                f"k-means, masks and confidence of {mixtures} 5-s mixture{'s' * (mixtures > 1)}",
                partial(ours, mixtures),
                partial(reference, mixtures),
                "scikit-learn's KMeans (its ten starts on all points) and silhouette_samples, NumPy's masks",
                mixtures,
                wanted=4,
                runs=runs,
            )


def clustered_bins(count: int) -> tuple[Tensor, Tensor]:
    """Two overlapping clusters on the positive orthant of the unit sphere, float32, and magnitudes."""
    generator = torch.Generator().manual_seed(0)
    source = (torch.rand(count, BINS, generator=generator) < 0.4).long()
    centres = torch.rand(count, SOURCES, DIMENSIONS, generator=generator)
    embedding = centres.gather(1, source.unsqueeze(-1).expand(-1, -1, DIMENSIONS))
    embedding += 0.3 * torch.randn(embedding.shape, generator=generator)
    magnitude = torch.randn(count, BINS, generator=generator).exp()
    return torch.nn.functional.normalize(embedding.clamp_(min=0), dim=-1), magnitude


def cluster_by_scikit_learn(embedding: np.ndarray, magnitude: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Masks, [N, Q], silhouette and posterior strength of one mixture's bins.

    Args:
        embedding: [N, D].
        magnitude: [N].
    """

    def loud(share: float) -> np.ndarray:
        count = round(share * len(magnitude))
        return embedding[np.argpartition(magnitude, -count)[-count:]]

    def clusters(points: np.ndarray) -> KMeans:
        return KMeans(SOURCES, n_init=STARTS, random_state=0).fit(points)

    def posteriors(points: np.ndarray, centres: np.ndarray, beta: float) -> np.ndarray:
        return scipy.special.softmax(-beta * euclidean_distances(points, centres), 1)

    masks = posteriors(embedding, clusters(loud(0.1)).cluster_centers_, 5)
    loudest_bins = loud(0.01)
    drawn = loudest_bins[np.random.default_rng(0).permutation(len(loudest_bins))[:POINTS]]
    silhouettes = silhouette_samples(drawn, clusters(drawn).labels_)
    strength = 2 * posteriors(loudest_bins, clusters(loudest_bins).cluster_centers_, 1).max(1) - 1
    return masks, silhouettes.mean(), strength.mean()


def _check(ours: tuple[Tensor, Tensor, Tensor], reference: list[tuple[np.ndarray, float, float]]) -> None:
    """The same clusters; the points drawn for the silhouette differ, and where k-means stops, a little."""
    for masks, silhouette, posterior, expected in zip(*ours, reference, strict=True):
        same = min(np.abs(masks.numpy(force=True) - theirs).max() for theirs in (expected[0].T, expected[0].T[::-1]))
        np.testing.assert_array_less(same, 0.02)
        np.testing.assert_allclose(silhouette.cpu(), expected[1], atol=0.02)
        np.testing.assert_allclose(posterior.cpu(), expected[2], atol=0.002)
