"""The progress bar of a terminal: the epoch, and beside it how long the whole training still takes."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.text import Text

from callbacks.training_clock import TrainingClock, duration, epoch_limit


class TimeLeft(ProgressColumn):
    """Of the whole training beside the bar of its epoch; elsewhere of the bar.

    Args:
        bars: the progress that it is a column of.
        clock: of the training.
    """

    max_refresh = 0.5

    def __init__(self, bars: RichProgressBar, clock: TrainingClock) -> None:
        super().__init__()
        self._bars = bars
        self._clock = clock

    def render(self, task: Task) -> Text:
        """Nothing as long as there is nothing to judge by."""
        if task.id == self._bars.train_progress_bar_id and task.total:
            left = self._clock.left(self._bars.trainer, task.completed / task.total)
        else:
            left = task.time_remaining
        return Text("" if left is None else f"{duration(left)} left")


class TrainingProgress(RichProgressBar):
    """Lightning's bar, with epochs from 1 on and the time that the whole training still takes.

    What an epoch came to is printed above it by `EpochLines`; the bar itself leaves nothing behind.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=4)
        self._clock = TrainingClock()

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Description, bar, batches, time left."""
        return [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft(self, self._clock)]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The loss of the last batches: the figures of whole epochs are in the lines above."""
        metrics = super().get_metrics(trainer, pl_module)
        return {"training loss": metrics["train_loss"]} if "train_loss" in metrics else {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and the bars."""
        self._clock.start(trainer.current_epoch)
        super().on_train_start(trainer, pl_module)

    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        if self.progress is not None:
            self.progress.live.transient = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count epochs from 1 on, as the lines do."""
        super().on_train_epoch_start(trainer, pl_module)
        if self.progress is not None and self.train_progress_bar_id is not None:
            limit = epoch_limit(trainer)
            of = "" if limit is None else f"/{limit}"
            self.progress.update(self.train_progress_bar_id, description=f"epoch {trainer.current_epoch + 1}{of}")
