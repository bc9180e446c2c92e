"""Scores of separated sources, and which of them are defined."""

from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.audio import (
    permutation_invariant_training,
    pit_permutate,
    scale_invariant_signal_distortion_ratio,
)


class LeftOut(StrEnum):
    """Why a source that is present has no score."""

    NO = ""
    SINGLE_CLASS = "single class"
    SILENT_SOURCE = "silent source"
    SILENT_ESTIMATE = "silent estimate"
    EXACT_ESTIMATE = "exact estimate"


class Score(NamedTuple):
    """SI-SDR of one present class, or source, in one mixture, in dB; NaN where `left_out` says why.

    Attributes:
        mixture: its index in the split.
        label: sound class.
        left_out: empty, or the reason.
        input_si_sdr: of the unprocessed mixture; defined for estimates that are silent or exact too.
        si_sdr: of the estimate.
    """

    mixture: int
    label: str
    left_out: LeftOut
    input_si_sdr: float
    si_sdr: float


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, means removed, always in float64: [..., T] -> [...]."""
    return scale_invariant_signal_distortion_ratio(estimate.double(), target.double(), zero_mean=True)


def is_silent(signal: Tensor) -> Tensor:
    """Whether a signal is constant (all zeros, as a rule): it then has no SI-SDR. [..., T] -> [...], bool."""
    return signal.amax(-1) == signal.amin(-1)


def is_exact(estimate: Tensor, target: Tensor) -> Tensor:
    """Whether an estimate differs from its target by rounding alone, below -100 dB: [..., T] -> [...], bool."""
    error = (estimate.double() - target.double()).square().sum(-1)
    return error <= 1e-10 * target.double().square().sum(-1)


def in_best_order(estimates: Tensor, sources: Tensor) -> Tensor:
    """Estimates in the order of the sources that has the highest mean SI-SDR: [B, Q, T], [B, Q, T] -> [B, Q, T]."""
    _, order = permutation_invariant_training(estimates, sources, si_sdr, eval_func="max")
    return pit_permutate(estimates, order)


def score_separation(
    mixture: Tensor, sources: Tensor, estimates: Tensor, present: Tensor, indices: Tensor, classes: list[str]
) -> list[Score]:
    """Score every present class of every mixture.

    With a single class the mixture is the source and the input SI-SDR infinite; a constant signal has none; and where a
    mask that knows the truth gives back a source that overlaps with no other, the SI-SDR is that of single precision's
    rounding, some 139 dB. All are decided beforehand, on the signals, and come back as rows without a score, so that
    they can be counted.

    Args:
        mixture: [B, T].
        sources: true sources, [B, C, T].
        estimates: [B, C, T].
        present: clip labels, [B, C].
        indices: of the mixtures, [B].
        classes: C names.

    Returns:
        Rows in the order of mixtures, then classes.
    """
    batch, label = present.bool().nonzero(as_tuple=True)
    source, estimate, heard = sources[batch, label], estimates[batch, label], mixture[batch]
    single = (present.bool().sum(-1) == 1)[batch]
    undefined = {
        LeftOut.SILENT_SOURCE: is_silent(source),
        LeftOut.SINGLE_CLASS: single,
        LeftOut.SILENT_ESTIMATE: is_silent(estimate),
        LeftOut.EXACT_ESTIMATE: is_exact(estimate, source),
    }
    reasons = [
        next((reason for reason, holds in zip(undefined, row, strict=True) if holds), LeftOut.NO)
        for row in torch.stack(list(undefined.values()), dim=-1).tolist()
    ]
    scored = torch.tensor([reason == LeftOut.NO for reason in reasons], device=mixture.device)
    before = torch.full((len(reasons),), torch.nan, dtype=torch.float64, device=mixture.device)
    after = before.clone()
    heard_apart = ~(undefined[LeftOut.SILENT_SOURCE] | single)
    if heard_apart.any():
        before[heard_apart] = si_sdr(heard[heard_apart], source[heard_apart])
    if scored.any():
        after[scored] = si_sdr(estimate[scored], source[scored])
    return [
        Score(*row)
        for row in zip(
            indices[batch].tolist(),
            [classes[i] for i in label.tolist()],
            reasons,
            before.tolist(),
            after.tolist(),
            strict=True,
        )
    ]
