"""How long a training still takes."""

import math
import time

from lightning import Trainer


def duration(seconds: float) -> str:
    """Such as `8 s`, `1 min 05 s` or `2 h 10 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def epoch_limit(trainer: Trainer) -> int | None:
    """With which epoch the training ends at the latest, by epochs or steps; None where neither limits it."""
    limits = [] if trainer.max_epochs in (None, -1) else [trainer.max_epochs]
    if trainer.max_steps != -1 and math.isfinite(trainer.num_training_batches):
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        limits.append(math.ceil(trainer.max_steps / max(steps, 1)))
    return min(limits, default=None)


class TrainingClock:
    """Measures epochs, with their validation, from the training's start on.

    A training that stops early ends before the time that is told here.
    """

    def __init__(self) -> None:
        self._first_epoch = 0
        self._begun = self._epoch_begun = time.monotonic()

    def start(self, epoch: int) -> None:
        """A training starts, or goes on, with this epoch, from 0."""
        self._first_epoch = epoch
        self._begun = self._epoch_begun = time.monotonic()

    def start_epoch(self) -> None:
        """An epoch starts."""
        self._epoch_begun = time.monotonic()

    @property
    def epoch_seconds(self) -> float:
        """Since the epoch's start."""
        return time.monotonic() - self._epoch_begun

    def left(self, trainer: Trainer, done: float) -> float | None:
        """Seconds to the end of the last epoch, at the mean pace since the start.

        Args:
            trainer: says which epoch is under way, and how many there are.
            done: share of the epoch that is done, from 0 to 1.

        Returns:
            The seconds; None where nothing is done yet, or the number of epochs is not known.
        """
        limit, passed = epoch_limit(trainer), trainer.current_epoch - self._first_epoch + done
        if limit is None or passed <= 0:
            return None
        return (time.monotonic() - self._begun) / passed * (limit - trainer.current_epoch - done)
