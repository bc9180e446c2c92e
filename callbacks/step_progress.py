"""What moves within an epoch or an evaluation: its batches, and the time left."""

import math
import time
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import rich
from lightning import Callback, Trainer

from callbacks.training_progress import numbered, seconds_left, time_left

EVERY = 60.0  # seconds between lines of a log


class Progress(NamedTuple):
    """How far a training or an evaluation is."""

    doing: str  # such as `epoch 3/12` or `test`
    share: float  # that is done of this, in [0, 1]
    took: float  # seconds since all of it began, as if it had never been interrupted
    left: float | None  # seconds to the end of all of it; None before the first epoch is complete, 0 where nobody knows

    def __str__(self) -> str:
        return f"{self.doing} {self.share:.0%}"


class StepProgress(Callback):
    """Tells a log each minute, and a reproduction of its stage each second, how far an epoch or evaluation is; rank 0.

    epoch 3/12 40%  5 min 10 s left
    """

    listener: ClassVar[Callable[[Progress], None] | None] = None  # of the reproduction, in place of the log

    def __init__(self) -> None:
        self._begun = self._told = 0.0
        self._of_epoch = 0.0  # seconds that one took in the mean; 0 before the first one is complete
        self._first_epoch = 0

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begun = self._told = time.monotonic()
        self._first_epoch, self._of_epoch = trainer.current_epoch, 0.0

    on_test_start = on_predict_start = on_train_start

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.state.fn != "fit":
            self.on_train_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        now = time.monotonic()
        if StepProgress.listener is None:  # the epoch before has a line of its own
            self._told = now
        if trainer.current_epoch > self._first_epoch:
            self._of_epoch = (now - self._begun) / (trainer.current_epoch - self._first_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        now, every = time.monotonic(), EVERY if StepProgress.listener is None else 1
        if now - self._told < every or trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._told, took = now, now - self._begun
        prefix = trainer.state.stage.dataloader_prefix  # type: ignore[union-attr]
        batches = trainer.num_training_batches if trainer.training else getattr(trainer, f"num_{prefix}_batches")[0]
        share = (batch_idx + 1) / batches if math.isfinite(batches) else 0.0
        if trainer.state.fn == "fit":
            doing = numbered(trainer) + ("" if trainer.training else ", validation")
            left = None  # a first epoch begins slowly, and nobody knows how long its validation takes
            if self._of_epoch:
                left = seconds_left(trainer, took, self._first_epoch, self._first_epoch + took / self._of_epoch)
                took += self._first_epoch * self._of_epoch
        else:
            doing = str(trainer.state.fn.value)  # type: ignore[union-attr]
            left = took * (1 / share - 1) if share else 0.0
        progress = Progress(doing, share, took, left)
        if StepProgress.listener is not None:
            StepProgress.listener(progress)
        elif trainer.progress_bar_callback is None:
            line = "  ".join(filter(None, (str(progress), time_left(took, left or 0))))
            rich.get_console().print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_end  # type: ignore[assignment]
