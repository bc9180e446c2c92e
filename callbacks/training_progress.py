"""How far a training is: a line an epoch, and on a terminal a bar below the lines, which leaves nothing behind."""

import math
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import rich
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import RichProgressBar, Timer

from callbacks.epoch_checkpoint import epoch_is_whole


def duration(seconds: float) -> str:
    """Such as `8 s`, `1 min 05 s` or `2 h 10 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def epoch_limit(trainer: Trainer) -> int | None:
    """The number of epochs, by epochs or by steps; None where neither is limited."""
    limits = [] if trainer.max_epochs in (None, -1) else [trainer.max_epochs]
    if trainer.max_steps != -1 and math.isfinite(trainer.num_training_batches):
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        limits.append(math.ceil(trainer.max_steps / max(steps, 1)))
    return min(limits, default=None)


def seconds_left(trainer: Trainer, took: float, first: float, done: float) -> float:
    """Seconds to the end of a training that came from one epoch to another, or within it; 0 where nobody knows."""
    limit = epoch_limit(trainer)
    of_epochs = math.inf if limit is None or done == first else took / (done - first) * max(limit - done, 0)
    timers = [each for each in trainer.callbacks if isinstance(each, Timer)]  # type: ignore[attr-defined]
    left = min([of_epochs, *(timer.time_remaining() or 0 for timer in timers)])
    return left if math.isfinite(left) else 0.0


# What a reproduction tells its stage in the environment: seconds that later stages take, and how many of them take as
# long as this one.
LATER = "SEPARATRIX_LATER"


def time_left(took: float, left: float) -> str:
    """Such as `1 min 05 s left`, with that of the reproduction whose stage this is; nothing where it is not known."""
    if not left:
        return ""
    seconds, alike = map(float, os.environ.get(LATER, "0 0").split())
    later = seconds + alike * (took + left)
    return f"{duration(left)} left" + (f", {duration(left + later)} in all" if later else "")


WRAPPED = "\n    "  # what the lines of an epoch begin with, but for its first


def wrapped(facts: Sequence[str], prefix: str = "") -> str:
    """Facts of an epoch side by side, as many as 80 columns hold to a line."""
    lines = [f"{prefix}{facts[0]}"]
    for fact in facts[1:]:
        if len(lines[-1]) + 2 + len(fact) <= 80:
            lines[-1] += f"  {fact}"
        else:
            lines.append(" " * max(len(prefix), len(WRAPPED) - 1) + fact)
    return "\n".join(lines)


def numbered(trainer: Trainer) -> str:
    """The epoch under way, counted from 1, and the last one where it is known: `epoch 3/12`."""
    limit = epoch_limit(trainer)
    return f"epoch {trainer.current_epoch + 1}{'' if limit is None else f'/{limit}'}"


class EpochLines(Callback):
    """Prints a line or two after each epoch, on rank 0: losses, scores, the best epoch so far, patience, time left.

        epoch 3/12  training loss 6.410  validation loss 5.080  improvement 1.20 dB
            best so far  took 8 s, 1 min 12 s left

    They come when early stopping has looked at its epoch and its checkpoint is on disk: with the next epoch's start,
    or the training's end.
    """

    def __init__(self) -> None:
        self._begun = self._epoch_begun = 0.0
        self._first_epoch = 0  # of this start, counted from 0
        self._validated = False  # whether the epoch under way has been: not every one need be
        self._best = {"epoch": 0, "loss": math.inf}  # of the epochs whose checkpoints are kept
        self._facts: list[str] = []  # of an epoch whose line is still to be printed
        self._time = self._left = ""  # of the epoch, to the end of the last one

    def state_dict(self) -> dict[str, Any]:
        return dict(self._best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best = dict(state_dict)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._begun, self._first_epoch = time.monotonic(), trainer.current_epoch
        self._validated = False  # not by the sanity check

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._print(trainer)
        self._epoch_begun = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        cut_short = "" if epoch_is_whole(trainer) else " stopped within it, not kept"
        self._facts = [f"{numbered(trainer)}{cut_short}", *_scores(trainer, self._validated)]
        loss = trainer.callback_metrics.get("validation_loss")
        if self._validated and not cut_short and loss is not None and loss < self._best["loss"]:
            self._best = {"epoch": trainer.current_epoch + 1, "loss": float(loss)}
            self._facts.append("best so far")
        elif self._best["epoch"]:
            self._facts.append(f"best: epoch {self._best['epoch']} ({self._best['loss']:.3f})")
        self._validated = False
        now = time.monotonic()
        self._time, took, done = duration(now - self._epoch_begun), now - self._begun, trainer.current_epoch + 1
        earlier = self._first_epoch * took / (done - self._first_epoch)  # before it was resumed
        self._left = time_left(earlier + took, seconds_left(trainer, took, self._first_epoch, done))

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        self._left = ""
        self._print(trainer)

    def _print(self, trainer: Trainer) -> None:
        if trainer.is_global_zero and self._facts:
            stopping = trainer.early_stopping_callback
            if stopping and stopping.wait_count and stopping.patience < (epoch_limit(trainer) or math.inf):
                self._facts[-1] += f", patience {stopping.wait_count}/{stopping.patience}"
            lines = wrapped([*self._facts, ", ".join(filter(None, (f"took {self._time}", self._left)))])
            rich.get_console().print(lines, markup=False, highlight=False, emoji=False, soft_wrap=True)
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


class TrainingProgress(RichProgressBar):
    """Lightning's bar of the epoch under way, with epochs counted from 1, gone when the training ends."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=4)

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        # The loss needs the place of the last one, batches a second, in 80 columns.
        return super().configure_columns(trainer)[:-1]

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        return {"training loss": metrics["train_loss"]} if "train_loss" in metrics else {}

    def _get_train_description(self, current_epoch: int) -> str:
        return numbered(self.trainer)

    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            self.progress.live.transient = True
