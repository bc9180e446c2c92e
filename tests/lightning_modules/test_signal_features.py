"""What a separation looks like from outside, against numpy and separations of which it is known."""

import numpy as np
import pytest
import torch

from lightning_modules.scores.selection_rows import SIGNAL_FEATURES
from lightning_modules.signal_features import signal_features
from lightning_modules.spectrogram import Geometry

GEOMETRY = Geometry(8000, 256, 128)
SAMPLES = 4000


def features(mixture, estimates):
    """By name, of one mixture."""
    found = signal_features(mixture[None], estimates[None], GEOMETRY)
    assert found.dtype == torch.float64 and found.shape == (1, len(SIGNAL_FEATURES))
    return {name.removeprefix("signal_"): float(value) for name, value in zip(SIGNAL_FEATURES, found[0], strict=True)}


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, SAMPLES, generator=torch.Generator().manual_seed(seed))


def spectrogram(signal):
    """Magnitudes, [..., bins, F], by numpy: frames of a padded signal under the root of a Hann window."""
    padded = np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(128, 128)])
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256))
    frames = np.stack([padded[..., n * 128 : n * 128 + 256] for n in range(1 + SAMPLES // 128)], -2)
    return np.abs(np.fft.rfft(frames * window / window.sum(), axis=-1)).swapaxes(-1, -2)


def test_every_feature_is_what_numpy_makes_of_the_signals():
    estimates = noise(3) * torch.linspace(0, 1, SAMPLES) ** torch.tensor([[1.0], [2], [3]])
    mixture = estimates.sum(0) + 0.2 * noise(seed=1)
    x, s = spectrogram(mixture.double().numpy()), spectrogram(estimates.double().numpy())
    signal, parts = mixture.double().numpy(), estimates.double().numpy()
    weight, share, energy = x / x.sum(), s / s.sum(0), (parts**2).sum(1)

    def alike(vectors):
        pairs = [(vectors[i], vectors[j]) for i in range(3) for j in range(i)]
        return max(abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs)

    def decided(of, weights):
        return np.average((3 * (of / of.sum(0)).max(0) - 1) / 2, weights=weights)

    def spread(of):
        return np.log(of.sum() ** 2 / (of.size * (of**2).sum()))

    frames, bins, spectrum = (s**2).sum(1), (s**2).sum(2), (x**2).mean(1)
    expected = {
        "residual_db": 10 * np.log10(((signal - parts.sum(0)) ** 2).sum() / (signal**2).sum()),
        "level_spread_db": 10 * np.log10(energy.max() / energy.min()),
        "correlation": alike(parts),
        "similarity": alike(s.reshape(3, -1)),
        "time_similarity": alike(np.sqrt(frames)),
        "frequency_similarity": alike(np.sqrt(bins)),
        "decidedness": decided(s, weight),
        "time_decidedness": decided(frames, frames.sum(0)),
        "frequency_decidedness": decided(bins, bins.sum(0)),
        "time_changes": (np.abs(np.diff(share, axis=2)).mean(0) * weight[:, 1:]).sum(),
        "frequency_changes": (np.abs(np.diff(share, axis=1)).mean(0) * weight[1:]).sum(),
        "sparsity": spread(x) - np.mean([spread(each) for each in s]),
        "mixture_sparsity": -spread(x),
        "mixture_centroid": (np.linspace(0, 1, 129) @ weight).sum(),
        "mixture_flatness": np.log(spectrum).mean() - np.log(spectrum.mean()),
        "mixture_time_changes": np.abs(np.diff(x, axis=1)).sum() / x.sum(),
    }
    assert features(mixture, estimates) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_order_gain_polarity_and_other_mixtures_do_not_matter():
    mixture, estimates = noise(2), noise(2, 3, seed=1)
    found = signal_features(mixture, estimates, GEOMETRY)
    for other in (
        signal_features(mixture, estimates[:, [2, 0, 1]], GEOMETRY),
        signal_features(-30 * mixture, -30 * estimates, GEOMETRY),
        torch.cat([signal_features(mixture[b : b + 1], estimates[b : b + 1], GEOMETRY) for b in range(2)]),
    ):
        torch.testing.assert_close(other, found, rtol=1e-5, atol=1e-6)


def test_halves_of_a_mixture_are_undecided_and_what_takes_turns_is_decided():
    whole = noise()
    halves = features(whole, torch.stack([whole / 2, whole / 2]))
    same = {"decidedness": 0, "similarity": 1, "correlation": 1, "level_spread_db": 0, "time_changes": 0, "sparsity": 0}
    assert {name: halves[name] for name in same} == pytest.approx(same, abs=1e-5)
    first = whole * (torch.arange(SAMPLES) < SAMPLES // 2)
    turns = features(whole, torch.stack([first, whole - first]))
    assert turns["decidedness"] > 0.95 and turns["time_decidedness"] > 0.95 and turns["similarity"] < 0.05
    assert turns["frequency_decidedness"] < 0.3 and turns["residual_db"] == -60


@pytest.mark.parametrize("estimates", [torch.zeros(2, SAMPLES), torch.stack([torch.zeros(SAMPLES), noise()])])
@pytest.mark.parametrize("mixture", [torch.zeros(SAMPLES), noise(seed=2)])
def test_silence_has_finite_features(mixture, estimates):
    assert np.isfinite(list(features(mixture, estimates).values())).all()
