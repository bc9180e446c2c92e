"""What is measured while a separator runs: improvement at every validation, rows of scores in a test."""

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from rich.console import Console
from torch import Tensor

from callbacks.row_evaluation import RowEvaluation
from callbacks.rows import write_rows
from callbacks.summary import Summary, left_out_counts, summarise, summary_table
from callbacks.tracked_tables import track_rows
from datamodules.batch import Batch
from lightning_modules.errors import printable
from lightning_modules.mixture_mean import MixtureMean
from lightning_modules.separation_scores import LeftOut, Score, compare, score_comparison

SCORE_COLUMNS = ("index", "class", "left_out", "input_si_sdr_db", "si_sdr_db", "improvement_db")
SUMMARY_FILE = "summary.csv"


def score_row(score: Score) -> tuple[Any, ...]:
    """A score as a line of the row file."""
    improvement = score.si_sdr - score.input_si_sdr
    return score.mixture, score.label, score.left_out.value, score.input_si_sdr, score.si_sdr, improvement


class SeparationEvaluation(RowEvaluation):
    """SI-SDR of a separator's estimates, for modules whose validation and test steps return them, [B, C, T].

    In validation the mean improvement is logged, overall and per class: shown, for a weak system must not follow it. In
    a test every present class of every mixture becomes a row of `scores.csv` in the run's folder.
    """

    columns = SCORE_COLUMNS

    def __init__(self) -> None:
        super().__init__()
        self._improvements: dict[str, array[float]] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start new means."""
        self._improvements = {label: array("d") for label in _classes(pl_module)}

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Score a batch's estimates."""
        for score in _scores(pl_module, outputs, batch):
            if score.left_out is LeftOut.NO:
                self._improvements[score.label].append(score.si_sdr - score.input_si_sdr)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the mean improvement over all ranks."""
        of_class = self._improvements
        groups: dict[str, Iterable[float]] = {"validation_improvement_db": chain.from_iterable(of_class.values())}
        groups |= {f"validation_improvement_db/{label}": improvements for label, improvements in of_class.items()}
        means = {}
        for name, improvements in groups.items():
            mean = MixtureMean().to(pl_module.device)
            mean.update(torch.tensor(list(improvements), device=pl_module.device))
            means[name] = mean.compute().float()
        pl_module.log_dict({name: mean for name, mean in means.items() if not mean.isnan()})  # NaN: none was scored

    def rows(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch) -> Iterable[Sequence[Any]]:
        """A row for every present class of every mixture."""
        return map(score_row, _scores(module, outputs, batch))

    def report(self, trainer: Trainer, module: LightningModule, path: Path) -> None:
        """Print and log the means, and write them to `summary.csv`."""
        summaries = summarise(path, _classes(module))
        console = Console(emoji=False)
        console.print(summary_table(summaries))
        for reason, count in left_out_counts(path).items():
            console.print(f"left out: {count} rows, {printable(reason)}", markup=False)
        console.print(f"rows: {path}", markup=False)
        write_rows(path.with_name(SUMMARY_FILE), Summary._fields, summaries)
        statistics = {
            f"test_{summary.quantity}_{name}/{summary.label}": float(getattr(summary, name))
            for summary in summaries
            for name in ("mean", "std", "median", "n")
        }
        for logger in trainer.loggers:
            logger.log_metrics(statistics)
        for file in (path, path.with_name(SUMMARY_FILE)):
            track_rows(trainer, file)


def _classes(module: LightningModule) -> list[str]:
    return list(module.classes)  # type: ignore[arg-type]


def _scores(module: LightningModule, estimates: Tensor, batch: Batch) -> list[Score]:
    heard, found = compare(batch.sources, [batch.mixture.unsqueeze(1), estimates])
    if module.permutation_invariant:
        found = found.in_best_order()
    return score_comparison(heard, found, batch.clip_labels, batch.indices, _classes(module))
