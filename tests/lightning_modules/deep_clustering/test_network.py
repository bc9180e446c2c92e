"""The embedding network and its input: order and length of the vectors, and what level and silence do."""

import numpy as np
import pytest
import torch
from lightning_modules.deep_clustering.network import EmbeddingNetwork, level_features
from torch import Tensor

B, BINS, FRAMES, D = 3, 9, 7, 4


def random_magnitude(*shape: int, seed: int = 0) -> Tensor:
    """From far below the floor to loud."""
    generator = torch.Generator().manual_seed(seed)
    return 10 ** (-6 * torch.rand(*(shape or (B, BINS, FRAMES)), generator=generator))


def tiny_network(dropout: float = 0.0, layers: int = 2) -> EmbeddingNetwork:
    torch.manual_seed(0)
    network = EmbeddingNetwork(BINS, D, units=6, layers=layers, dropout=dropout)
    with torch.no_grad():
        network.embedding.weight.mul_(5)  # vectors that differ
    return network


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


@pytest.mark.parametrize("factor", [2.0**-40, 1e-6, 0.3, 1000.0, 2.0**30])
def test_with_the_relative_floor_the_level_of_a_mixture_does_not_matter(factor):
    magnitude = random_magnitude()
    torch.testing.assert_close(level_features(factor * magnitude), level_features(magnitude), atol=1e-5, rtol=0)


def test_with_the_absolute_floor_a_quiet_mixture_sinks_into_it():
    magnitude = random_magnitude()
    loud, quiet = level_features(magnitude, "absolute"), level_features(1e-3 * magnitude, "absolute")
    assert (loud - quiet).abs().max() > 0.5
    # Above the floor by far there is no difference.
    far = magnitude.clamp_min(1e-2)
    torch.testing.assert_close(level_features(1e3 * far, "absolute"), level_features(far), atol=1e-3, rtol=0)


@pytest.mark.parametrize("floor", ["relative", "absolute"])
@pytest.mark.parametrize("shape", [(1, 1), (BINS, FRAMES), (129, 250), (257, 626)], ids=str)
def test_the_features_of_silence_are_zero_alone_and_beside_others(floor, shape):
    if shape != (1, 1):
        assert torch.count_nonzero(level_features(torch.zeros(2, *shape), floor)) == 0
    magnitude = random_magnitude(3, *shape if shape != (1, 1) else (BINS, FRAMES))
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


def test_embeddings_are_unit_vectors_without_negative_components():
    features = level_features(random_magnitude())
    embedding = tiny_network()(features)
    assert embedding.shape == (B, FRAMES * BINS, D) and embedding.dtype == torch.float32
    assert (embedding >= 0).all()
    torch.testing.assert_close(embedding.square().sum(-1), torch.ones(B, FRAMES * BINS))


def test_embeddings_are_unit_vectors_in_float32_under_autocast_too():
    network, features = tiny_network(), level_features(random_magnitude())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = network(features)
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding.square().sum(-1), torch.ones(B, FRAMES * BINS))
    torch.testing.assert_close(embedding, network(features), atol=0.05, rtol=0)


@pytest.mark.parametrize(("spread", "deviation"), [(8.0, 8 / 600**0.5), (0.577, 1 / 1800**0.5)])
def test_the_embedding_layer_starts_as_wide_as_it_is_told(spread, deviation):
    network = EmbeddingNetwork(257, embedding_start=spread)
    assert network.embedding.weight.detach().std().item() == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize("bias", [-25, 60])
def test_saturated_sigmoids_leave_unit_vectors(bias):
    network = tiny_network()
    with torch.no_grad():
        network.embedding.bias.fill_(bias)
    embedding = network(torch.full((1, BINS, FRAMES), 1e4))
    torch.testing.assert_close(embedding.square().sum(-1), torch.ones(1, FRAMES * BINS))


def test_bins_follow_one_another_frame_after_frame():
    network, features = tiny_network(), level_features(random_magnitude())
    embedding = network(features)
    states = network.recurrent(features)
    weight = network.embedding.weight.view(BINS, D, -1)
    bias = network.embedding.bias.view(BINS, D)
    for b in range(B):
        for t in range(FRAMES):
            for f in range(BINS):
                vector = 1 / (1 + (-(weight[f] @ states[b, t] + bias[f])).exp())
                torch.testing.assert_close(embedding[b, t * BINS + f], vector / vector.norm())


def test_frames_are_heard_in_both_directions():
    network, features = tiny_network(), level_features(random_magnitude(1, BINS, FRAMES))
    changed = features.clone()
    changed[..., 3] += 1
    difference = (network(changed) - network(features)).abs().view(FRAMES, BINS * D).amax(-1)
    assert (difference > 1e-6).all()


def test_dropout_acts_in_training_alone():
    network, features = tiny_network(dropout=0.5), level_features(random_magnitude())
    assert not torch.equal(network(features), network(features))
    network.eval()
    assert torch.equal(network(features), network(features))
    assert torch.equal(network(features), tiny_network(dropout=0.0)(features))


def test_a_single_layer_has_nothing_to_drop(recwarn):
    network, features = tiny_network(dropout=0.5, layers=1), level_features(random_magnitude())
    assert torch.equal(network(features), network(features))
    assert not recwarn.list


def test_the_published_network_has_as_many_parameters_as_its_equations():
    bins, units, dimensions = 257, 300, 20
    network = EmbeddingNetwork(bins)

    def direction(inputs: int) -> int:  # four gates, torch's two biases each
        return 4 * (inputs * units + units * units + 2 * units)

    expected = 2 * direction(bins) + 2 * direction(2 * units) + (2 * units + 1) * bins * dimensions
    assert sum(parameter.numel() for parameter in network.parameters()) == expected == 6_595_540
