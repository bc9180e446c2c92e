"""Reference separators: masks from the truth, checked where the right answer is known."""

from typing import get_args

import numpy as np
import pytest
import torch

from lightning_modules.batch import Batch
from lightning_modules.spectrogram import Geometry, istft, stft
from lightning_modules.weak_labels.references import Method, ReferenceSeparator

GEOMETRY = Geometry(8000, 64, 16)
SAMPLES = 800
FRAMES = GEOMETRY.frames(SAMPLES)
CLASSES = ["horn", "dog", "siren"]


def reference(method: str) -> ReferenceSeparator:
    return ReferenceSeparator(method, CLASSES, 8000, 64, 16)  # type: ignore[arg-type]


def batch_of(sources: torch.Tensor, labels: torch.Tensor) -> Batch:
    return Batch(sources.sum(1), sources, labels, labels.amax(-1), torch.arange(len(sources)))


@pytest.fixture
def random_scene() -> Batch:
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(2, 3, FRAMES, generator=generator) < 0.5).float()
    labels[:, :, 10:14] = 0
    return batch_of(torch.randn(2, 3, SAMPLES, generator=generator), labels)


def test_gate_shares_every_frame_equally_among_the_classes_truly_active_in_it(random_scene):
    spectrum = stft(random_scene.mixture, GEOMETRY).numpy()
    labels = random_scene.frame_labels.numpy()
    expected = spectrum[:, None] * (labels / np.maximum(labels.sum(1, keepdims=True), 1))[:, :, None]
    estimates = reference("oracle_activity_mask").test_step(random_scene, 0)
    torch.testing.assert_close(estimates, istft(torch.from_numpy(expected), GEOMETRY, SAMPLES))


def test_ideal_ratio_mask_is_the_sources_share_of_the_summed_magnitudes(random_scene):
    magnitudes = np.abs(stft(random_scene.sources, GEOMETRY).numpy())
    masks = magnitudes / magnitudes.sum(1, keepdims=True)
    spectrum = stft(random_scene.mixture, GEOMETRY).numpy()
    estimates = reference("ideal_ratio_mask").test_step(random_scene, 0)
    expected = istft(torch.from_numpy(masks * spectrum[:, None]), GEOMETRY, SAMPLES)
    torch.testing.assert_close(estimates, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(estimates.sum(1), random_scene.mixture, atol=1e-4, rtol=0)


def test_a_reference_gives_sounds_of_no_class_their_share_and_no_estimate(random_scene):
    batch = random_scene._replace(frame_labels=random_scene.frame_labels[:, :2], clip_labels=torch.ones(2, 2))
    for method in get_args(Method)[1:]:
        known = ReferenceSeparator(method, CLASSES[:2], 8000, 64, 16).test_step(batch, 0)
        assert torch.equal(known, reference(method).test_step(random_scene, 0)[:, :2])


def test_labels_of_a_hierarchys_parents_take_no_share(random_scene):
    parents = random_scene.frame_labels[:, :2].amax(1, keepdim=True)
    batch = random_scene._replace(frame_labels=torch.cat((random_scene.frame_labels, parents), 1))
    for method in get_args(Method):
        assert torch.equal(reference(method).test_step(batch, 0), reference(method).test_step(random_scene, 0))


def test_the_oracles_of_masks_are_the_sources_over_the_mixture_within_what_each_kind_of_mask_can_be(random_scene):
    spectrum = stft(random_scene.mixture, GEOMETRY).numpy()[:, None]
    ratio = stft(random_scene.sources, GEOMETRY).numpy() / spectrum
    real = ratio.real.clip(0, 1)
    expected = {
        "ideal_amplitude_mask": np.abs(ratio).clip(0, 1),
        "ideal_phase_sensitive_mask": real,
        "ideal_complex_mask": real + 1j * ratio.imag.clip(-1, 1),
    }
    errors = []
    for method, masks in expected.items():
        estimates = reference(method).test_step(random_scene, 0)
        masked = torch.from_numpy((masks * spectrum).astype(np.complex64))
        torch.testing.assert_close(estimates, istft(masked, GEOMETRY, SAMPLES), atol=1e-5, rtol=0)
        errors.append(float((estimates - random_scene.sources).square().mean()))
    assert errors[0] > 1.2 * errors[1] > 2 * errors[2]


def test_ideal_ratio_mask_separates_what_does_not_overlap_even_when_it_is_quiet():
    time = torch.arange(SAMPLES)
    sources = torch.zeros(1, 3, SAMPLES)
    sources[0, 0] = 1e-4 * torch.sin(2 * torch.pi * 4 / 64 * time)
    sources[0, 1] = 1e-4 * torch.sin(2 * torch.pi * 20 / 64 * time)
    estimates = reference("ideal_ratio_mask").test_step(batch_of(sources, torch.ones(1, 3, FRAMES)), 0)
    middle = slice(64, -64)  # at the ends a sinusoid is cut and spreads over all bins
    torch.testing.assert_close(estimates[..., middle], sources[..., middle], atol=2e-6, rtol=0)


def test_silence_separates_into_silence():
    for method in get_args(Method):
        estimates = reference(method).test_step(batch_of(torch.zeros(1, 3, SAMPLES), torch.zeros(1, 3, FRAMES)), 0)
        assert estimates.shape == (1, 3, SAMPLES) and torch.count_nonzero(estimates) == 0
