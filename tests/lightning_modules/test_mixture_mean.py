"""A mean that does not depend on how its numbers were shared."""

import math
import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.mixture_mean import MixtureMean

numbers = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40)


def mean_of(*batches):
    metric = MixtureMean()
    for batch in batches:
        metric.update(torch.tensor(batch))
    return metric.compute()


@given(numbers, st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_order_and_any_batches_give_the_same_bits(values, shuffled, size):
    whole = mean_of(values)
    assert math.isclose(float(whole), math.fsum(values) / len(values), rel_tol=1e-12, abs_tol=1e-9)
    order = random.Random(shuffled.random()).sample(values, len(values))
    parts = [order[begin : begin + size] for begin in range(0, len(order), size)]
    assert mean_of(*parts).item() == whole.item() and whole.dtype == torch.float64


def test_a_nan_is_seen_and_nothing_has_no_mean():
    assert math.isnan(mean_of([1.0, float("nan")])) and math.isnan(MixtureMean().compute())


def test_a_new_epoch_starts_from_nothing():
    metric = MixtureMean()
    metric.update(torch.tensor([5.0]))
    metric.compute()
    metric.reset()
    metric.update(torch.tensor([1.0, 2.0]))
    assert float(metric.compute()) == 1.5
