"""One line an epoch: in a log all that is seen of a training, on a terminal what stays above the progress bar."""

from collections.abc import Iterator

import rich
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from callbacks.training_clock import TrainingClock, duration, epoch_limit


class EpochLines(Callback):
    """Prints a line after each epoch, on rank 0: losses, scores, the best epoch so far, patience, time, time left.

        epoch 3/12  training loss 6.41  validation loss 5.08  improvement 1.2 dB  best so far  8 s, 1 min 12 s left

    A line comes when early stopping has looked at its epoch and its checkpoint is on disk: with the next epoch's start,
    or the training's end.
    """

    def __init__(self) -> None:
        self._clock = TrainingClock()
        self._epoch = 0
        self._facts: list[str] = []  # of an epoch whose line is still to be printed
        self._time = ""
        self._left: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._clock.start(trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line of the epoch before."""
        self._print(trainer)
        self._clock.start_epoch()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what the epoch came to."""
        limit = epoch_limit(trainer)
        of = "" if limit is None else f"/{limit}"
        self._epoch = trainer.current_epoch + 1
        self._facts = [f"epoch {self._epoch}{of}", *_scores(trainer)]
        self._time = duration(self._clock.epoch_seconds)
        self._left = self._clock.left(trainer, 1.0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the last line."""
        self._left = None
        self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and self._facts:
            left = f", {duration(self._left)} left" if self._left else ""
            line = "  ".join((*self._facts, *_standing(trainer, self._epoch), f"{self._time}{left}"))
            rich.get_console().print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self._facts = []


def _validated(trainer: Trainer) -> bool:
    return (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0


def _scores(trainer: Trainer) -> Iterator[str]:
    """The epoch's losses and scores, in words; a score for one class alone is for the curves."""
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "/" not in name}
    if "train_loss_epoch" in metrics:
        yield f"training loss {metrics['train_loss_epoch']:.3f}"
    if not _validated(trainer):
        return
    if "validation_loss" in metrics:
        yield f"validation loss {metrics['validation_loss']:.3f}"
    for name, value in metrics.items():
        if name.startswith("validation_") and name != "validation_loss":
            words = name.removeprefix("validation_").replace("_", " ")
            yield f"{words.removesuffix(' db')} {value:.2f} dB" if words.endswith(" db") else f"{words} {value:.3f}"


def _standing(trainer: Trainer, epoch: int) -> Iterator[str]:
    """After an epoch, from 1 on: the best one so far, and how much patience is left."""
    stopping = trainer.early_stopping_callback
    if not isinstance(stopping, EarlyStopping) or not stopping.best_score.isfinite():
        return
    if stopping.wait_count == 0:
        yield "best so far"
        return
    # Patience counts validations, which need not come after every epoch.
    every = trainer.check_val_every_n_epoch or 1
    best = epoch // every * every - stopping.wait_count * every
    yield f"best: epoch {best} ({float(stopping.best_score):.3f}), patience {stopping.wait_count}/{stopping.patience}"
