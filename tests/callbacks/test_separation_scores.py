"""SI-SDR against its formula in numpy's float64, and which sources get a score."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch

from callbacks.separation_scores import LeftOut, in_best_order, is_silent, score_separation, si_sdr

CLASSES = ["car_horn", "dog_bark", "siren"]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def formula(estimate: torch.Tensor, target: torch.Tensor) -> float:
    """Le Roux et al. 2019, "SDR - half-baked or well done?", eq. 4, after removing the means."""
    e, s = (x.double().numpy() - x.double().numpy().mean() for x in (estimate, target))
    projection = (e @ s) / (s @ s) * s
    return 10 * math.log10(np.sum(projection**2) / np.sum((e - projection) ** 2))


def test_si_sdr_is_its_formula_with_means_removed():
    target, error = noise(3, 4000) + 0.5, noise(3, 4000, seed=1)
    for factor in (1e-3, 0.1, 1.0, 10.0):
        estimate = 0.3 * target + factor * error - 2.0
        expected = [formula(e, t) for e, t in zip(estimate, target, strict=True)]
        np.testing.assert_allclose(si_sdr(estimate, target).numpy(), expected, atol=1e-6)


def test_quiet_float32_signals_score_like_loud_ones():
    target = noise(4000)
    estimate = target + 1e-2 * noise(4000, seed=1)
    quiet = 2.0**-13  # a power of two scales float32 numbers without rounding them
    # The error's energy, 6e-9, is far below float32's epsilon, which scoring in float32 would add to it.
    assert si_sdr(quiet * estimate, quiet * target).item() == pytest.approx(si_sdr(estimate, target).item(), abs=1e-4)


def test_scores_are_float64_whatever_comes_in():
    assert si_sdr(noise(2, 3, 100), noise(2, 3, 100, seed=1)).dtype == torch.float64
    assert si_sdr(noise(100).half(), noise(100, seed=1)).shape == ()


def test_a_constant_signal_is_silent_and_no_other():
    quiet = torch.zeros(50)
    quiet[20] = 1e-30
    signals = torch.stack([torch.zeros(50), torch.full((50,), 0.25), quiet, noise(50)])
    assert is_silent(signals).tolist() == [True, True, False, False]


def scene(present: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mixtures [B, T], sources and estimates [B, C, T], labels [B, C]."""
    labels = torch.tensor(present, dtype=torch.float32)
    sources = noise(*labels.shape, 500) * labels.unsqueeze(-1)
    return sources.sum(1), sources, sources + 0.1 * noise(*labels.shape, 500, seed=1), labels


def test_every_present_class_of_every_mixture_has_a_row_in_the_order_of_mixtures_then_classes():
    mixture, sources, estimates, labels = scene([[1, 0, 1], [1, 1, 1], [0, 1, 1]])
    rows = score_separation(mixture, sources, estimates, labels, torch.tensor([7, 3, 30]), CLASSES)
    assert [(row.mixture, row.label) for row in rows] == [
        (7, "car_horn"), (7, "siren"), (3, "car_horn"), (3, "dog_bark"), (3, "siren"), (30, "dog_bark"), (30, "siren"),
    ]  # fmt: skip
    places = {7: 0, 3: 1, 30: 2}
    for row in rows:
        b, c = places[row.mixture], CLASSES.index(row.label)
        assert row.left_out is LeftOut.NO
        assert row.input_si_sdr == pytest.approx(formula(mixture[b], sources[b, c]), abs=1e-9)
        assert row.si_sdr == pytest.approx(formula(estimates[b, c], sources[b, c]), abs=1e-9)


def test_what_has_no_score_is_left_out_with_its_reason_and_counted_as_a_row():
    mixture, sources, estimates, labels = scene([[0, 1, 0], [1, 1, 0], [1, 1, 1]])
    sources[1, 0] = 0  # labelled, yet no sample of it
    estimates[2, 2] = 0  # a mask that closed
    rows = score_separation(mixture, sources, estimates, labels, torch.arange(3), CLASSES)
    assert [(row.mixture, row.label, row.left_out) for row in rows] == [
        (0, "dog_bark", LeftOut.SINGLE_CLASS),
        (1, "car_horn", LeftOut.SILENT_SOURCE),
        (1, "dog_bark", LeftOut.NO),
        (2, "car_horn", LeftOut.NO),
        (2, "dog_bark", LeftOut.NO),
        (2, "siren", LeftOut.SILENT_ESTIMATE),
    ]
    for row in rows:
        numbers = [row.input_si_sdr, row.si_sdr]
        if row.left_out is LeftOut.SILENT_ESTIMATE:
            assert math.isnan(row.si_sdr) and row.input_si_sdr == pytest.approx(formula(mixture[2], sources[2, 2]))
        else:
            assert all(map(math.isfinite, numbers)) if row.left_out is LeftOut.NO else all(map(math.isnan, numbers))


def test_a_batch_of_single_class_mixtures_has_rows_without_scores():
    rows = score_separation(*scene([[1, 0, 0], [0, 0, 1]]), torch.tensor([4, 5]), CLASSES)
    assert [row.left_out for row in rows] == [LeftOut.SINGLE_CLASS] * 2


def test_a_mixture_without_any_class_has_no_row():
    assert score_separation(*scene([[0, 0, 0]]), torch.tensor([0]), CLASSES) == []


def test_the_unprocessed_mixture_improves_nothing():
    mixture, sources, _, labels = scene([[1, 1, 1]])
    rows = score_separation(
        mixture, sources, mixture.unsqueeze(1).expand_as(sources), labels, torch.tensor([0]), CLASSES
    )
    assert [row.si_sdr - row.input_si_sdr for row in rows] == [0.0] * 3


def test_an_estimate_that_is_its_source_but_for_rounding_is_left_out_and_one_at_90_db_is_not():
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(1, 2, 4000, generator=generator)
    noise = torch.randn(1, 2, 4000, generator=generator)
    mixture, present, indices = sources.sum(1), torch.ones(1, 2), torch.tensor([0])
    for level, reason in ((1e-7, LeftOut.EXACT_ESTIMATE), (10 ** (-90 / 20), LeftOut.NO)):
        rows = score_separation(mixture, sources, sources + level * noise, present, indices, ["a", "b"])
        assert [row.left_out for row in rows] == [reason] * 2


def test_the_mixtures_own_si_sdr_is_defined_for_estimates_that_are_silent_or_exact():
    mixture, sources, estimates, labels = scene([[1, 1, 1], [1, 1, 1]])
    estimates[0, 1], estimates[1, 0], estimates[1, 2] = 0.25, sources[1, 0], 0
    rows = score_separation(mixture, sources, estimates, labels, torch.arange(2), CLASSES)
    reasons = [LeftOut.NO, LeftOut.SILENT_ESTIMATE, LeftOut.NO, LeftOut.EXACT_ESTIMATE, LeftOut.NO]
    assert [row.left_out for row in rows] == [*reasons, LeftOut.SILENT_ESTIMATE]
    for number, row in enumerate(rows):
        b, c = divmod(number, 3)
        assert row.input_si_sdr == pytest.approx(formula(mixture[b], sources[b, c]), abs=1e-9)
        assert math.isfinite(row.si_sdr) == (row.left_out is LeftOut.NO)


def in_order_by_brute_force(estimates: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """Of all orders the one of highest mean SI-SDR."""
    best = []
    for e, s in zip(estimates, sources, strict=True):
        orders = [list(order) for order in permutations(range(len(s)))]
        means = [np.mean([formula(e[o], s[q]) for q, o in enumerate(order)]) for order in orders]
        best.append(e[orders[int(np.argmax(means))]])
    return torch.stack(best)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_best_order_is_that_of_highest_mean_si_sdr_among_all(count):
    sources = noise(8, count, 400)
    # From sources told apart to hardly any likeness; every mixture's in an order of its own.
    leak = torch.linspace(0.1, 3, 8).view(8, 1, 1)
    estimates = sources.roll(1, 1) + leak * noise(8, count, 400, seed=1)
    generator = torch.Generator().manual_seed(2)
    estimates = torch.stack([e[torch.randperm(count, generator=generator)] for e in estimates])
    found = in_best_order(estimates, sources)
    assert torch.equal(found, in_order_by_brute_force(estimates, sources))
    assert torch.equal(in_best_order(estimates.flip(1), sources), found)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_sources_that_are_all_told_apart_come_back_in_their_order_at_any_level(count):
    sources = noise(1, count, 400)
    levels = torch.logspace(-6, 2, count).view(1, count, 1)
    for order in permutations(range(count)):
        estimates = levels * (sources + 0.1 * noise(1, count, 400, seed=1))
        assert torch.equal(in_best_order(estimates[:, list(order)], sources), estimates)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_silent_and_exact_estimates_leave_the_others_in_their_order(count):
    sources = noise(1, count, 400)
    for value in (torch.zeros(400), sources[0, 0]):
        estimates = sources + 0.1 * noise(1, count, 400, seed=1)
        estimates[0, 0] = value
        assert torch.equal(in_best_order(estimates.flip(1), sources), estimates)
