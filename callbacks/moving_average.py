"""A moving average of the weights, which is validated, tested and kept in place of the last step's."""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor


class MovingAverage(WeightAveraging):
    """Lightning's averaging of weights, exponentially, for modules that are complete only once they are set up.

    Validation, and so the choice of the best checkpoint, the schedule on a metric and early stopping, is of the
    average; so are the weights of every checkpoint. The step's own weights lie beside them, to go on from.

    Args:
        decay: of the average after many steps. After n it is (1 + n)/(10 + n) at most, so that what the first weights
            were is soon forgotten.
    """

    def __init__(self, decay: float = 0.999) -> None:
        def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            if not averaged.is_floating_point():  # such as the number of batches that a normalisation has seen
                return current
            steps = torch.as_tensor(steps, dtype=torch.float64)  # as a number it would have to wait for a GPU
            share = 1 - ((1 + steps) / (10 + steps)).clamp(max=decay)
            return averaged.lerp(current, share.to(averaged.device, averaged.dtype))

        super().__init__(avg_fn=average)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """No average yet: a module's own setup, which loads a classifier for instance, comes after."""
        if stage == "fit":
            self._average_model, self._latest_update_step = None, 0  # nothing of a training before

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._average_model is None:
            self._device = trainer.strategy.root_device
            super().setup(trainer, pl_module, "fit")

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self.on_fit_start(trainer, pl_module)
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
