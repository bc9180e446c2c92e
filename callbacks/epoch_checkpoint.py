"""The checkpoints that a run's folder keeps: of whole epochs, from which a training resumes exactly."""

from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.tracker import trackers


class EpochCheckpoint(ModelCheckpoint):
    """One checkpoint in a run's `checkpoints`, written over at the ends of whole epochs.

    Lightning ends an epoch also where `max_steps`, `max_time` or early stopping cut it short. A checkpoint written then
    knows how many batches were left, but its loader begins anew.

    A resumed training takes the best score from the run's own checkpoint, and no path: a folder may have been moved
    since, and what a file names as an earlier checkpoint would be removed.

    Args:
        folder: of the checkpoints.
        name: of this one, without its suffix.
        monitor: what must have fallen since it was written; nothing unless given.
    """

    def __init__(self, folder: Path, name: str, monitor: str | None = None) -> None:
        super().__init__(
            dirpath=folder,
            filename=name,
            monitor=monitor,
            enable_version_counter=False,
            # After the validation that belongs to the epoch, so that a resumed run starts with the next epoch.
            save_on_train_epoch_end=True,
        )

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Carry the best score over, where the checkpoint lies beside this one: it is none of another run's."""
        if self.monitor is None or trainer.state.fn != TrainerFn.FITTING:
            return
        assert self.dirpath is not None and trainer.ckpt_path is not None
        states = checkpoint["callbacks"]
        # Lightning's own class kept it in earlier versions.
        state = states.get(self.state_key) or states.get(self.state_key.replace(type(self).__name__, "ModelCheckpoint"))
        score = (state or {}).get("best_model_score")
        path, beside = self.format_checkpoint_name({}), Path(trainer.ckpt_path).parent.resolve() == Path(self.dirpath)
        # Whoever deletes it wants a new one.
        if beside and isinstance(score, torch.Tensor) and self.file_exists(path, trainer):
            self.best_model_path = self.kth_best_model_path = path
            self.best_model_score = self.kth_value = score
            self.best_k_models = {path: score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing more: the paths are this folder's."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Save after a whole epoch, and by a metric only once there is one."""
        measured = self.monitor is None or self.monitor in trainer.callback_metrics
        if measured and epoch_is_whole(trainer):
            before = self.best_model_score
            super().on_train_epoch_end(trainer, pl_module)
            if self.best_model_score is not before:
                # Of the epoch that is kept: the best value of any epoch may be of a checkpoint that is not.
                values = trainer.callback_metrics.items()
                figures = {f"best_{name}": float(value) for name, value in values if name.startswith("validation_")}
                for tracker in trackers(trainer):
                    tracker.attempt(tracker.show_figures, figures)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Begin a new epoch behind a finished one.

        Lightning would resume within the finished one, with half of its batches or none, where `max_steps` is given.
        """
        super().on_train_start(trainer, pl_module)
        loop: Any = trainer.fit_loop
        progress = loop.epoch_progress
        if loop.restarting and progress.current.ready == progress.current.processed:
            progress.current.completed = progress.total.completed = progress.current.processed
            loop.on_iteration_done()
            loop.epoch_loop.on_iteration_done()


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
