"""How good a judge is: average precision, F1 and accuracy per class, at frame and at clip level."""

import math
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torchmetrics import MetricCollection
from torchmetrics.classification import MultilabelAccuracy, MultilabelAveragePrecision, MultilabelF1Score

from callbacks.rows import write_rows
from callbacks.tracked_tables import track_rows
from lightning_modules.activation import sigmoid
from lightning_modules.weak_labels.classifier_module import Judgement
from lightning_modules.weak_labels.labels import clip_logits

CLASSIFIER_COLUMNS = ("supervision", "level", "class", "average_precision", "f1", "accuracy", "n", "positives")
CLASSIFIER_FILE = "classifier.csv"


class ClassifierScores(Callback):
    """Scores of an EventClassifier, at its own frame rate and per clip (maximum over frames).

    Validation logs the mean average precision; a test writes `classifier.csv` into the run's folder.
    """

    scores_tests = True  # the module itself need not

    def __init__(self) -> None:
        self._metrics: dict[str, MetricCollection] = {}
        self._seen: dict[str, torch.Tensor] = {}

    def _start(self, module: LightningModule) -> None:
        labels = len(module.classes)  # type: ignore[arg-type]
        self._metrics = {
            level: MetricCollection(
                {
                    "average_precision": MultilabelAveragePrecision(labels, average=None),
                    "f1": MultilabelF1Score(labels, average=None),
                    "accuracy": MultilabelAccuracy(labels, average=None),
                }
            ).to(module.device)
            for level in ("frame", "clip")
        }
        self._seen = {level: torch.zeros(2, labels, dtype=torch.int64, device=module.device) for level in self._metrics}

    def _update(self, judgement: Judgement) -> None:
        frames = sigmoid(judgement["logits"])
        labels = judgement["frame_labels"]
        for level, scores, truth in (
            ("frame", frames.mT.flatten(0, 1), labels.mT.flatten(0, 1)),
            ("clip", sigmoid(clip_logits(judgement["logits"])), judgement["clip_labels"]),
        ):
            self._metrics[level].update(scores, truth.int())
            self._seen[level] += torch.stack((torch.full_like(truth[0], len(truth)), truth.sum(0))).long()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last epoch."""
        self._start(pl_module)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Take a batch's answers."""
        self._update(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the mean average precision over classes."""
        for level, metrics in self._metrics.items():
            precision = metrics.compute()["average_precision"].nanmean()
            if not precision.isnan():  # no class occurs in the validation mixtures
                pl_module.log(f"validation_{level}_average_precision", precision, prog_bar=level == "frame")

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a test; an earlier one's table goes: beside an interrupted test it would be of other weights."""
        self._start(pl_module)
        if trainer.is_global_zero:
            (Path(trainer.default_root_dir) / CLASSIFIER_FILE).unlink(missing_ok=True)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Take a batch's answers."""
        self._update(outputs)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and show the table."""
        table = Table(*CLASSIFIER_COLUMNS[1:])
        rows = []
        for level, metrics in self._metrics.items():
            values = metrics.compute()
            seen = trainer.strategy.reduce(self._seen[level], reduce_op="sum")
            for i, label in enumerate(pl_module.classes):  # type: ignore[arg-type]
                # A class that never occurs, or was never predicted, has no average precision.
                computed = (float(values[name][i]) for name in CLASSIFIER_COLUMNS[3:6])
                scores = ["" if math.isnan(score) else score for score in computed]
                counts = [int(count) for count in seen[:, i]]
                rows.append((pl_module.hparams["supervision"], level, label, *scores, *counts))
                shown = (f"{score:.3f}" if isinstance(score, float) else score for score in scores)
                table.add_row(level, escape(label), *shown, *map(str, counts))
        if trainer.is_global_zero:
            path = Path(trainer.default_root_dir) / CLASSIFIER_FILE
            write_rows(path, CLASSIFIER_COLUMNS, rows)
            track_rows(trainer, path)
            console = Console(emoji=False)
            console.print(table)
            console.print(f"scores: {path}", markup=False)
