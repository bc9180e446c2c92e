"""The spectrogram against numpy's Fourier transform of explicitly cut frames, and frame numbers against counting."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.errors import InputError
from lightning_modules.spectrogram import Geometry, istft, log_magnitude, stft

PAPER = Geometry()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spectrum_of_frames(signal: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Every frame cut from the zero-padded signal by hand, in float64."""
    shape = np.array([math.sqrt(0.5 - 0.5 * math.cos(2 * math.pi * n / window)) for n in range(window)])
    padded = np.concatenate([np.zeros(window // 2), signal.astype(np.float64), np.zeros(window // 2)])
    frames = [padded[start : start + window] for start in range(0, len(padded) - window + 1, hop)]
    return np.stack([np.fft.rfft(frame * shape) / shape.sum() for frame in frames], axis=1)


@pytest.mark.parametrize(("window", "hop", "samples"), [(512, 128, 3000), (256, 128, 2049), (48, 20, 500), (4, 1, 9)])
def test_spectrum_is_the_fourier_transform_of_windowed_zero_padded_frames(window, hop, samples):
    geometry = Geometry(8000, window, hop)
    signal = noise(samples)
    expected = spectrum_of_frames(signal.numpy(), window, hop)
    spectrum = stft(signal, geometry)
    assert spectrum.shape == expected.shape == (geometry.bins, geometry.frames(samples))
    np.testing.assert_allclose(spectrum.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("samples", [64_000, 5_127, 300])
def test_inverse_gives_the_signal_back_to_its_last_sample(samples):
    signal = noise(2, samples)
    torch.testing.assert_close(istft(stft(signal, PAPER), PAPER, samples), signal, atol=2e-5, rtol=0)
    coarse, signal = Geometry(16_000, window=4096, hop=2048), noise(8191)  # only a window's tail covers its end
    torch.testing.assert_close(istft(stft(signal, coarse), coarse, 8191)[:-20], signal[:-20], atol=2e-5, rtol=0)


@pytest.mark.parametrize("shape", [(700,), (2, 1, 3, 700)])
def test_leading_axes_are_kept_and_every_signal_is_transformed_by_itself(shape):
    signals = noise(*shape)
    spectrum = stft(signals, PAPER)
    assert spectrum.shape == (*shape[:-1], 257, 6)
    alone = torch.stack([stft(signal, PAPER) for signal in signals.reshape(-1, 700)])
    torch.testing.assert_close(spectrum.reshape(alone.shape), alone)
    assert istft(spectrum, PAPER, 700).shape == shape


def test_autocast_does_not_round_the_samples():
    signal = noise(2000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        spectrum = stft(signal, PAPER)
    torch.testing.assert_close(spectrum, stft(signal, PAPER), atol=0, rtol=0)


def test_gradients_pass_through_transform_and_inverse_also_after_inference_mode():
    geometry = Geometry(8000, 60, 12)  # used by no other test: its window is made here, inside inference mode
    with torch.inference_mode():
        istft(stft(noise(200), geometry), geometry, 200)
    signal = noise(200).requires_grad_()
    # The inverse of the transform is the identity, and so is its derivative.
    (gradient,) = torch.autograd.grad(istft(stft(signal, geometry), geometry, 200).sum(), signal)
    torch.testing.assert_close(gradient, torch.ones(200), atol=1e-4, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    window=st.integers(1, 12).map(lambda half: 2 * half),
    data=st.data(),
    onset=st.integers(0, 80),
    length=st.integers(0, 60),
)
def test_frames_met_are_those_whose_window_shares_a_sample_with_the_event(window, data, onset, length):
    geometry = Geometry(8000, window, data.draw(st.integers(1, window // 2)))
    event = set(range(onset, onset + length))
    met = [
        frame
        for frame in range(400)
        if event & set(range(frame * geometry.hop - window // 2, frame * geometry.hop + window // 2))
    ]
    assert list(range(*geometry.frames_overlapping(onset, onset + length))) == met


@pytest.mark.parametrize(
    ("setting", "value"), [("sample_rate", 0), ("window", 511), ("window", 0), ("hop", 0), ("hop", 257)]
)
def test_impossible_geometry_is_refused_by_name_in_one_line(setting, value):
    with pytest.raises(InputError, match=f"^{setting}: {value};[^\n]* needed[^\n]*$"):
        Geometry(**{setting: value})


def test_log_magnitude_is_the_natural_logarithm_above_its_floor():
    magnitude = torch.tensor([0.0, 1e-8, 0.5])
    expected = torch.tensor([math.log(1e-8), math.log(2e-8), math.log(0.5 + 1e-8)])
    torch.testing.assert_close(log_magnitude(magnitude), expected)
    assert math.isclose(log_magnitude(torch.zeros(1), 1e-20).item(), math.log(1e-20), rel_tol=1e-6)
