"""Rows of a model selection: what every model made of every mixture, and which was picked."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from callbacks.row_evaluation import SCORES_FILE, SPLITS, RowEvaluation
from callbacks.selection_rows import MEASURES, SELECTION_COLUMNS, SEPARATOR, read_evaluated
from callbacks.tracked_tables import track_rows
from datamodules.batch import Batch
from lightning_modules.deep_clustering.jensen_shannon import jensen_shannon
from lightning_modules.errors import InputError, printable
from lightning_modules.separation_scores import compare, score_comparison

VALIDATION_SCORES_FILE = "validation_scores.csv"


class SelectionEvaluation(RowEvaluation):
    """Scores of every source of every mixture under every model, for modules whose steps return a `Selection`.

    A test leaves `scores.csv` in the run's folder; a validation, which calibration learns from,
    `validation_scores.csv`. The true domain is the data module's: the models never see it.
    """

    columns: Sequence[str] = SELECTION_COLUMNS
    files = {"validate": VALIDATION_SCORES_FILE, "test": SCORES_FILE}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._dataset: Any = None  # the mixtures under evaluation

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the mixtures of an evaluation before; name the columns.

        Raises:
            InputError: the measure that picks is called like another column.
        """
        measure: str = pl_module.measure  # type: ignore[assignment]
        if measure not in MEASURES and measure in SELECTION_COLUMNS:
            raise InputError(f"measure: {measure!r} is a column of its own; choose another name")
        self.columns = SELECTION_COLUMNS if measure in MEASURES else (*SELECTION_COLUMNS, measure)
        super().setup(trainer, pl_module, stage)
        self._dataset = None

    def rows(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch) -> Iterable[Sequence[Any]]:
        """Rows by mixture, then model, then source."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self._dataset is None:
            self._dataset = data.dataset(SPLITS[trainer.state.fn.value])  # type: ignore[union-attr]
        names: list[str] = module.names  # type: ignore[assignment]
        labels: list[str] = module.classes  # type: ignore[assignment]
        heard, *found = compare(batch.sources, [batch.mixture.unsqueeze(1), *outputs["estimates"]])
        present = torch.ones_like(heard.si_sdr[:, 0])
        scores = [score_comparison(heard, each.in_best_order(), present, batch.indices, labels) for each in found]
        measures, picked = _measures(outputs, len(labels)).tolist(), outputs["picked"].tolist()
        trust = outputs["trust"].mT.unsqueeze(-1)[..., : len(self.columns) - len(SELECTION_COLUMNS)].tolist()
        for place, index in enumerate(batch.indices.tolist()):
            recordings = SEPARATOR.join(name.replace(SEPARATOR, "/") for name in self._dataset.recordings(index))
            of_mixture = slice(place * len(labels), (place + 1) * len(labels))
            for number, name in enumerate(names):
                confident = *measures[place][number], int(picked[place] == number), *trust[place][number]
                for source, (_, _, left_out, *si_sdr) in enumerate(scores[number][of_mixture]):
                    yield index, data.domain, recordings, name, source, left_out.value, *si_sdr, *confident

    def report(self, trainer: Trainer, module: LightningModule, path: Path) -> None:
        """Print and log every model's mean SI-SDR and how often it was picked."""
        evaluated = read_evaluated([path])
        split = SPLITS[trainer.state.fn.value]  # type: ignore[union-attr]
        domain = trainer.datamodule.domain  # type: ignore[attr-defined]
        shown_measures = ("confidence", *evaluated.own_measures)
        headings = (f"mean {escape(name)}" for name in shown_measures)
        table = Table(f"{escape(domain)}, {split}", "mean SI-SDR, dB", *headings, "picked")
        statistics: dict[str, float] = {}
        for number, model in enumerate(evaluated.models):
            values = {
                "si_sdr_db": evaluated.si_sdr[:, number],
                **{name: evaluated.measures[name][:, number] for name in shown_measures},
                "picked": evaluated.picked[:, number],
            }
            # Where no mixture could be scored, or none has a confidence, there is no mean.
            means = {name: float(known.mean()) for name, all_ in values.items() if len(known := all_[all_ == all_])}
            forms = {"si_sdr_db": ".1f", "picked": ".0%"}
            shown = (f"{means[name]:{forms.get(name, '.3f')}}" if name in means else "" for name in values)
            table.add_row(escape(printable(model)), *shown)
            statistics |= {f"{split}_{quantity}/{domain}/{model}": value for quantity, value in means.items()}
        console = Console(emoji=False)
        console.print(table)
        console.print(f"rows: {path}", markup=False)
        for logger in trainer.loggers:
            logger.log_metrics(statistics)
        track_rows(trainer, path)


def _measures(outputs: Any, sources: int) -> Tensor:
    """Every model's MEASURES of a batch, [B, M, 8]."""
    refit, masks = outputs["refit"], outputs["masks"]
    divergence = [
        jensen_shannon(points.drawn, labels, sources, points.drawn_audible)
        for points, labels in zip(outputs["points"], outputs["labels"], strict=True)
    ]
    return torch.stack((*refit[:3], *masks[:3], torch.stack(divergence), refit.cluster_balance)).permute(2, 1, 0)
