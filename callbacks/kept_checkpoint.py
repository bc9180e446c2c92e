"""The checkpoints that a run's folder keeps, wherever the folder lies by now."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn


class KeptCheckpoint(ModelCheckpoint):
    """One checkpoint in a run's `checkpoints`, written over at the ends of epochs.

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

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a new epoch behind a finished one.

        Lightning goes on within the finished one, with half of its batches or none, where `max_steps` is given.
        """
        super().on_train_start(trainer, pl_module)
        loop: Any = trainer.fit_loop
        progress = loop.epoch_progress
        if loop.restarting and progress.current.ready == progress.current.processed:
            progress.current.completed = progress.total.completed = progress.current.processed
            loop.on_iteration_done()
            loop.epoch_loop.on_iteration_done()
