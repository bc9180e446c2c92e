"""Evaluation on a CPU whose rows do not depend, to the last bit, on batch, ranks and threads.

On a CPU the way of computing a number, and so its last bit, goes by the mixtures that share a batch and by what each
thread has of them: rows would differ by 3·10⁻⁷ dB, in bfloat16 by 0.015 dB. All that prevents it is here. It costs a
little while a trainer validates or tests, and nothing in training, in the separation of a recording, or on a GPU.
"""

from collections.abc import Callable

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

_evaluating = False


class BatchInvariance(Callback):
    """Batch invariance, while a trainer validates or tests."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        evaluate_batch_invariantly(True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        evaluate_batch_invariantly(False)

    on_test_start, on_test_end = on_validation_start, on_validation_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        evaluate_batch_invariantly(False)


def evaluate_batch_invariantly(on: bool) -> None:
    """Switch it on or off, for this process."""
    global _evaluating
    _evaluating = on


def one_as_two(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """The function of a batch; a single mixture is computed as one of two, not as a product with a vector."""
    if _evaluating and batch.is_cpu and len(batch) == 1:
        return function(batch.expand(2, *batch.shape[1:]))[:1]
    return function(batch)


def one_by_one(function: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """The function of a batch; each mixture by itself where the algorithm goes by the size of the batch."""
    if _evaluating and batch.is_cpu:
        return torch.cat([function(mixture) for mixture in batch.split(1)])
    return function(batch)


def sigmoid(logits: Tensor) -> Tensor:
    """1/(1 + e⁻ˣ): torch.sigmoid computes the last elements of a thread's share in another way, torch.exp does not."""
    if _evaluating and logits.is_cpu:
        return logits.neg().exp_().add_(1).reciprocal_()
    return logits.sigmoid()


def softmax(logits: Tensor, dim: int) -> Tensor:
    """e^x / Σ e^x over a dimension, by torch.exp for the same reason."""
    if _evaluating and logits.is_cpu:
        shares = (logits - logits.amax(dim, keepdim=True)).exp_()
        return shares.div_(shares.sum(dim, keepdim=True))
    return logits.softmax(dim)


def product(masks: Tensor, spectrum: Tensor) -> Tensor:
    """Masks times a complex spectrum; complex masks by real and imaginary parts, for the same reason."""
    if _evaluating and masks.is_complex() and masks.is_cpu:
        real = masks.real * spectrum.real - masks.imag * spectrum.imag
        return torch.complex(real, masks.real * spectrum.imag + masks.imag * spectrum.real)
    return masks * spectrum


def inner_products(rows: Tensor, others: Tensor) -> Tensor:
    """[B, n, T] times [B, m, T]: [B, n, m]; the sums of a single product of matrices are shared out among threads."""
    return one_as_two(lambda of_rows: torch.bmm(of_rows, others.expand(len(of_rows), -1, -1).mT), rows)
