"""Follows a command of `separatrix` in Weights & Biases."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from lightning import Callback, LightningModule, Trainer

from callbacks.tracker import Tracker
from experiments.training.wandb_run import wandb_run
from lightning_modules.run_files import RunFiles


class WandbTracking(Callback):
    """Follows a command in the W&B run of its folder, on rank 0; comes before all callbacks that log.

    The run begins when the command's work does, so that what is refused leaves none.

    Args:
        run: its files; None follows nothing.
        command: `fit`, `validate` or `test`.
        group: of runs that belong together.
        configuration: makes the resolved configuration, as plain values.
    """

    def __init__(
        self, run: RunFiles | None, command: str, group: str | None, configuration: Callable[[], dict[str, Any]]
    ) -> None:
        self.tracker = Tracker()
        self._run = run
        self._command = command
        self._group = group
        self._configuration = configuration
        self._open = contextlib.ExitStack()

    @contextlib.contextmanager
    def until_finished(self) -> Iterator[None]:
        """Finish the run when the block ends, as failed where it ends badly."""
        with self._open:
            yield

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._command != "fit":
            self.tracker.step = checkpoint["global_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule, stage: str = "") -> None:
        """Begin or resume the run."""
        if self._run is not None and trainer.is_global_zero:
            run = wandb_run(self._run, self._command, self._group, self._configuration())
            self.tracker.run, self._run = self._open.enter_context(run), None

    # The last one for the tables of an evaluation that had no mixture left, for which the others do not come.
    on_validation_start = on_test_start = teardown = on_train_start
