"""Epochs that a resumed training repeats to the last bit."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class ResumableEpochs(Callback):
    """Seeds every epoch, and steps schedules on a metric before the epoch's checkpoint is written."""

    def __init__(self) -> None:
        self._validated = False  # whether the epoch under way has been: not every one need be

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # With the epoch's first batch: starting an epoch, Lightning draws a random number or not, depending on whether
        # the training was resumed.
        if batch_idx == 0:
            seed: int = pl_module.data_seed  # type: ignore[assignment]  # of a SeparatrixModule
            torch.manual_seed(1_000_003 * seed + 10_007 * trainer.current_epoch + trainer.global_rank)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning would do it after the checkpoint, and a resumed training would lack the step.
        for config in trainer.lr_scheduler_configs if self._validated else ():
            if config.reduce_on_plateau:
                config.scheduler.step(trainer.callback_metrics[config.monitor or "validation_loss"])  # type: ignore[arg-type]
        self._validated = False
