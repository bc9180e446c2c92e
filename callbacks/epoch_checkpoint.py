"""Checkpoints of whole epochs: the points from which a training goes on exactly."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class EpochCheckpoint(ModelCheckpoint):
    """Lightning's, but of whole epochs alone, and by a metric only once there is one.

    Lightning ends an epoch also where `max_steps`, `max_time` or early stopping cut it short. A checkpoint written then
    knows how many batches were left, but its loader begins anew.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after a whole epoch."""
        measured = self.monitor is None or self.monitor in trainer.callback_metrics
        if measured and epoch_is_whole(trainer):
            super().on_train_epoch_end(trainer, pl_module)


def epoch_is_whole(trainer: Trainer) -> bool:
    """Whether the training has seen the last batch of the epoch under way."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    return progress.is_last_batch or progress.current.ready >= trainer.num_training_batches


def is_of_a_whole_epoch(checkpoint: dict[str, Any]) -> bool:
    """Whether a checkpoint was written at an epoch's end; one that does not tell may be."""
    try:
        loop = checkpoint["loops"]["fit_loop"]
        batches, epochs = loop["epoch_loop.batch_progress"], loop["epoch_progress"]["current"]
        return bool(batches["is_last_batch"]) and epochs["processed"] == epochs["ready"]
    except (KeyError, TypeError):
        return True
