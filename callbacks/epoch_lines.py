"""One line an epoch: what a log file, or a terminal that is no terminal, shows of a training."""

import time

from lightning import Callback, LightningModule, Trainer


class EpochLines(Callback):
    """Prints `epoch 3/40  train_loss_epoch 1.23  validation_loss 1.31  ...  12 s` after each epoch, on rank 0."""

    def __init__(self) -> None:
        self._start = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line."""
        if not trainer.is_global_zero:
            return
        shown = "  ".join(
            f"{name} {float(value):.3f}"
            for name, value in trainer.callback_metrics.items()
            # train_loss is of one batch, its mean is there too; lr-OPTIMIZER rarely changes.
            if "/" not in name and name != "train_loss" and not name.startswith("lr-")
        )
        limit = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        seconds = time.monotonic() - self._start
        print(f"epoch {trainer.current_epoch + 1}{limit}  {shown}  {seconds:.0f} s", flush=True)
