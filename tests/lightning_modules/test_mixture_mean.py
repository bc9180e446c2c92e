"""A mean that does not depend on how its numbers were shared."""

import math

import torch

from lightning_modules.mixture_mean import MixtureMean


def mean_of(*batches):
    metric = MixtureMean()
    for batch in batches:
        metric.update(torch.tensor(batch))
    return metric.compute()


def test_a_nan_is_seen_and_nothing_has_no_mean():
    assert math.isnan(mean_of([1.0, float("nan")])) and math.isnan(MixtureMean().compute())


def test_any_order_and_any_batches_give_the_same_bits():
    values = (1e6 * torch.randn(40, generator=torch.Generator().manual_seed(0)) ** 5).tolist()
    whole = mean_of(values)
    assert math.isclose(float(whole), math.fsum(values) / 40, rel_tol=1e-12) and whole.dtype == torch.float64
    for size in (1, 7):
        parts = [values[::-1][begin : begin + size] for begin in range(0, 40, size)]
        assert mean_of(*parts).item() == whole.item()
