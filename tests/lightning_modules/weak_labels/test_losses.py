"""Every loss against loops over the paper's equations in float64, gradients included."""

import cmath
from collections.abc import Callable
from itertools import permutations, product

import pytest
import torch
from torch import Tensor

from lightning_modules.weak_labels.losses import (
    classification_loss,
    estimate_classification_loss,
    loud_frames,
    mixture_loss,
    prior_weight,
    truncated_magnitude_loss,
    truncated_source_loss,
    truncated_sources,
)

B, C, F, T = 3, 4, 5, 6


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def random_activity(generator: torch.Generator) -> Tensor:
    activity = (uniform(generator, B, C, T) < 0.5).double()
    activity[0, :, 0] = 0  # a frame without any class
    activity[1, :, 1] = 1  # one with all
    return activity


def assert_same_with_gradients(actual: Tensor, expected: Tensor, inputs: Tensor) -> None:
    torch.testing.assert_close(actual, expected)
    # Different factors for each mixture: a loss that mixed them up would show.
    factors = torch.arange(1, len(actual) + 1, dtype=actual.dtype)
    (gradient,) = torch.autograd.grad((factors * actual).sum(), inputs)
    (reference,) = torch.autograd.grad((factors * expected).sum(), inputs)
    torch.testing.assert_close(gradient, reference)


def cross_entropy(target: Tensor, probability: Tensor) -> Tensor:
    """H(l, p), as written."""
    return -target * probability.log() - (1 - target) * (1 - probability).log()


def test_prior_weight_is_one_over_the_share_of_frames_of_the_same_kind(generator):
    activity, prior = random_activity(generator), uniform(generator, C) * 0.8 + 0.1
    weight = prior_weight(activity, prior)
    prior = prior.unsqueeze(-1)
    torch.testing.assert_close(weight, 1 / torch.where(activity == 1, prior, 1 - prior))


def test_classification_loss_is_the_weighted_cross_entropy_of_every_frame_and_class(generator):
    activity = random_activity(generator)
    weight = prior_weight(activity, uniform(generator, C) * 0.8 + 0.1)
    logits = (4 * uniform(generator, B, C, T) - 2).requires_grad_()
    expected = torch.stack(
        [
            sum(
                weight[b, i, t] * cross_entropy(activity[b, i, t], logits[b, i, t].sigmoid())
                for i in range(C)
                for t in range(T)
            )
            / T
            for b in range(B)
        ]
    )
    assert_same_with_gradients(classification_loss(logits, activity, weight), expected, logits)


def test_estimate_classification_loss_wants_class_i_and_no_other_in_estimate_i(generator):
    activity = random_activity(generator)
    weight = prior_weight(activity, uniform(generator, C) * 0.8 + 0.1)
    logits = (4 * uniform(generator, B, C, C, T) - 2).requires_grad_()
    zero = torch.zeros((), dtype=torch.float64)
    losses = []
    for b in range(B):
        loss = zero
        for i in range(C):
            for t in range(T):
                p = logits[b, i, :, t].sigmoid()
                loss = loss + weight[b, i, t] * cross_entropy(activity[b, i, t], p[i])
                for j in range(C):
                    if j != i:
                        loss = loss + weight[b, j, t] * cross_entropy(zero, p[j])
        losses.append(loss / T)
    assert_same_with_gradients(estimate_classification_loss(logits, activity, weight), torch.stack(losses), logits)


def test_a_residual_among_the_estimates_is_to_hold_no_class(generator):
    activity = random_activity(generator)
    weight = prior_weight(activity, uniform(generator, C) * 0.8 + 0.1)
    logits = (4 * uniform(generator, B, C + 1, C, T) - 2).requires_grad_()
    draws = torch.arange(C + 1).view(-1, 1, 1).expand(-1, B, 1)
    of_draws = [
        estimate_classification_loss(logits.take_along_dim(draw[..., None, None], 1), activity, weight, draw, True)
        for draw in draws
    ]
    whole = estimate_classification_loss(logits, activity, weight, residual=True)
    for found in (whole, torch.stack(of_draws).mean(0)):
        nothing = classification_loss(logits[:, C], torch.zeros_like(activity), weight)
        expected = estimate_classification_loss(logits[:, :C], activity, weight) + nothing
        assert_same_with_gradients(found, expected, logits)


def test_the_loss_of_drawn_estimates_is_that_of_all_in_the_mean_over_draws(generator):
    activity = random_activity(generator)
    weight = prior_weight(activity, uniform(generator, C) * 0.8 + 0.1)
    logits = (4 * uniform(generator, B, C, C, T) - 2).requires_grad_()
    for count in (1, 2, 3):
        draws = [torch.tensor(draw).expand(B, -1) for draw in permutations(range(C), count)]
        losses = [
            estimate_classification_loss(logits.take_along_dim(draw[..., None, None], 1), activity, weight, draw)
            for draw in draws
        ]
        expected = estimate_classification_loss(logits, activity, weight)
        assert_same_with_gradients(torch.stack(losses).mean(0), expected, logits)


def test_loud_frames_reach_the_threshold_of_the_mixtures_own_loudest_frame(generator):
    mixture = uniform(generator, B, F, T) * torch.tensor([1.0, 0.005, 0.02, 0.5, 0.0, 0.009], dtype=torch.float64)
    mixture[1] *= 1000
    for threshold in (0.01, 0.3):
        kept = loud_frames(mixture, threshold)
        for b in range(B):
            loudest = max(mixture[b, :, t].sum() for t in range(T))
            assert kept[b].tolist() == [float(mixture[b, :, t].sum() >= threshold * loudest) for t in range(T)]
    assert loud_frames(torch.zeros(2, F, T)).tolist() == [[1.0] * T] * 2


@pytest.mark.parametrize("kind", ["real", "complex", "residual"])
def test_mixture_loss_explains_the_mixture_by_the_active_and_silences_the_others(kind, generator):
    mixture, activity = uniform(generator, B, F, T), random_activity(generator)
    price = 0.3 * (kind == "residual")  # of the estimate behind those of the classes, which counts as active
    estimates = uniform(generator, B, C + bool(price), F, T)
    if kind == "complex":
        estimates = torch.polar(estimates, 7 * uniform(generator, B, C, F, T))
    estimates.requires_grad_()
    kept = torch.tensor([[1, 0, 1, 1, 0, 1], [1] * T, [0, 0, 0, 0, 0, 1]], dtype=torch.float64)
    losses = []
    for b in range(B):
        loss, frames = torch.zeros((), dtype=torch.float64), 0
        for t in range(T):
            if kept[b, t] == 0:
                continue
            frames += 1
            active = [i for i in range(C) if activity[b, i, t] == 1] + [C] * bool(price)
            for f in range(F):
                explained = sum((estimates[b, i, f, t] for i in active), torch.zeros((), dtype=torch.float64))
                loss = loss + (mixture[b, f, t] - explained).abs() + price * estimates[b, -1, f, t].abs()
                loss = loss + sum(estimates[b, i, f, t].abs() for i in range(C) if i not in active)
        losses.append(loss / frames)
    assert_same_with_gradients(mixture_loss(mixture, estimates, activity, kept, price), torch.stack(losses), estimates)


def test_of_shares_of_the_mixture_the_loss_with_a_residual_at_full_price_is_that_without(generator):
    mixture, activity = uniform(generator, B, F, T), random_activity(generator)
    shares = uniform(generator, B, C + 1, F, T).softmax(1) * mixture.unsqueeze(1)
    kept = torch.ones(B, T, dtype=torch.float64)
    published = mixture_loss(mixture, shares[:, :C], activity, kept)
    torch.testing.assert_close(mixture_loss(mixture, shares, activity, kept, residual_weight=1.0), published)


def test_truncated_magnitude_loss_compares_with_the_source_but_never_asks_for_more_than_the_mixture(generator):
    mixture, sources = uniform(generator, B, F, T), 2 * uniform(generator, B, C, F, T)
    weight = prior_weight(random_activity(generator), uniform(generator, C) * 0.8 + 0.1)
    masks = uniform(generator, B, C, F, T).requires_grad_()
    kept = torch.tensor([[1, 0, 1, 1, 0, 1], [1] * T, [0, 0, 0, 0, 0, 1]], dtype=torch.float64)
    losses = []
    for b in range(B):
        loss = torch.zeros((), dtype=torch.float64)
        frames = [t for t in range(T) if kept[b, t] == 1]
        for i in range(C):
            for t in frames:
                for f in range(F):
                    x = mixture[b, f, t]
                    loss = loss + (weight[b, i, t] * (min(x, sources[b, i, f, t]) - masks[b, i, f, t] * x)).abs()
        losses.append(loss / len(frames))
    assert_same_with_gradients(
        truncated_magnitude_loss(mixture, sources, masks, weight, kept), torch.stack(losses), masks
    )


def spectra(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.polar(uniform(generator, *shape), 7 * uniform(generator, *shape))


@pytest.mark.parametrize("kind", ["magnitude", "phase_sensitive", "complex"])
def test_truncated_sources_are_as_near_to_the_source_as_masks_of_their_kind_come(kind, generator):
    mixture, sources = spectra(generator, B, F, T), 2 * spectra(generator, B, C, F, T)
    mixture[0, 0, 0] = 0
    found = truncated_sources(kind, mixture, sources)
    assert not found[0, :, 0, 0].any()
    cut = 0
    for b, i, f, t in product(range(B), range(C), range(F), range(T)):
        (x, theta), (s, phase) = (cmath.polar(complex(each[f, t])) for each in (mixture[b], sources[b, i]))
        level = s * cmath.exp(1j * (phase - theta))
        if kind == "magnitude":
            expected = complex(min(x, s))
        else:
            expected = complex(min(max(level.real, 0), x), 0)
            expected += 1j * min(max(level.imag, -x), x) * (kind == "complex")
            cut += expected.real != level.real
        assert complex(found[b, i, f, t]) == pytest.approx(expected)
    assert kind == "magnitude" or cut > 50


def test_truncated_source_loss_is_the_weighted_distance_in_the_complex_plane(generator):
    mixture, sources = uniform(generator, B, F, T), spectra(generator, B, C, F, T)
    weight, kept = uniform(generator, B, C, T), torch.ones(B, T, dtype=torch.float64)
    masks = spectra(generator, B, C, F, T).requires_grad_()
    error = sources - masks * mixture.unsqueeze(1)
    distance = (error.real**2 + error.imag**2).sqrt() * weight.unsqueeze(2)
    expected = torch.stack([sum(distance[b, i, f].sum() for i, f in product(range(C), range(F))) / T for b in range(B)])
    assert_same_with_gradients(truncated_source_loss(mixture, sources, masks, weight, kept), expected, masks)


def every_loss(generator: torch.Generator, dtype: torch.dtype, mixture: Tensor) -> dict[str, Callable[..., Tensor]]:
    """Each loss, as a function of which mixtures of a random batch to take."""
    activity = random_activity(generator)
    weight = prior_weight(activity, uniform(generator, C) * 0.8 + 0.1).to(dtype)
    activity = activity.to(dtype)
    sources = uniform(generator, B, C, F, T).to(dtype) * mixture.unsqueeze(1)
    masks, logits = uniform(generator, B, C, F, T).to(dtype), uniform(generator, B, C, C, T).to(dtype)
    kept = loud_frames(mixture)
    estimates = masks * mixture.unsqueeze(1)
    return {
        "classification": lambda b: classification_loss(logits[b, 0], activity[b], weight[b]),
        "estimates": lambda b: estimate_classification_loss(logits[b], activity[b], weight[b]),
        "mixture": lambda b: mixture_loss(mixture[b], estimates[b], activity[b], kept[b]),
        "strong": lambda b: truncated_magnitude_loss(mixture[b], sources[b], masks[b], weight[b], kept[b]),
    }


def test_a_silent_mixture_has_no_spectral_loss_and_finite_gradients(generator):
    mixture = torch.zeros(B, F, T)
    masks = uniform(generator, B, C, F, T).float().requires_grad_()
    activity, kept = random_activity(generator).float(), loud_frames(mixture)
    weight = prior_weight(activity, torch.full((C,), 0.3))
    sources = torch.zeros(B, C, F, T)
    for loss in (
        mixture_loss(mixture, masks * mixture.unsqueeze(1), activity, kept),
        truncated_magnitude_loss(mixture, sources, masks, weight, kept),
    ):
        assert loss.tolist() == [0.0] * B
        (gradient,) = torch.autograd.grad(loss.sum(), masks)
        assert torch.count_nonzero(gradient) == 0 and gradient.isfinite().all()


def test_extreme_logits_cost_their_own_size_and_keep_a_gradient(generator):
    logits = torch.tensor([[[1e4, -1e4, 1e4, -1e4]]], requires_grad=True)
    activity = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])  # wrong, wrong, right, right
    loss = classification_loss(logits, activity, torch.ones_like(activity))
    assert loss.item() == 2e4 / 4
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient.tolist() == [[[0.25, -0.25, 0.0, 0.0]]]
    estimate_loss = estimate_classification_loss(logits.unsqueeze(1), activity, torch.ones_like(activity))
    torch.testing.assert_close(estimate_loss, loss)  # of a single class: the same equation


def test_losses_of_float32_agree_with_float64_at_the_magnitudes_of_real_mixtures(generator):
    mixture = 1e-4 * uniform(generator, B, F, T)  # of a mixture at -25 LUFS, most bins
    activity = random_activity(generator)
    weight = prior_weight(activity, uniform(generator, C) * 0.8 + 0.1)
    masks, sources = uniform(generator, B, C, F, T), uniform(generator, B, C, F, T) * mixture.unsqueeze(1)
    logits, kept, estimates = uniform(generator, B, C, C, T), loud_frames(mixture), masks * mixture.unsqueeze(1)
    for loss, *given in (
        (classification_loss, logits[:, 0], activity, weight),
        (estimate_classification_loss, logits, activity, weight),
        (mixture_loss, mixture, estimates, activity, kept),
        (truncated_magnitude_loss, mixture, sources, masks, weight, kept),
    ):
        single = loss(*(each.float() for each in given))
        torch.testing.assert_close(single.double(), loss(*given), rtol=1e-5, atol=0)
