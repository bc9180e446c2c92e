"""The input of deep clustering's network: what level and silence do."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_modules.deep_clustering.level_features import level_features

B, BINS, FRAMES = 3, 9, 7


def random_magnitude(*shape: int, seed: int = 0) -> Tensor:
    """From far below the floor to loud."""
    generator = torch.Generator().manual_seed(seed)
    return 10 ** (-6 * torch.rand(*(shape or (B, BINS, FRAMES)), generator=generator))


def in_numpy(magnitude: Tensor, floor: str) -> np.ndarray:
    """The features of one mixture, in float64."""
    m = magnitude.double().numpy()
    above_floor = np.maximum(m, m.max() * 1e-4) if floor == "relative" else np.sqrt(m**2 + 1e-8)
    level = 20 * np.log10(above_floor)
    return (level - level.mean()) / level.std(ddof=1)


@pytest.mark.parametrize("floor", ["relative", "absolute"])
def test_features_are_each_mixtures_own_levels_in_db_above_the_floor_with_mean_0_and_variance_1(floor):
    magnitude = random_magnitude() * torch.tensor([1.0, 1e-2, 30.0]).view(B, 1, 1)
    features = level_features(magnitude, floor)
    assert features.shape == magnitude.shape and features.dtype == torch.float32
    for mine, mixture in zip(features, magnitude, strict=True):
        np.testing.assert_allclose(mine.numpy(), in_numpy(mixture, floor), atol=1e-5)
        assert mine.mean().abs() < 1e-5 and abs(mine.var() - 1) < 1e-4


def test_the_relative_floor_is_the_default_and_lies_80_db_below_the_loudest_bin():
    magnitude = torch.tensor([[[1.0, 1e-2, 2e-4, 1e-4, 1e-5, 0.0]]])
    features = level_features(magnitude)[0, 0]
    assert (features[3:] == features[3]).all()
    assert features[2] > features[3]
    # As far apart as the dB are.
    torch.testing.assert_close((features[0] - features[1]) / (features[0] - features[3]), torch.tensor(40 / 80))
    for factor in (2.0**-40, 1000.0):  # the level of a mixture does not matter
        torch.testing.assert_close(level_features(factor * magnitude)[0, 0], features, atol=1e-5, rtol=0)


@pytest.mark.parametrize("floor", ["relative", "absolute"])
@pytest.mark.parametrize("shape", [(BINS, FRAMES), (257, 626)], ids=str)
def test_the_features_of_silence_are_zero_alone_and_beside_others(floor, shape):
    assert torch.count_nonzero(level_features(torch.zeros(2, *shape), floor)) == 0
    magnitude = random_magnitude(3, *shape)
    expected = level_features(magnitude, floor)
    magnitude[1] = 0
    features = level_features(magnitude, floor)
    assert torch.count_nonzero(features[1]) == 0
    assert torch.equal(features[::2], expected[::2])


@pytest.mark.parametrize("floor", ["relative", "absolute"])
def test_a_nearly_constant_mixture_has_small_features_rather_than_its_rounding_blown_up(floor):
    generator = torch.Generator().manual_seed(0)
    magnitude = 0.3 * (1 + 3e-7 * torch.randn(1, BINS, FRAMES, generator=generator))
    features = level_features(magnitude, floor)
    assert features.isfinite().all() and features.std() < 0.1
