"""How a training runs: the norm of its gradient, how fast mixtures go through, and how long it waits for them."""

import time
from typing import Any

import torch
from lightning import Callback, Trainer
from torch.optim import Optimizer

from lightning_modules.batch import Batch


class TrainingCurves(Callback):
    """Logs three curves, at the steps at which the trainer logs (`log_every_n_steps`).

    - `training/gradient_norm`: Euclidean norm over all parameters, before any clipping; computed only then.
    - `training/mixtures_per_second`: over all ranks, since the last value of the epoch.
    - `training/waiting_share`: of that time, in which the training waited for its loader. Where a GPU computes beside
      the program, time in which it was still busy counts too.

    An epoch that ends between two such steps logs the two rates of its rest.
    """

    def __init__(self) -> None:
        self._step = 0
        self._restart()

    def _restart(self) -> None:
        self._begun = self._ready = time.monotonic()
        self._waited = 0.0
        self._mixtures = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._restart()

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        self._waited += time.monotonic() - self._ready

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        # Lightning and AutoClip clip after this.
        if _logs(trainer, trainer.global_step + 1):
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            pl_module.log("training/gradient_norm", torch.nn.utils.get_total_norm(gradients))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self._ready = time.monotonic()
        self._mixtures += len(batch.indices) * trainer.world_size
        # Where gradients are accumulated, several batches end at the same step.
        if trainer.global_step != self._step and _logs(trainer, trainer.global_step):
            pl_module.log_dict(self._rates())
        self._step = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._mixtures:
            pl_module.log_dict(self._rates(), rank_zero_only=True)

    def _rates(self) -> dict[str, float]:
        seconds = max(self._ready - self._begun, 1e-9)
        rates = {
            "training/mixtures_per_second": self._mixtures / seconds,
            "training/waiting_share": min(self._waited / seconds, 1.0),
        }
        self._restart()
        return rates


def _logs(trainer: Trainer, step: int) -> bool:
    """Whether the trainer logs at a step, counted from 1."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return bool(trainer.loggers) and every > 0 and step % every == 0
