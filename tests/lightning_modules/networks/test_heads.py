"""Masks and embeddings: which output stands for which class, bin and dimension, in either form of a network."""

from itertools import product

import pytest
import torch

from lightning_modules.deep_clustering.unit_sigmoid import plain_sigmoid, unit_sigmoid
from lightning_modules.networks.heads import (
    class_masks,
    embeddings,
    mask_maps,
    of_two_heads,
    source_masks,
    unit_masks,
)

B, CLASSES, BINS, FRAMES, D = 2, 3, 5, 7, 4


def outputs(number: int) -> torch.Tensor:
    return torch.randn(B, number, FRAMES, generator=torch.Generator().manual_seed(0))


def test_the_mask_of_class_c_at_bin_f_is_the_sigmoid_of_output_number_c_times_bins_plus_f():
    logits = outputs(CLASSES * BINS)
    masks = class_masks(logits, CLASSES)
    assert masks.shape == (B, CLASSES, BINS, FRAMES)
    for c, f in product(range(CLASSES), range(BINS)):
        torch.testing.assert_close(masks[:, c, f], logits[:, c * BINS + f].sigmoid())


def test_softmax_masks_share_a_bin_with_a_residual_which_is_dropped():
    logits = outputs((CLASSES + 1) * BINS)
    masks = class_masks(logits, CLASSES, "softmax")
    assert masks.shape == (B, CLASSES, BINS, FRAMES)
    for f in range(BINS):
        weights = [logits[:, m * BINS + f].exp() for m in range(CLASSES + 1)]
        for c in range(CLASSES):
            torch.testing.assert_close(masks[:, c, f], weights[c] / sum(weights))
    maps = logits.unflatten(1, (CLASSES + 1, BINS))
    assert torch.equal(class_masks(maps, CLASSES, "softmax"), masks)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_complex_masks_are_those_masks_and_imaginary_parts_from_the_maps_after_them(activation):
    real = CLASSES + (activation == "softmax")
    assert mask_maps(CLASSES, activation, "complex") == real + CLASSES
    maps = 3 * outputs((real + CLASSES) * BINS).unflatten(1, (-1, BINS))
    masks = class_masks(maps.flatten(1, 2), CLASSES, activation, "complex")
    assert torch.equal(masks.real, class_masks(maps[:, :real], CLASSES, activation, "phase_sensitive"))
    torch.testing.assert_close(masks.imag, maps[:, real:].tanh())


def test_the_vector_of_frame_t_and_bin_f_is_number_t_times_bins_plus_f_made_of_outputs_from_f_times_d_on():
    logits = outputs(BINS * D)
    for activation in (unit_sigmoid, plain_sigmoid):
        made = embeddings(logits, D, activation)
        assert made.shape == (B, FRAMES * BINS, D)
        for t, f in product(range(FRAMES), range(BINS)):
            vector = logits[:, f * D : (f + 1) * D, t].sigmoid()
            expected = vector / vector.norm(dim=-1, keepdim=True) if activation is unit_sigmoid else vector
            torch.testing.assert_close(made[:, t * BINS + f], expected)


def test_masks_of_sources_share_each_bin_and_their_unit_vectors_lie_like_embeddings():
    logits = outputs(CLASSES * BINS)
    masks = source_masks(logits, CLASSES)
    weights = logits.unflatten(1, (CLASSES, BINS)).exp()
    torch.testing.assert_close(masks, weights / weights.sum(1, keepdim=True))
    vectors = unit_masks(masks)
    for t, f in product(range(FRAMES), range(BINS)):
        expected = masks[:, :, f, t] / masks[:, :, f, t].norm(dim=-1, keepdim=True)
        torch.testing.assert_close(vectors[:, t * BINS + f], expected)


def test_the_outputs_of_two_heads_come_one_after_the_other():
    first, second = outputs(D * BINS), outputs(CLASSES * BINS)
    joined = torch.cat([first, second], 1)
    for found, expected in zip(of_two_heads(joined, D, CLASSES), (first, second), strict=True):
        assert torch.equal(found, expected)
    maps = joined.unflatten(1, (D + CLASSES, BINS))
    assert [part.shape[1] for part in of_two_heads(maps, D, CLASSES)] == [D, CLASSES]
    assert torch.equal(source_masks(of_two_heads(maps, D, CLASSES)[1], CLASSES), source_masks(second, CLASSES))


def test_maps_mean_the_same_as_numbers_in_a_row():
    maps = outputs(CLASSES * BINS).unflatten(1, (CLASSES, BINS))
    assert torch.equal(class_masks(maps, CLASSES), class_masks(maps.flatten(1, 2), CLASSES))
    # Of embeddings the dimensions of a bin lie side by side, where maps lie one after the other.
    row = maps.transpose(1, 2).flatten(1, 2)
    assert torch.equal(embeddings(maps, CLASSES, unit_sigmoid), embeddings(row, CLASSES, unit_sigmoid))


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_masks_and_unit_vectors_are_float32_of_outputs_in_reduced_precision(precision):
    logits = outputs(CLASSES * BINS)
    masks, vectors = class_masks(logits.to(precision), CLASSES), embeddings(logits.to(precision), CLASSES, unit_sigmoid)
    assert masks.dtype == vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.square().sum(-1), torch.ones(B, FRAMES * BINS))
    torch.testing.assert_close(masks, class_masks(logits, CLASSES), atol=0.01, rtol=0)
