"""How good a classifier is: average precision, F1 and accuracy per class, at frame and at clip level."""

import math
from typing import Any

import torch
from lightning import Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAccuracy, MultilabelAveragePrecision, MultilabelF1Score

from callbacks.returned_scores import ReturnedScores
from callbacks.tracker import track_rows
from lightning_modules.batch_invariance import sigmoid
from lightning_modules.run_files import RunFiles
from lightning_modules.scores.rows import write_rows
from lightning_modules.scores.summary import CLASSIFIER_COLUMNS
from lightning_modules.weak_labels.labels import clip_logits


class ClassifierScores(ReturnedScores):
    """Scores of an EventClassifier, at its own frame rate and per clip (maximum over frames).

    Parents in a hierarchy have theirs, too; labels that nobody has given count for none. Validation logs the mean
    average precision; a test writes `classifier.csv`, and `Trainer.test` returns its scores.

    Args:
        folder: of the file; in a command of `separatrix`, that of the run.
    """

    def __init__(self, folder: str | None = None) -> None:
        super().__init__()
        self.folder = folder
        self._scores: dict[str, float] = {}  # of a test
        self._metrics: dict[str, MetricCollection] = {}
        self._seen: dict[str, torch.Tensor] = {}  # frames or clips of each level, and those that hold a class, [2, C]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        labels = len(pl_module.tree.names)
        settings: Any = {"average": None, "validate_args": False}  # which refuses a single label
        scores = {
            "average_precision": MultilabelAveragePrecision(labels, **settings),
            "f1": MultilabelF1Score(labels, **settings),
            "accuracy": MultilabelAccuracy(labels, **settings),
        }
        device = pl_module.device
        self._metrics = {level: MetricCollection(dict(scores)).clone().to(device) for level in ("frame", "clip")}
        self._seen = {level: torch.zeros(2, labels, dtype=torch.int64, device=device) for level in self._metrics}

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        logits, labels = outputs["logits"], outputs["frame_labels"]
        self._update("frame", sigmoid(logits).mT.flatten(0, 1), labels.mT.flatten(0, 1))
        self._update("clip", sigmoid(clip_logits(logits)), outputs["clip_labels"])

    def _update(self, level: str, scores: torch.Tensor, labels: torch.Tensor) -> None:
        # What nobody has labelled is a negative of the lowest score, which changes no precision: in validation alone.
        scores, labels = scores.masked_fill(labels.isnan(), 0), labels.nan_to_num(0)
        self._metrics[level].update(scores, labels.int())
        self._seen[level] += torch.stack((torch.full_like(labels[0], len(labels)), labels.sum(0))).long()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        for level, metrics in self._metrics.items():
            precisions = metrics.compute()["average_precision"]
            precision = precisions[precisions > 0].mean()  # of classes that occur, as far as labels tell
            if not precision.isnan():  # none does
                pl_module.log(f"validation_{level}_average_precision", precision, prog_bar=level == "frame")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.on_validation_epoch_start(trainer, pl_module)
        if trainer.is_global_zero:  # beside an interrupted test an earlier one's table would be of other weights
            RunFiles(self.folder or "").classifier_scores.unlink(missing_ok=True)

    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        table = Table(*(column.replace("_", " ") for column in CLASSIFIER_COLUMNS[1:]))
        rows = []
        for level, metrics in self._metrics.items():
            values = metrics.compute()
            seen = trainer.strategy.reduce(self._seen[level], reduce_op="sum")
            for i, label in enumerate(pl_module.tree.names):
                # A class that never occurs, or was never predicted, has no average precision.
                computed = (float(values[name].reshape(-1)[i]) for name in CLASSIFIER_COLUMNS[3:6])
                scores = ["" if math.isnan(score) else score for score in computed]
                counts = [int(count) for count in seen[:, i]]
                rows.append((pl_module.hparams["supervision"], level, label, *scores, *counts))
                shown = (f"{score:.3f}" if isinstance(score, float) else score for score in scores)
                table.add_row(level, escape(label), *shown, *map(str, counts))
        self._scores = {
            f"test_{level}_{name}/{label}": score
            for _, level, label, *scores in rows
            for name, score in zip(CLASSIFIER_COLUMNS[3:6], scores, strict=False)
            if score != ""
        }
        if trainer.is_global_zero:
            path = RunFiles(self.folder or "").classifier_scores
            write_rows(path, CLASSIFIER_COLUMNS, rows)
            track_rows(trainer, path)
            for column in table.columns:
                column.overflow = "fold"
            Console(emoji=False).print(table)
            print(f"scores: {path}")

    def teardown(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if stage == "test":
            self.return_scores(self._scores)
