"""Evaluations that leave a row file: every mixture once, on any number of ranks, interrupted or not."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning import Callback, LightningModule, Trainer

from callbacks.rows import RowParts
from datamodules.batch import Batch, Split
from lightning_modules.exported_model import weights_digest

SCORES_FILE = "scores.csv"
SPLITS: dict[str, Split] = {"validate": "validation", "test": "test"}


class RowEvaluation(Callback, ABC):
    """Appends the rows of every batch to this rank's part, and merges the parts of all ranks at the end.

    An interrupted evaluation goes on with the mixtures that have no row. Subclasses say what a row is.

    Attributes:
        columns: names of the columns; the first is the mixture's index.
        files: name of the row file in the run's folder, by stage (`validate`, `test`); other stages leave none.
    """

    columns: Sequence[str]
    files: ClassVar[dict[str, str]] = {"test": SCORES_FILE}

    def __init__(self) -> None:
        self._parts: RowParts | None = None
        self._path = Path()
        self._rows = 0  # that this rank wrote, on rank 0 with those that were left
        self._owner: str | None = None  # of the rows

    @abstractmethod
    def rows(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch) -> Iterable[Sequence[Any]]:
        """The rows of a batch."""

    @abstractmethod
    def report(self, trainer: Trainer, module: LightningModule, path: Path) -> None:
        """Show what a complete file of rows says; on rank 0 only."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the rows that an interrupted evaluation left, before its loader is made."""
        self._parts = self._owner = None  # nothing of a stage before is left to do
        if trainer.datamodule is not None:  # type: ignore[attr-defined]
            trainer.datamodule.evaluated = ()  # type: ignore[attr-defined]
        if stage in self.files:
            self._path = Path(trainer.default_root_dir) / self.files[stage]
            self._parts = RowParts(self._path.with_suffix(".parts"), self.columns)
            # What rank 0 finds holds for all: ranks that see different rows would share the rest out differently.
            left = self._parts.read() if trainer.is_global_zero else {}
            self._rows = sum(map(len, left.values()))
            trainer.datamodule.evaluated = trainer.strategy.broadcast(set(left))  # type: ignore[attr-defined]

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to mix rows of two models."""
        if self._parts is not None:
            self._owner = _digest(trainer, pl_module)
            self._parts.belong_to(self._owner)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse to mix rows of two models."""
        self.on_test_start(trainer, pl_module)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Append a batch's rows to this rank's part."""
        if self._parts is not None:
            self._rows += self._parts.append(self.rows(trainer, pl_module, outputs, batch), trainer.global_rank)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Append a batch's rows to this rank's part."""
        self.on_test_batch_end(trainer, pl_module, outputs, batch)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
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
        self.report(trainer, pl_module, self._path)
        self._parts.remove()  # last: killed in its report, an evaluation has that to do again, and nothing else


def _digest(trainer: Trainer, module: LightningModule) -> str:
    """What rows depend on: the model's class, settings, weights and precision, and the data's settings."""
    digest = hashlib.sha256()
    data = trainer.datamodule  # type: ignore[attr-defined]
    split = SPLITS[trainer.state.fn.value]  # type: ignore[union-attr]
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    digest.update(repr((kind, sorted(module.hparams.items()), trainer.precision, data.identity(split))).encode())
    digest.update(weights_digest(module.state_dict()).encode())
    return digest.hexdigest()
