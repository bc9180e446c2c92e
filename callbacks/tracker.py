"""What follows a training in another program, as a logger of Lightning: when that fails, the training continues."""

import sys
from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import Logger


class Example(NamedTuple):
    """A source of a mixture: sounds float32 [T] within ±1, SI-SDR None where not finite, pictures uint8 [h, w, 3]."""

    mixture: int
    source: str
    model: str
    input_si_sdr_db: float | None
    si_sdr_db: float | None
    mixture_audio: np.ndarray
    truth: np.ndarray
    estimate: np.ndarray
    spectrograms: np.ndarray


class Tracker(Logger, ABC):
    """A logger that logs nothing before its run begins; the first error is printed and ends the logging.

    Args:
        command: `fit`, `validate` or `test`. The numbers of an evaluation are single figures and no curves.
        run: of the other program; it may begin later.

    Attributes:
        step: replaces the trainer's, where given: an evaluation logs at the step of its checkpoint.
    """

    program: ClassVar[str]

    def __init__(self, command: str = "fit", run: Any = None) -> None:
        super().__init__()
        self.command = command
        self.run = run
        self.step: int | None = None

    @abstractmethod
    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Log points of curves."""

    @abstractmethod
    def show_figures(self, figures: Mapping[str, float]) -> None:
        """Show numbers of which a run has one each."""

    @abstractmethod
    def show_rows(self, path: Path) -> None:
        """Show a CSV file as a table of the file's name."""

    @abstractmethod
    def show_examples(self, name: str, examples: Sequence[Example], rate: int, step: int) -> None:
        """Show mixtures to listen to; `rate` in Hz."""

    @property
    def name(self) -> None:
        return None

    @property
    def version(self) -> None:
        return None

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the resolved configuration is in the run's folder, and in W&B."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self.command == "fit":
            self.attempt(self.log, metrics, self.step_of(step))
        else:
            self.attempt(self.show_figures, {name: value for name, value in metrics.items() if name != "epoch"})

    def step_of(self, step: int | None) -> int:
        """Where values of the trainer's step stand."""
        return (step or 0) if self.step is None else self.step

    def attempt(self, action: Callable[..., object], *arguments: Any) -> None:
        """Do something with the run, if it has begun and nothing has failed before."""
        if self.run is None:
            return
        try:
            action(*arguments)
        except Exception as error:  # of whatever kind: no training ends for its diary
            self.run = None
            print(f"{self.program} failed and is left alone: {in_one_line(error)}", file=sys.stderr, flush=True)


def trackers(trainer: Trainer) -> list[Tracker]:
    """The trainer's trackers whose run has begun: at most one, on rank 0."""
    return [logger for logger in trainer.loggers if isinstance(logger, Tracker) and logger.run is not None]


def track_rows(trainer: Trainer, path: Path) -> None:
    """Show a CSV file in what follows the trainer, as a table of the file's name."""
    for tracker in trackers(trainer):
        tracker.attempt(tracker.show_rows, path)


def in_one_line(error: BaseException) -> str:
    """Kind and message of an error."""
    return " ".join(f"{type(error).__name__}: {error}".split())
