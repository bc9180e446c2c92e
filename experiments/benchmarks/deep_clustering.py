"""The deep clustering loss, clusters and confidence, against the ways in which others compute them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import scipy.special
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_samples
from sklearn.metrics.pairwise import euclidean_distances
from torch import Tensor
from torch.nn import functional

from experiments.benchmarks import published
from experiments.benchmarks.comparison import Comparison
from lightning_modules.deep_clustering.clustering import loudest, points_at, soft_masks
from lightning_modules.deep_clustering.confidence import loud_points, refit, score_clusters
from lightning_modules.deep_clustering.k_means import k_means
from lightning_modules.deep_clustering.losses import deep_clustering_loss

DIMENSIONS, SOURCES = 20, 2
LOSS_BATCH, LOSS_BINS = 8, 257 * 501  # of 4 s at 16 kHz
BATCH, BINS = 16, 257 * 626  # of 5 s
STARTS, POINTS = 10, 1000


def benchmark_loss(device: torch.device) -> Iterator[Comparison]:
    """Loss and gradient of a batch of 4-s mixtures."""
    embedding, dominant, weight = clustered_bins(LOSS_BATCH, LOSS_BINS, device)
    transposed = dominant.mT.float().contiguous()  # as the others want it: each computes its own once a step
    ways: tuple[tuple[Callable[..., Tensor], Tensor, str, float | None], ...] = (
        (published.three_products, weight, "normalising, weighting, three products, as nussl does", 2.4),
        (published.masked_products, (weight > 1).float(), "a binary mask, three products, as asteroid does", 1.3),
        (published.one_gram_matrix, weight, "plain torch: one Gram matrix of the weighted [V Y]", None),
    )
    work = f"deep clustering loss, forward and backward, {LOSS_BATCH} mixtures of {LOSS_BINS:,} bins"
    for loss, weights, name, wanted in ways:
        ours = partial(loss_and_gradient, deep_clustering_loss, (embedding, dominant, weights))
        theirs = partial(loss_and_gradient, loss, (embedding, transposed, weights))
        (value, gradient), (expected, direction) = ours(), theirs()
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
        # Of unit vectors' gradients only what turns them counts, and is what a loss that normalises again has.
        turns = [part - embedding * (part * embedding).sum(-1, keepdim=True) for part in (gradient, direction)]
        torch.testing.assert_close(*turns, rtol=1e-3, atol=1e-4 * float(turns[1].abs().max()))
        yield Comparison(work, ours, theirs, name, LOSS_BATCH, wanted=wanted)


def benchmark_clustering(device: torch.device) -> Iterator[Comparison]:
    """k-means on the loudest 10 % of bins, masks for all, confidence; of one 5-s mixture and of a batch.

    Both ways take the same number of k-means++ starts, ours on a sample of the points, and end in the same clusters.
    """
    embedding, _, magnitude = clustered_bins(BATCH, BINS, device)

    def ours(mixtures: int) -> tuple[Tensor, Tensor, Tensor]:
        x, loudness, numbers = embedding[:mixtures], magnitude[:mixtures], torch.arange(mixtures, device=device)
        bins = loudest(loudness, 0.1)
        centres = k_means(points_at(x, bins), SOURCES, numbers, starts=STARTS).centres
        points = loud_points(x, loudness, numbers, POINTS, among=bins)
        confidence = score_clusters(points, refit(points, numbers, SOURCES))
        return soft_masks(x, centres), confidence.silhouette, confidence.posterior

    def theirs(mixtures: int) -> list[tuple[np.ndarray, float, float]]:
        parts = (part[:mixtures].numpy(force=True) for part in (embedding, magnitude))
        return list(map(cluster_by_scikit_learn, *parts))

    # The points drawn for the silhouette differ, and where k-means stops, a little.
    for masks, silhouette, posterior, (expected, *confidence) in zip(*ours(BATCH), theirs(BATCH), strict=True):
        difference = min(np.abs(masks.numpy(force=True) - each).max() for each in (expected.T, expected.T[::-1]))
        assert difference < 0.02, difference
        np.testing.assert_allclose(
            (silhouette.item() / 10, posterior.item()), np.array(confidence) / (10, 1), atol=0.002
        )
    name = "scikit-learn's KMeans (its ten starts on all points) and silhouette_samples, NumPy's masks"
    for count, runs in ((1, 15), (BATCH, 5)):
        work = f"k-means, masks and confidence of {count} 5-s mixture{'s' * (count > 1)}"
        yield Comparison(work, partial(ours, count), partial(theirs, count), name, count, wanted=4, runs=runs)


def loss_and_gradient(loss: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The loss of each mixture, [B], and the gradient of its mean with respect to the first input."""
    leaf = inputs[0].detach().requires_grad_()
    value = loss(leaf, *inputs[1:])
    return value.detach(), torch.autograd.grad(value.mean(), leaf)[0]


def clustered_bins(mixtures: int, bins: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Overlapping clusters on the positive orthant of the unit sphere, [B, N, D].

    Returns:
        Embeddings, the one-hot sources that they belong to, bool, [B, Q, N], and weights, [B, N].
    """
    generator = torch.Generator().manual_seed(0)
    number = torch.randint(SOURCES, (mixtures, bins), generator=generator)
    centres = torch.rand(mixtures, SOURCES, DIMENSIONS, generator=generator)
    embedding = centres.gather(1, number.unsqueeze(-1).expand(-1, -1, DIMENSIONS))
    embedding += 0.3 * torch.randn(embedding.shape, generator=generator)
    embedding = functional.normalize(embedding.clamp_(min=0), dim=-1)
    dominant = functional.one_hot(number, SOURCES).mT.bool().contiguous()
    weight = torch.randn(mixtures, bins, generator=generator).exp()
    return embedding.to(device), dominant.to(device), weight.to(device)


def cluster_by_scikit_learn(embedding: np.ndarray, magnitude: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Masks, [N, Q], silhouette and posterior strength of one mixture's bins, [N, D], and their magnitudes, [N]."""

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
