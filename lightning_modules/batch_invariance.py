"""Evaluation on a CPU whose rows do not depend, to the last bit, on which mixtures share a batch.

On a CPU the way of computing a product, and so its last bit, goes by the number of mixtures at once. An evaluation
writes the same rows however its mixtures were spread over batches and ranks; that costs a little, and nothing on a GPU,
in training or in the separation of a recording.
"""

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
    """Switch it for this process: on while a trainer validates or tests, off otherwise."""
    global _evaluating
    _evaluating = on


def batch_invariant(mixtures: Tensor) -> bool:
    """Whether these, [B, ...], are one mixture of an evaluation on a CPU, to be computed as one of several is."""
    return _evaluating and mixtures.is_cpu and len(mixtures) == 1
