"""The loudest bins and masks against brute force."""

import numpy as np
import pytest
import torch
from clustered_points import clustered_points

from lightning_modules.deep_clustering.clustering import loudest, points_at, soft_masks
from lightning_modules.deep_clustering.k_means import k_means

B, D = 5, 20


@pytest.mark.parametrize("share", [0.001, 0.1, 0.6, 1.0])
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
    among = loudest(magnitude, 0.5)  # also of fewer than are wanted
    assert torch.equal(loudest(magnitude, share, among), loudest(magnitude, share))
    assert torch.equal(loudest(magnitude.bfloat16(), share), loudest(magnitude.bfloat16().double(), share))


def test_points_at_are_those_of_each_mixtures_bins(generator):
    embedding, bins = torch.rand(B, 30, D, generator=generator), torch.randint(0, 30, (B, 7), generator=generator)
    expected = [[embedding[b, i].tolist() for i in row] for b, row in enumerate(bins.tolist())]
    assert points_at(embedding, bins).tolist() == expected


@pytest.mark.parametrize(("dtype", "clusters"), [(torch.float64, 2), (torch.float32, 3), (torch.bfloat16, 4)])
def test_soft_masks_are_the_softmax_of_distances(dtype, clusters):
    embedding = clustered_points(50, clusters, 0.4, B, D).to(dtype)
    centres = k_means(embedding, clusters, torch.arange(B)).centres
    centres[:, 0] = embedding[:, 7]  # one distance is 0
    distance = np.linalg.norm(embedding.double().numpy()[:, None] - centres.numpy()[:, :, None], axis=-1)
    for beta, masks in ((5, soft_masks(embedding, centres)), (2, soft_masks(embedding, centres, 2.0))):
        assert masks.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        likelihood = np.exp(-beta * distance)
        np.testing.assert_allclose(masks, likelihood / likelihood.sum(1, keepdims=True), atol=1e-6)


def test_soft_masks_of_equal_or_distant_centres_are_defined():
    embedding = torch.rand(1, 5, D)
    same = soft_masks(embedding, torch.full((1, 2, D), 0.5))
    assert (same == 0.5).all()
    far = soft_masks(embedding, torch.stack([embedding[0, 0], torch.full((D,), 1e6)]).unsqueeze(0))
    assert (far[:, 0] == 1).all() and far.isfinite().all()
