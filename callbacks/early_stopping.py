"""Early stopping whose patience survives an interruption."""

from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from callbacks.epoch_checkpoint import epoch_is_whole


class ResumableEarlyStopping(EarlyStopping):
    """Early stopping that outlives an interruption: where patience had run out no further epoch is trained."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        # Where the checkpoint says so: a new training has not waited for anything, whatever its patience.
        trainer.should_stop = trainer.should_stop or 0 < self.wait_count >= self.patience

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Look at the metric of a whole epoch; a training without validation has none, and runs to its end."""
        if epoch_is_whole(trainer) and (self.monitor in trainer.callback_metrics or trainer.enable_validation):
            super().on_train_epoch_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the checkpoint's counts, but the patience from the configuration."""
        super().load_state_dict({**state_dict, "patience": self.patience})
