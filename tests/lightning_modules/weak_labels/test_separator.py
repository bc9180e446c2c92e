"""The mask network: shapes, ranges, its input's normalisation, and gradients in silence."""

import pytest
import torch
from lightning_modules.weak_labels.separator import MaskSeparator

BINS, CLASSES = 9, 3


def tiny(**settings) -> MaskSeparator:
    torch.manual_seed(0)
    return MaskSeparator(BINS, CLASSES, **{"units": 4, "layers": 2, **settings})


def magnitudes(frames: int = 11, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, BINS, frames, generator=torch.Generator().manual_seed(1))


def features_of(separator: MaskSeparator, magnitude: torch.Tensor) -> torch.Tensor:
    """What reaches the recurrent layers."""
    seen = []
    with separator.recurrent.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        separator(magnitude)
    return seen[0]


def test_published_separator_is_three_bidirectional_layers_of_600_units():
    separator = MaskSeparator(bins=257, classes=5)
    lstm = separator.recurrent.lstm
    assert (lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.bidirectional) == (257, 600, 3, True)
    assert lstm.dropout == 0
    assert separator.mask.weight.shape == (5 * 257, 1200)


def test_every_class_has_a_mask_between_0_and_1_for_every_bin():
    masks = tiny()(1000 * magnitudes())
    assert masks.shape == (2, CLASSES, BINS, 11)
    assert masks.min() >= 0 and masks.max() <= 1
    assert masks.unique().numel() > 100  # and they are not all the same


def test_mask_of_class_c_at_bin_f_is_output_number_c_times_bins_plus_f():
    separator = tiny()
    with torch.no_grad():
        separator.mask.weight.zero_()
        separator.mask.bias.copy_(torch.arange(CLASSES * BINS) / 10)
    expected = (torch.arange(CLASSES * BINS) / 10).sigmoid().view(CLASSES, BINS, 1).expand(-1, -1, 11)
    torch.testing.assert_close(separator(magnitudes()), expected.expand(2, -1, -1, -1))


def test_input_is_the_log_magnitude_with_its_floor():
    magnitude = magnitudes()
    magnitude[:, :, :3] = 0
    torch.testing.assert_close(features_of(tiny(epsilon=1e-4), magnitude), (magnitude + 1e-4).log())


def test_normalised_input_has_mean_0_and_variance_1_over_each_mixtures_bins():
    quiet_and_loud = magnitudes() * torch.tensor([1e-4, 10.0]).view(2, 1, 1)
    features = features_of(tiny(input_normalisation="mixture"), quiet_and_loud)
    torch.testing.assert_close(features.mean((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std((1, 2)), torch.ones(2))


def test_normalisation_makes_the_masks_independent_of_the_mixtures_level():
    separator = tiny(input_normalisation="mixture", epsilon=1e-20)
    torch.testing.assert_close(separator(magnitudes()), separator(1e-3 * magnitudes()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("normalisation", ["none", "mixture"])
def test_a_silent_mixture_has_finite_masks_and_gradients(normalisation):
    separator = tiny(input_normalisation=normalisation)
    masks = separator(torch.zeros(2, BINS, 11))
    assert masks.isfinite().all()
    gradients = torch.autograd.grad(masks.sum(), list(separator.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_mixtures_masks_do_not_depend_on_the_rest_of_the_batch():
    separator, magnitude = tiny(input_normalisation="mixture"), magnitudes(batch=3)
    alone = torch.cat([separator(magnitude[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(separator(magnitude), alone)


def test_masks_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        masks = tiny()(magnitudes())
    assert masks.dtype == torch.float32 and masks.isfinite().all()
