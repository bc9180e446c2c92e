"""A run of Weights & Biases as a logger of Lightning: when W&B fails, what it follows goes on without it."""

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger

if TYPE_CHECKING:
    from wandb import Run


class Tracker(WandbLogger):
    """Lightning's logger on a run that has begun.

    The first error of W&B is printed, and nothing more is sent to it.

    Args:
        run: of W&B.
        step: what everything is logged at instead of the trainer's step: an evaluation has none of its own, and its
            values stand at the step of the checkpoint. The trainer's unless given.
    """

    def __init__(self, run: "Run", step: int | None = None) -> None:
        super().__init__(experiment=run)
        self._step = step
        self._failed = False

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers, tables or media."""
        log = super().log_metrics
        at = step if self._step is None else self._step
        self.attempt(lambda: log(metrics, at))

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something with the run, unless W&B has failed before."""
        if self._failed:
            return
        try:
            action()
        except Exception as error:  # of whatever kind: no training ends for its diary
            self._failed = True
            print(f"W&B failed and is left alone: {in_one_line(error)}", file=sys.stderr, flush=True)


def trackers(trainer: Trainer) -> list[Tracker]:
    """The runs of W&B that follow a trainer: one on rank 0 where W&B was asked for, none elsewhere."""
    return [logger for logger in trainer.loggers if isinstance(logger, Tracker)]


def in_one_line(error: BaseException) -> str:
    """Kind and message of an error."""
    return " ".join(f"{type(error).__name__}: {error}".split())
