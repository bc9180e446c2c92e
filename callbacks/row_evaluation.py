"""Evaluations that leave a row file: every mixture once, on any number of ranks, interrupted or not."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning import Trainer
from rich.console import Console
from rich.table import Table

from callbacks.returned_scores import ReturnedScores
from callbacks.row_parts import RowParts
from callbacks.tracker import track_rows
from lightning_modules.batch import Batch, Split
from lightning_modules.errors import InputError
from lightning_modules.exported_model import weights_digest
from lightning_modules.run_files import SCORES_FILE, RunFiles

SPLITS: dict[str, Split] = {"validate": "validation", "test": "test"}


class RowEvaluation(ReturnedScores, ABC):
    """Appends the rows of every batch to this rank's part, and merges the parts of all ranks at the end.

    An interrupted evaluation resumes with the mixtures that have no row. `Trainer.test` returns, on rank 0, what the
    table says. Subclasses say what a row is.

    Args:
        folder: of the row files; in a command of `separatrix`, that of the run.

    Attributes:
        columns: names of the columns; the first is the mixture's index.
        files: name of the row file, by stage (`validate`, `test`); other stages leave none.
    """

    columns: Sequence[str]
    files: ClassVar[dict[str, str]] = {"test": SCORES_FILE}

    def __init__(self, folder: str | None = None) -> None:
        super().__init__()
        self.folder = folder
        self._parts: RowParts | None = None
        self._path = Path()
        self._rows = 0  # that this rank wrote, on rank 0 with those that were left
        self._owner: str | None = None  # of the rows
        self._dataset: Any = None  # the mixtures under evaluation, of the project's data modules

    @abstractmethod
    def rows(self, trainer: Trainer, module: Any, outputs: Any, batch: Batch) -> Iterable[Sequence[Any]]:
        """The rows of a batch."""

    @abstractmethod
    def report(self, trainer: Trainer, module: Any, path: Path) -> tuple[Table, Iterable[str], dict[str, float]]:
        """What a complete file of rows says: a table, lines below it, and values to log; on rank 0 only."""

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        self._parts = self._owner = None  # nothing of a stage before is left to do
        done: set[int] = set()
        if stage in self.files:
            if not hasattr(trainer.datamodule, "signature"):  # type: ignore[attr-defined]
                needed = "its rows name mixtures of a data module, such as UrbanScenes; loaders alone have none"
                raise InputError(f"{type(self).__name__}: {needed}")
            self._path = Path(self.folder or "") / self.files[stage]
            self._parts = RowParts(RunFiles.parts(self._path), self.columns)
            # What rank 0 finds holds for all: ranks that see different rows would share the rest out differently.
            left = self._parts.read() if trainer.is_global_zero else {}
            self._rows = sum(map(len, left.values()))
            done = trainer.strategy.broadcast(set(left))
            dataset = getattr(trainer.datamodule, "dataset", None)  # type: ignore[attr-defined]
            self._dataset = dataset and dataset(SPLITS[stage])
        leave_out = getattr(trainer.datamodule, "leave_out", None)  # type: ignore[attr-defined]
        if leave_out is not None:  # of the project's data modules
            leave_out(done)

    def on_test_start(self, trainer: Trainer, pl_module: Any) -> None:
        super().on_test_start(trainer, pl_module)
        if self._parts is not None:
            self._owner = _digest(trainer, pl_module)
            self._parts.belong_to(self._owner)

    def on_test_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        if self._parts is not None:
            self._rows += self._parts.append(self.rows(trainer, pl_module, outputs, batch), trainer.global_rank)

    on_validation_start = on_test_start
    on_validation_batch_end = on_test_batch_end  # type: ignore[assignment]

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Merge all ranks' rows into one file and show what they say.

        Lightning skips every hook of the test itself on a rank for which no mixture was left; this one comes always.
        """
        if self._parts is None:
            return
        self._parts.close()
        # Rank 0 waits here for the rows of all. The module has left the device already; the ranks still meet on it.
        rows = trainer.strategy.reduce(torch.tensor(self._rows, device=trainer.strategy.root_device), reduce_op="sum")
        if not trainer.is_global_zero:
            return
        self._parts.belong_to(self._owner or _digest(trainer, pl_module))
        self._parts.merge(self._path, int(rows))
        table, lines, statistics = self.report(trainer, pl_module, self._path)
        for column in table.columns:
            column.overflow = "fold"  # in a narrow terminal nothing is cut
        Console(emoji=False).print(table)
        print(*lines, f"rows: {self._path}", sep="\n")
        for logger in trainer.loggers:
            logger.log_metrics(statistics)
        self.return_scores(statistics)
        track_rows(trainer, self._path)
        self._parts.remove()  # last: killed in its report, an evaluation has that to do again, and nothing else


def _digest(trainer: Trainer, module: Any) -> str:
    """What rows depend on: the model's class, settings, weights and precision, and the data's settings."""
    digest = hashlib.sha256()
    data = trainer.datamodule  # type: ignore[attr-defined]
    split = SPLITS[trainer.state.fn.value]  # type: ignore[union-attr]
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    digest.update(repr((kind, sorted(module.hparams.items()), trainer.precision, data.signature(split))).encode())
    digest.update(weights_digest(module.state_dict()).encode())
    return digest.hexdigest()
