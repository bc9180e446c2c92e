"""How a command of `separatrix` is followed: curves in its folder, and in Weights & Biases where asked for."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger

from callbacks.audio_examples import AudioExamples
from callbacks.checkpoint_artifacts import CheckpointArtifacts
from callbacks.tracker import Tracker
from callbacks.training_curves import TrainingCurves
from experiments.training.command import LoggerName
from experiments.training.trainer_options import as_list
from experiments.training.wandb_run import wandb_run
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles


def curve_loggers(name: LoggerName, given: Any, run: RunFiles) -> list[Logger]:
    """Loggers of a trainer from its start on. W&B's comes later, with `WandbTracking`.

    Args:
        name: of the project's.
        given: the trainer's option `logger`: loggers instead of the curves in the run's folder, or False for none.
        run: its files.

    Raises:
        InputError: none is wanted, and W&B is.
    """
    if given is False and name == "wandb":
        raise InputError("--trainer.logger false: W&B is asked for; give --logger csv or none, or leave it out")
    if given is False or name == "none":
        return as_list(given)
    # Each start has a folder of its own under `curves`: a resumed run goes on and erases nothing.
    return as_list(given) or [CSVLogger(run.folder, name=run.curves.name)]


def curve_callbacks(name: LoggerName, command: str, run: RunFiles, given: Sequence[Callback]) -> list[Callback]:
    """What is logged besides losses and scores.

    Args:
        name: of the logger.
        command: `fit`, `validate`, `test` or `predict`.
        run: its files.
        given: callbacks of the configuration; of a kind that is among them none is added.
    """
    callbacks: list[Callback] = []
    if name != "none" and command == "fit":
        callbacks += [TrainingCurves(), LearningRates()]
    if name == "wandb":
        callbacks += [AudioExamples(), CheckpointArtifacts(run)]
    kinds = {type(callback) for callback in given}
    return [callback for callback in callbacks if type(callback) not in kinds]


class LearningRates(LearningRateMonitor):
    """Logs each learning rate when its schedule may change it: every step or every epoch; without schedule by epoch."""

    def on_train_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Lightning would log a rate that stays at every step, too."""
        if not trainer.lr_scheduler_configs:
            self.logging_interval = "epoch"
        super().on_train_start(trainer, *args, **kwargs)


class WandbTracking(Callback):
    """Follows a command in the W&B run of its folder, on rank 0.

    The run begins when the command's work does, so that what is refused leaves none. Comes before all callbacks that
    log.

    Args:
        run: its files; None follows nothing.
        command: `fit`, `validate` or `test`.
        group: of runs that belong together.
        configuration: makes the resolved configuration, as plain values.

    Attributes:
        tracker: a logger for the trainer, which logs once the run has begun.
    """

    def __init__(
        self, run: RunFiles | None, command: str, group: str | None, configuration: Callable[[], dict[str, Any]]
    ) -> None:
        self.tracker = Tracker()
        self._run = run
        self._command = command
        self._group = group
        self._configuration = configuration
        self._evaluated_step: int | None = None
        self._open = contextlib.ExitStack()
        self._begun = False

    @contextlib.contextmanager
    def until_finished(self) -> Iterator[None]:
        """Finish the run when the block ends, as failed where it ends badly."""
        with self._open:
            yield

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note at which step an evaluated checkpoint was written."""
        self._evaluated_step = checkpoint["global_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule, stage: str = "") -> None:
        """Begin or go on with the run."""
        if self._run is None or self._begun or not trainer.is_global_zero:
            return
        self._begun = True
        run = self._open.enter_context(wandb_run(self._run, self._command, self._group, self._configuration()))
        self.tracker.begin(run, None if self._command == "fit" else self._evaluated_step)

    # The last one for the tables of an evaluation that had no mixture left, for which the others do not come.
    on_validation_start = on_test_start = teardown = on_train_start
