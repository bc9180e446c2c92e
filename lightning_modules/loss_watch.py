"""A loss or a weight that is not finite ends a training, by its name and that of the mixtures."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lightning_modules.errors import InputError


class LossWatch(Callback):
    """Raises where a loss is NaN or infinite.

    Reading a number on a GPU waits for it: there, losses are collected for some steps. The weights that such steps
    spoil are in memory only: checkpoints are written at the ends of epochs, after every loss has been checked.
    """

    def __init__(self, steps: int | None = None) -> None:
        self.steps = steps  # that are collected
        self._waiting: list[tuple[Tensor, Tensor, str, int]] = []

    def record(self, losses: Tensor, indices: Tensor, split: str, epoch: int) -> None:
        """Watch the losses of a batch's mixtures, [B], with their indices, [B]; epochs count from 0."""
        self._waiting.append((losses.detach(), indices, split, epoch))
        if len(self._waiting) >= (self.steps or (1 if losses.is_cpu else 50)):
            self.check()

    def check(self) -> None:
        """Raise InputError, with the batch's mixtures, where a collected loss is not finite."""
        waiting, self._waiting = self._waiting, []
        if not waiting or bool(torch.cat([losses for losses, *_ in waiting]).isfinite().all()):
            return
        losses, indices, split, epoch = next(each for each in waiting if not each[0].isfinite().all())
        spoilt = ~losses.isfinite()
        first, *more = indices[spoilt].tolist()
        named = f"mixture{'s' if more else ''} {', '.join(map(str, (first, *more)))}"
        raise InputError(
            f"loss: {float(losses[spoilt][0])} in epoch {epoch + 1} for {split} {named} "
            f"(batch: {', '.join(map(str, indices.tolist()))}); `separatrix synthesize --config RUN/config.yaml "
            f"--split {split} --start {first} --mixtures 1 --output MIXTURE` renders it again; where it sounds right, "
            f"lower the learning rate or clip gradients"
        )

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check()  # weights that a training loss has spoilt would be blamed on validation

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        # A gradient can spoil them though every loss was finite.
        for name, value in checkpoint["state_dict"].items():
            if not value.isfinite().all():
                raise InputError(
                    f"{name}: not finite after epoch {trainer.current_epoch + 1}; the checkpoints of earlier epochs "
                    f"are kept; clip gradients, or lower the learning rate in another --run"
                )
