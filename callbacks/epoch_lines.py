"""One line an epoch: in a log all that is seen of a training, on a terminal what stays above the progress bar."""

import math
from collections.abc import Iterator
from typing import Any

import rich
from lightning import Callback, LightningModule, Trainer

from callbacks.epoch_checkpoint import epoch_is_whole
from callbacks.training_clock import TrainingClock, duration, epoch_limit


class EpochLines(Callback):
    """Prints a line after each epoch, on rank 0: losses, scores, the best epoch so far, patience, time, time left.

        epoch 3/12  training loss 6.41  validation loss 5.08  improvement 1.2 dB  best so far  8 s, 1 min 12 s left

    A line comes when early stopping has looked at its epoch and its checkpoint is on disk: with the next epoch's start,
    or the training's end.
    """

    def __init__(self) -> None:
        self._clock = TrainingClock()
        self._validated = False  # whether the epoch under way has been: not every one need be
        self._best = {"epoch": 0, "loss": math.inf}  # of the epochs whose checkpoints are kept
        self._facts: list[str] = []  # of an epoch whose line is still to be printed
        self._time = ""
        self._left: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """The best epoch so far."""
        return dict(self._best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with it."""
        self._best = dict(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._clock.start(trainer.current_epoch)
        self._validated = False  # not by the sanity check

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch before."""
        self._print(trainer)
        self._clock.start_epoch()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know of it."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what the epoch came to."""
        limit, epoch = epoch_limit(trainer), trainer.current_epoch + 1
        cut_short = "" if epoch_is_whole(trainer) else " stopped within it, not kept"
        self._facts = [f"epoch {epoch}{'' if limit is None else f'/{limit}'}{cut_short}"]
        self._facts += _scores(trainer, self._validated)
        loss = trainer.callback_metrics.get("validation_loss")
        if self._validated and not cut_short and loss is not None and loss < self._best["loss"]:
            self._best = {"epoch": epoch, "loss": float(loss)}
            self._facts.append("best so far")
        elif self._best["epoch"]:
            self._facts.append(f"best: epoch {self._best['epoch']} ({self._best['loss']:.3f})")
        self._validated = False
        self._time = duration(self._clock.epoch_seconds)
        self._left = self._clock.left(trainer, 1.0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the last line."""
        self._left = None
        self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and self._facts:
            stopping = trainer.early_stopping_callback
            if stopping is not None and stopping.wait_count:
                self._facts[-1] += f", patience {stopping.wait_count}/{stopping.patience}"
            left = f", {duration(self._left)} left" if self._left else ""
            line = "  ".join((*self._facts, f"{self._time}{left}"))
            rich.get_console().print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._facts = []


def _scores(trainer: Trainer, validated: bool) -> Iterator[str]:
    """The epoch's losses and scores, in words; a score for one class alone is for the curves."""
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" not in name}
    if "train_loss_epoch" in metrics:
        yield f"training loss {metrics['train_loss_epoch']:.3f}"
    if not validated:
        return
    if "validation_loss" in metrics:
        yield f"validation loss {metrics['validation_loss']:.3f}"
    for name, value in metrics.items():
        if name.startswith("validation_") and name != "validation_loss":
            words = name.removeprefix("validation_").replace("_", " ")
            yield f"{words.removesuffix(' db')} {value:.2f} dB" if words.endswith(" db") else f"{words} {value:.3f}"
