"""What is measured while a separator runs: improvement at every validation, rows of scores in a test."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from rich.markup import escape
from rich.table import Table

from callbacks.row_evaluation import RowEvaluation
from callbacks.tracker import track_rows
from lightning_modules.batch import Batch
from lightning_modules.errors import InputError, printable
from lightning_modules.mixture_mean import MixtureMean
from lightning_modules.run_files import RunFiles
from lightning_modules.scores import RESIDUAL
from lightning_modules.scores.rows import recordings_field, write_rows
from lightning_modules.scores.summary import RECORDINGS, SCORE_COLUMNS, Summary, left_out_counts, summarise
from lightning_modules.separation_scores import (
    LeftOut,
    Score,
    compare,
    parent_scores,
    require_estimates,
    score_comparison,
    with_residual,
)


def score_row(score: Score) -> tuple[Any, ...]:
    """A score as a line of the row file."""
    improvement = score.si_sdr - score.input_si_sdr
    return score.mixture, score.label, score.left_out.value, score.input_si_sdr, score.si_sdr, improvement


class SeparationEvaluation(RowEvaluation):
    """SI-SDR of a separator's estimates, for modules whose validation and test steps return them, [B, C, T].

    In validation the mean improvement is logged, overall and per class: shown, for a weak system must not follow it. In
    a test every present class of every mixture becomes a row of `scores.csv`. Where mixtures may hold sounds of no
    class, what the estimates leave of them is scored against these sounds, as `residual`; the parents of the data's
    hierarchy are scored as the sums of their children. Neither is in the overall.

    Args:
        folder: of the row files; in a command of `separatrix`, that of the run.
    """

    columns = (*SCORE_COLUMNS, RECORDINGS)

    def __init__(self, folder: str | None = None) -> None:
        super().__init__(folder)
        self._improvements: list[tuple[str, float]] = []
        self._parents: dict[str, list[int]] = {}

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        if not hasattr(pl_module, "classes"):
            kind = type(pl_module).__name__
            raise InputError(f"SeparationEvaluation: a {kind} has no `classes`, names of the sources; give it some")
        super().setup(trainer, pl_module, stage)
        self._parents = getattr(trainer.datamodule, "parents", {})  # type: ignore[attr-defined]

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._improvements = []

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        scores = (score for score in self._scores(pl_module, outputs, batch) if score.left_out is LeftOut.NO)
        self._improvements += [(score.label, score.si_sdr - score.input_si_sdr) for score in scores]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        name = "validation_improvement_db"
        for label in ("", *pl_module.classes, RESIDUAL, *self._parents):
            labels = (label,) if label else pl_module.classes
            improvements = [improvement for of, improvement in self._improvements if of in labels]
            mean = MixtureMean().to(pl_module.device)
            mean.update(torch.tensor(improvements, device=pl_module.device))
            value = mean.compute().float()
            if not value.isnan():  # NaN: none was scored
                pl_module.log(f"{name}/{label}" if label else name, value)

    def rows(self, trainer: Trainer, module: Any, outputs: Any, batch: Batch) -> Iterable[Sequence[Any]]:
        """A row for every present class of every mixture."""
        sources = {label: [place] for place, label in enumerate((*module.classes, RESIDUAL))} | self._parents
        for score in self._scores(module, outputs, batch):
            made_of = sources[score.label] if self._dataset else ()
            recordings = [name for source in made_of for name in self._dataset.recordings(score.mixture, source)]
            yield *score_row(score), recordings_field(list(dict.fromkeys(recordings)))

    def report(self, trainer: Trainer, module: Any, path: Path) -> tuple[Table, Iterable[str], dict[str, float]]:
        """Means, which `summary.csv` holds too, and how many rows have none."""
        summaries = summarise(path, module.classes)
        summary_path = RunFiles(path.parent).summary
        write_rows(summary_path, Summary._fields, summaries)
        track_rows(trainer, summary_path)
        left_out = [
            f"left out: {count} row{'s' * (count > 1)}, {printable(reason)}"
            for reason, count in left_out_counts(path).items()
        ]
        statistics = {
            f"test_{summary.quantity}_{name}/{summary.label}": float(getattr(summary, name))
            for summary in summaries
            for name in ("mean", "std", "median", "n")
        }
        return summary_table(summaries), left_out, statistics

    def _scores(self, module: Any, estimates: Any, batch: Batch) -> list[Score]:
        require_estimates(type(module).__name__, estimates, batch.mixture, len(module.classes))
        of_parents = parent_scores(batch, estimates, self._parents)
        batch, estimates, names = with_residual(batch, estimates, module.classes)
        unprocessed, found = compare(batch.sources, [batch.mixture.unsqueeze(1), estimates])
        if module.permutation_invariant:
            found = found.in_best_order()
        return score_comparison(unprocessed, found, batch.clip_labels, batch.indices, names) + of_parents


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Means ± standard deviations, a line for each class, for a terminal."""
    quantities = list(dict.fromkeys(summary.quantity for summary in summaries))
    table = Table("SI-SDR, dB", *quantities, "median improvement", "n")
    for label in dict.fromkeys(summary.label for summary in summaries):
        of = {summary.quantity: summary for summary in summaries if summary.label == label}
        means = (f"{of[quantity].mean:z.1f} ± {of[quantity].std:z.1f}" for quantity in quantities)
        table.add_row(escape(label), *means, f"{of['improvement'].median:z.1f}", str(of["improvement"].n))
    return table
