"""SI-SDR of estimates in the best order, against torchmetrics."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torchmetrics.functional.audio import (
    permutation_invariant_training,
    pit_permutate,
    scale_invariant_signal_distortion_ratio,
)

from experiments.benchmarks.comparison import Comparison
from lightning_modules.separation_scores import compare

MIXTURES, SOURCES, SAMPLES = 32, 2, 64_000


def benchmark_scores(device: torch.device) -> Iterator[Comparison]:
    """All signals' SI-SDR in float64, each mixture's estimates in the order of the highest mean."""
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(MIXTURES, SOURCES, SAMPLES, generator=generator)
    noise = torch.randn(sources.shape, generator=generator)
    estimates = (sources + 0.3 * noise).flip(1).to(device)
    sources = sources.to(device)

    def ours() -> Tensor:
        (compared,) = compare(sources, [estimates])
        return compared.in_best_order().si_sdr.diagonal(dim1=1, dim2=2)

    def theirs() -> Tensor:
        _, order = permutation_invariant_training(estimates, sources, si_sdr, eval_func="max")
        return si_sdr(pit_permutate(estimates, order), sources)

    torch.testing.assert_close(ours(), theirs().cpu(), rtol=0, atol=1e-9)
    yield Comparison(
        f"SI-SDR in the best order, {MIXTURES * SOURCES} signals of {SAMPLES:,} samples",
        ours,
        theirs,
        "torchmetrics' permutation search and SI-SDR, in float64 too",
        MIXTURES,
        wanted=1,
    )


def si_sdr(estimates: Tensor, sources: Tensor) -> Tensor:
    """By torchmetrics, means removed, in float64: [..., T] -> [...]."""
    return scale_invariant_signal_distortion_ratio(estimates.double(), sources.double(), zero_mean=True)
