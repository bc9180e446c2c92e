"""A run of Weights & Biases as a logger of Lightning: when W&B fails, the training continues without it."""

import math
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer
from lightning.pytorch.loggers import Logger

from lightning_modules.scores.rows import read_table

if TYPE_CHECKING:
    from wandb import Run

# What a browser still shows; W&B itself draws the line at 10,000 rows.
MOST_ROWS = 5000


class Tracker(Logger):
    """A logger that logs nothing before its run begins; the first error of W&B is printed and ends the logging.

    Attributes:
        run: of W&B, once it has begun.
        step: replaces the trainer's, where given: an evaluation logs at the step of its checkpoint.
    """

    def __init__(self, run: "Run | None" = None, step: int | None = None) -> None:
        super().__init__()
        self.run: Any = run
        self.step = step

    @property
    def name(self) -> None:
        return None

    @property
    def version(self) -> None:
        return None

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run has the resolved configuration already."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log numbers, tables or media."""
        at = step if self.step is None else self.step
        self.attempt(lambda: self.run.log({**metrics, "trainer/global_step": at}))

    def attempt(self, action: Callable[..., object], *arguments: Any) -> None:
        """Do something with the run, if it has begun and W&B has not failed before."""
        if self.run is None:
            return
        try:
            action(*arguments)
        except Exception as error:  # of whatever kind: no training ends for its diary
            self.run = None
            print(f"W&B failed and is left alone: {in_one_line(error)}", file=sys.stderr, flush=True)


def trackers(trainer: Trainer) -> list[Tracker]:
    """The trainer's loggers of W&B whose run has begun: at most one, on rank 0."""
    return [logger for logger in trainer.loggers if isinstance(logger, Tracker) and logger.run is not None]


def track_rows(trainer: Trainer, path: Path) -> None:
    """Show a CSV file in the trainer's W&B run, if it has one, as a table of the file's name."""
    for tracker in trackers(trainer):
        tracker.attempt(show_rows, tracker, path)


def show_rows(tracker: Tracker, path: Path) -> None:
    """Log a CSV file as a table; with more than `MOST_ROWS` rows as a file, an artifact of type `rows`.

    A column of numbers holds numbers, and None where there is none or it is not finite.
    """
    import wandb

    rows = read_table(path)
    if len(rows) > MOST_ROWS:
        artifact = wandb.Artifact(f"{path.stem}-{tracker.run.id}", "rows", metadata={"rows": len(rows)})
        artifact.add_file(str(path))
        tracker.run.log_artifact(artifact)
        return
    columns = [_values(rows[column]) for column in rows]
    table = wandb.Table(columns=list(rows), data=[list(row) for row in zip(*columns, strict=True)])
    tracker.log_metrics({f"tables/{path.stem}": table})


def _values(texts: Any) -> list[Any]:
    try:
        numbers = [float(text) if text else None for text in texts]
    except ValueError:
        return list(texts)
    return [number if number is None or math.isfinite(number) else None for number in numbers]


def in_one_line(error: BaseException) -> str:
    """Kind and message of an error."""
    return " ".join(f"{type(error).__name__}: {error}".split())
