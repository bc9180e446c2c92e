"""A loss that is not finite ends a training, by the names of the mixtures that it was computed of."""

import torch
from torch import Tensor

from lightning_modules.errors import InputError


class LossWatch:
    """Looks at every loss, and raises where one is NaN or infinite.

    To look at a number on a GPU is to wait for it: there, losses are collected for some steps. The weights that such
    steps spoil are in memory only: checkpoints are written at the ends of epochs, when everything has been looked at.

    Args:
        split: `train` or `validation`.
        steps: that are collected before a look, on a GPU.
        steps_on_cpu: likewise, on a CPU.
    """

    def __init__(self, split: str, steps: int = 50, steps_on_cpu: int = 1) -> None:
        self.split = split
        self.steps = steps
        self.steps_on_cpu = steps_on_cpu
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def take(self, losses: Tensor, indices: Tensor, epoch: int) -> None:
        """Watch the losses of a batch's mixtures.

        Args:
            losses: [B].
            indices: of the mixtures, [B].
            epoch: counted from 0.

        Raises:
            InputError: one of the losses so far is not finite.
        """
        self._waiting.append((losses.detach(), indices))
        if len(self._waiting) >= (self.steps_on_cpu if losses.is_cpu else self.steps):
            self.check(epoch)

    def check(self, epoch: int) -> None:
        """Look at what was collected.

        Raises:
            InputError: one of the losses is not finite; the message names the batch's mixtures.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting or bool(torch.cat([losses for losses, _ in waiting]).isfinite().all()):
            return
        losses, indices = next((losses, indices) for losses, indices in waiting if not losses.isfinite().all())
        spoilt = ~losses.isfinite()
        first, *more = indices[spoilt].tolist()
        named = f"mixture{'s' if more else ''} {', '.join(map(str, (first, *more)))}"
        raise InputError(
            f"loss: {float(losses[spoilt][0])} in epoch {epoch + 1} for {self.split} {named} "
            f"(batch: {', '.join(map(str, indices.tolist()))}); `separatrix synthesize --config RUN/config.yaml "
            f"--split {self.split} --start {first} --mixtures 1` renders it again; where it sounds right, lower the "
            f"learning_rate or clip gradients"
        )
