"""What follows a command in another program: `--logger wandb` or `--logger tensorboard`."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from callbacks.tensorboard_tracker import TensorBoardTracker
from callbacks.tracker import Tracker
from callbacks.wandb_tracker import WandbTracker
from datamodules.mixtures import MixtureDataModule
from experiments.command_line.configurations import PRESETS, options, shipped_name
from experiments.training.wandb_run import log_data, wandb_run
from lightning_modules.run_files import CONFIGURATION_FILE, TEST_FILE, VALIDATION_FILE, RunFiles

TRACKERS: dict[str, type[Tracker]] = {"wandb": WandbTracker, "tensorboard": TensorBoardTracker}


class Tracking(Callback):
    """Follows a command in the run of its folder, on rank 0; comes before all callbacks that log.

    The run begins when the command's work does, so that what is refused leaves none.

    Args:
        run: its files; None follows nothing.
        tracker: logs into the run.
        group: of runs in W&B that belong together.
        name: of the run in W&B.
        configuration: makes the resolved configuration, as plain values.

    Attributes:
        finished: a context manager at whose end the run is finished, as failed after an exception.
    """

    def __init__(
        self,
        run: RunFiles | None,
        tracker: Tracker | None,
        group: str | None,
        name: Callable[[], str],
        configuration: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._run = run
        self._tracker = tracker
        self._group = group
        self._name = name
        self._configuration = configuration
        self.finished = contextlib.ExitStack()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._tracker is not None and self._tracker.command != "fit":
            self._tracker.step = checkpoint["global_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule, stage: str = "") -> None:
        """Begin or resume the run."""
        if self._tracker is None or self._run is None or not trainer.is_global_zero:
            return
        run, self._run = self._run, None
        if isinstance(self._tracker, TensorBoardTracker):
            begins = trainer.global_step if self._tracker.command == "fit" else 0
            self._tracker.run = self.finished.enter_context(tensorboard_run(run, begins))
            return
        command, configuration = self._tracker.command, self._configuration()
        begun = wandb_run(run, command, self._group, configuration, self._name())
        self._tracker.run = self.finished.enter_context(begun)
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, MixtureDataModule):
            self._tracker.attempt(log_data, self._tracker.run, data.description())

    # The last one for the tables of an evaluation that had no mixture left, for which the others do not come.
    on_validation_start = on_test_start = teardown = on_train_start


@contextlib.contextmanager
def tensorboard_run(run: RunFiles, begins: int) -> Iterator[Any]:
    """A writer into the folder's `tensorboard`, where the curves of all starts join.

    A training that resumes begins at an earlier step than a killed one had reached: what that one wrote of the steps
    from there on is hidden.
    """
    from torch.utils.tensorboard import SummaryWriter

    # Seconds: as much as a kill can lose.
    with SummaryWriter(str(run.tensorboard), purge_step=begins or None, flush_secs=15) as writer:
        yield writer


def run_name(arguments: Sequence[str], folder: Path, seed: Any, data_seed: Any) -> str:
    """What a run is called: its experiment, preset and seed, such as `weak_labels/frame small, seed 0`.

    An experiment is the last shipped configuration of a system's row or domain, and files of one's own beside it. That
    of a run that is made again from its resolved configuration is the end of its folder's path.
    """
    given = options(arguments)
    configs = [option[1] for option in given if option[0] == "--config" and len(option) > 1]
    presets = [" ".join(option[1:]) for option in given if option[0] == "--preset"]
    shipped = [shipped_name(config) for config in configs]
    presets += [part for name in shipped for part in name.split("/")[1:-1] if part in PRESETS]
    rows = [name for name in shipped if name.count("/") == 1]
    own = [Path(config).stem for config, name in zip(configs, shipped, strict=True) if not name]
    if not rows or {f"{stem}.yaml" for stem in own} & {CONFIGURATION_FILE, VALIDATION_FILE, TEST_FILE}:
        rows, own = ["/".join(folder.absolute().parts[-2:])], []
    seeds = f"seed {seed}" if data_seed in (None, seed) else f"seeds {seed} and {data_seed}"
    return f"{' '.join([*rows[-1:], *own, *presets[-1:]])}, {seeds}"
