"""Training as `separatrix fit` does it, and as plain torch does."""

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning import Callback, Trainer
from torch import Tensor, nn

from datamodules.mixtures import MixtureDataModule
from experiments.benchmarks.comparison import Timed, clock
from lightning_modules.base_module import SeparatrixModule


class StepClock(Callback):
    """Time from the end of a training's first step to the end of its last: loading is in it, starting is not.

    Args:
        device: that the training runs on.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun = self.seconds = 0.0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Look at the clock after the first step and the last."""
        if trainer.global_step == 1:
            self._begun = clock(self._device)
        if trainer.global_step == trainer.max_steps:
            self.seconds = clock(self._device) - self._begun


def train(
    module: SeparatrixModule, data: MixtureDataModule, steps: int, device: torch.device, precision: Any = "32-true"
) -> Timed:
    """Take one step more than `steps`, which alone count."""
    step_clock = StepClock(device)
    trainer = quiet_trainer(device, precision=precision, max_steps=steps + 1, callbacks=[step_clock])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, data)
    return Timed(step_clock.seconds)


def quiet_trainer(device: torch.device, **settings: Any) -> Trainer:
    """A trainer on one device that neither prints, nor saves, nor validates."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return Trainer(
        accelerator=device.type,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        **settings,
    )


def train_plainly(
    network: nn.Module, loss: Callable[..., Tensor], inputs: Sequence[tuple[Tensor, ...]], device: torch.device
) -> Timed:
    """Adam's steps on tensors that are there already; all but the first count, as in `train`.

    Args:
        network: what is learnt.
        loss: of the inputs, [B]; it calls the network.
        inputs: for each step, what the loss takes.
        device: that they are on.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    for step, tensors in enumerate(inputs):
        if step == 1:
            begun = clock(device)
        optimizer.zero_grad()
        loss(*tensors).mean().backward()
        optimizer.step()
    return Timed(clock(device) - begun)
