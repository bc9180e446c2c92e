"""SI-SDR against its formula in numpy's float64 and torchmetrics', and which sources get a score."""

import math
from itertools import permutations, product

import numpy as np
import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from lightning_modules.batch import Batch
from lightning_modules.errors import InputError
from lightning_modules.separation_scores import (
    LeftOut,
    compare,
    defined_scores,
    in_best_order,
    is_silent,
    score_separation,
    si_sdr,
    with_residual,
)

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
    assert si_sdr(noise(100).half(), noise(100, seed=1)).dtype == torch.float64


def separated(level: float, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimates with errors `level` dB below them, [4, 3, T], and the sources, of different levels and means."""
    sources = noise(4, 3, samples) * torch.logspace(-3, 0, 4).view(4, 1, 1) + torch.linspace(-0.1, 0.1, 3).view(1, 3, 1)
    error = noise(4, 3, samples, seed=1).double() * sources.double().std(-1, keepdim=True)
    return sources.double() + 10 ** (-level / 20) * error + 0.01, sources


@pytest.mark.parametrize(("level", "samples"), [(-20, 300), (20, 2048), (60, 64000)])
def test_every_pair_scores_as_torchmetrics_has_it(level, samples):
    estimates, sources = separated(level, samples)
    (found,) = compare(sources, [estimates])
    # As loud as its epsilon of 2·10⁻¹⁶ asks for.
    pairs = (1e6 * estimates.unsqueeze(2), 1e6 * sources.double().unsqueeze(1))
    expected = scale_invariant_signal_distortion_ratio(*torch.broadcast_tensors(*pairs), zero_mean=True)
    torch.testing.assert_close(found.si_sdr, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("level", [60, 100])
def test_what_rounding_leaves_of_a_high_score_is_known(level):
    estimates, sources = separated(level, 64000)
    found = si_sdr(estimates, sources).flatten().tolist()
    for score, e, s in zip(found, estimates.flatten(0, 1), sources.double().flatten(0, 1), strict=True):
        e, s = (np.longdouble(x.numpy()) - np.longdouble(x.numpy()).mean() for x in (e, s))
        projection = (e @ s) / (s @ s) * s
        expected = 10 * np.log10((projection @ projection) / ((e - projection) @ (e - projection)))
        assert abs(score - float(expected)) < 1e-8 * 10 ** ((level - 60) / 10)


def scene(present: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mixtures [B, T], sources and estimates [B, C, T], labels [B, C]."""
    labels = torch.tensor(present, dtype=torch.float32)
    sources = noise(*labels.shape, 500) * labels.unsqueeze(-1)
    return sources.sum(1), sources, sources + 0.1 * noise(*labels.shape, 500, seed=1), labels


def test_every_present_class_of_every_mixture_has_a_row_in_the_order_of_mixtures_then_classes():
    mixture, sources, estimates, labels = scene([[1, 0, 1], [1, 1, 1], [0, 1, 1]])
    rows = score_separation(mixture, sources, estimates, labels, torch.tensor([7, 3, 30]), CLASSES)
    places = [(0, 0), (0, 2), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert [(row.mixture, row.label) for row in rows] == [((7, 3, 30)[b], CLASSES[c]) for b, c in places]
    for row, (b, c) in zip(rows, places, strict=True):
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
        (1, "dog_bark", LeftOut.SINGLE_CLASS),
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


@pytest.mark.parametrize(
    ("level", "audible"), [(0, True), (-59, True), (-61, False), (-130, False), (-math.inf, False)]
)
def test_a_mixture_whose_other_sources_are_inaudible_is_of_a_single_class(level, audible):
    sources = noise(1, 3, 4000) * torch.tensor([1.0, 10 ** (level / 20), 0.0]).view(1, 3, 1)
    mixture, estimates = sources.sum(1), sources + 0.1 * noise(1, 3, 4000, seed=1)
    rows = score_separation(mixture, sources, estimates, torch.tensor([[1, 1, 0]]), torch.arange(1), CLASSES)
    reasons = [LeftOut.NO] * 2 if audible else [LeftOut.SINGLE_CLASS, LeftOut.SILENT_SOURCE]
    assert [row.left_out for row in rows] == reasons
    # Never infinite, nor what rounding makes of it.
    assert all(abs(row.input_si_sdr) < 100 if audible else math.isnan(row.input_si_sdr) for row in rows)


def test_sources_that_cancel_each_other_but_for_one_make_a_mixture_of_a_single_class():
    sources = noise(1, 3, 4000)
    sources[:, 2] = -sources[:, 1]
    rows = score_separation(sources.sum(1), sources, sources + 0.1, torch.ones(1, 3), torch.arange(1), CLASSES)
    assert rows[0].left_out is LeftOut.SINGLE_CLASS and all(abs(row.input_si_sdr) < 100 for row in rows[1:])


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


def test_what_the_estimates_leave_is_scored_against_the_sounds_of_no_class_where_there_are_some():
    mixture, sources, estimates, labels = scene([[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    others = noise(3, 500, seed=2) * torch.tensor([[1.0], [1.0], [0.0]])
    mixture, sources = mixture + others, torch.cat((sources, others.unsqueeze(1)), 1)
    batch = Batch(mixture, sources, labels.unsqueeze(-1), labels, torch.arange(3))
    whole, found, names = with_residual(batch, estimates, CLASSES)
    rows = score_separation(*whole[:2], found, whole.clip_labels, whole.indices, names)
    # A class beside a sound of none is not the whole mixture.
    places = [(0, "car_horn"), (0, "dog_bark"), (0, "residual"), (1, "dog_bark"), (1, "residual"), (2, "dog_bark")]
    assert [(row.mixture, row.label) for row in rows] == places
    assert [row.left_out for row in rows] == [LeftOut.NO] * 5 + [LeftOut.SINGLE_CLASS]
    for b, row in ((0, rows[2]), (1, rows[4])):
        assert row.input_si_sdr == pytest.approx(formula(mixture[b], others[b]), abs=1e-9)
        assert row.si_sdr == pytest.approx(formula(mixture[b] - estimates[b].sum(0), others[b]), abs=1e-5)
    of_classes = [row.si_sdr for row in rows[:5] if row.label != "residual"]
    assert defined_scores(batch, estimates)[:, 0].tolist() == pytest.approx(of_classes)
    plain = batch._replace(sources=sources[:, :3])
    assert with_residual(plain, estimates, CLASSES) == (plain, estimates, CLASSES)


@pytest.mark.parametrize(("level", "exact"), [(-99.999, False), (-100.001, True)])
def test_an_estimate_is_exact_from_an_error_of_100_db_below_its_source_on_whatever_their_means(level, exact):
    source, error = noise(1, 1, 64000).double() + 0.5, noise(1, 1, 64000, seed=1).double() + 3
    error *= (source.square().sum() / error.square().sum()).sqrt() * 10 ** (level / 20)
    assert compare(source, [source + error])[0].exact.item() == exact


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


@pytest.mark.parametrize(("estimates", "present"), list(product([1, 2, 3, 5], [2, 3, 4])))
def test_fewer_estimates_are_shared_and_of_more_some_left_over_so_that_mean_si_sdr_is_the_highest(estimates, present):
    sources = noise(6, 4, 400)
    sources[:, present:] = 0  # mixtures hold fewer sources than there is room for
    given = torch.einsum("beq,bqt->bet", noise(6, estimates, 4, seed=1), sources) + noise(6, estimates, 400, seed=2)
    found = compare(sources, [given])[0]
    orders, ordered = found.best_order(), found.in_best_order()
    for b, order in enumerate(orders[:, :present].tolist()):
        scores = [[formula(e, s) for s in sources[b, :present]] for e in given[b]]
        possible = [o for o in product(range(estimates), repeat=present) if len({*o}) == min(estimates, present)]
        assert tuple(order) == max(possible, key=lambda o: sum(scores[e][q] for q, e in enumerate(o)))
        expected = [scores[e][q] for q, e in enumerate(order)]
        np.testing.assert_allclose(ordered.si_sdr[b].diagonal()[:present], expected, atol=1e-6)
    assert ordered.si_sdr.shape == (6, 4, 4) and torch.equal(ordered.silent, found.silent.gather(1, orders))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_silent_and_exact_estimates_leave_the_others_in_their_order_and_equal_ones_stay_in_theirs(count):
    sources = noise(1, count, 400)
    for value in (torch.zeros(400), sources[0, 0]):
        estimates = sources + 0.1 * noise(1, count, 400, seed=1)
        estimates[0, 0] = value
        assert torch.equal(in_best_order(estimates.flip(1), sources), estimates)
    for estimates in (torch.zeros(1, count, 400), noise(1, 1, 400, seed=1).expand(1, count, 400)):
        assert compare(sources, [estimates])[0].best_order().tolist() == [list(range(count))]


def test_a_signal_that_is_not_finite_scores_nan_and_leaves_the_others_in_their_order():
    sources = noise(1, 3, 400)
    estimates = sources + 0.1 * noise(1, 3, 400, seed=1)
    estimates[0, 1, 7] = torch.nan
    found = compare(sources, [estimates.flip(1)])[0].in_best_order()
    scores = found.si_sdr.diagonal(dim1=1, dim2=2)[0]
    assert scores.isnan().tolist() == [False, True, False] and not found.silent.any()
    assert scores[0] > 15 and scores[2] > 15


def test_a_constant_signal_is_silent_and_no_other():
    quiet = 1e-30 * torch.nn.functional.one_hot(torch.tensor(20), 50)
    signals = torch.stack([torch.zeros(50), torch.full((50,), 0.25), quiet, noise(50)])
    assert is_silent(signals).tolist() == [True, True, False, False]


def test_a_pair_with_a_silent_signal_scores_nothing_and_orthogonal_ones_a_finite_number():
    sources, estimates = torch.zeros(1, 2, 8), torch.zeros(1, 2, 8)
    sources[0, 0, :2], estimates[0, 0, 4:6], estimates[0, 1] = torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0]), 0.3
    (found,) = compare(sources, [estimates])
    assert found.silent.tolist() == found.silent_source.tolist() == [[False, True]]
    assert found.si_sdr[0].flatten()[1:].tolist() == [0, 0, 0] and -157 < found.si_sdr[0, 0, 0] < -156


def test_estimates_of_another_length_are_refused_with_both_lengths():
    sources, estimates = torch.randn(1, 2, 100), torch.randn(1, 2, 99)
    for call in (lambda: in_best_order(estimates, sources), lambda: si_sdr(estimates, sources)):
        with pytest.raises(InputError, match=r"^estimates: 99 samples, but the mixture has 100; "):
            call()
