"""Rows of a model selection: what every model made of every mixture, and which was picked."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from callbacks.row_evaluation import SPLITS, RowEvaluation
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.jensen_shannon import jensen_shannon
from lightning_modules.deep_clustering.selection import Selection
from lightning_modules.errors import InputError, printable
from lightning_modules.run_files import SCORES_FILE, VALIDATION_SCORES_FILE
from lightning_modules.scores.rows import recordings_field
from lightning_modules.scores.selection_rows import (
    SELECTION_COLUMNS,
    SELECTION_SCORES,
    SIGNAL_FEATURES,
    read_evaluated,
)
from lightning_modules.separation_scores import compare, score_comparison


class SelectionEvaluation(RowEvaluation):
    """Scores of every source of every mixture under every model, for modules whose steps return a `Selection`.

    A test leaves `scores.csv`; a validation, which calibration learns from, `validation_scores.csv`. The true domain is
    the data module's: the models never see it.

    Args:
        folder: of the row files; in a command of `separatrix`, that of the run.
    """

    columns: Sequence[str] = SELECTION_COLUMNS
    files = {"validate": VALIDATION_SCORES_FILE, "test": SCORES_FILE}  # noqa: RUF012

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        score: str = pl_module.score_name
        own = () if score in SELECTION_SCORES else (score,)
        if {*own} & {*SELECTION_COLUMNS, *SIGNAL_FEATURES}:
            raise InputError(f"score_name: {score!r} is a column of its own; choose another name")
        self.columns = (*SELECTION_COLUMNS, *(SIGNAL_FEATURES if pl_module.signal_features else ()), *own)
        super().setup(trainer, pl_module, stage)

    def rows(self, trainer: Trainer, module: Any, outputs: Any, batch: Batch) -> Iterable[Sequence[Any]]:
        """Rows by mixture, then model, then source."""
        names: list[str] = module.names
        labels: list[str] = module.classes
        domain = trainer.datamodule.domain  # type: ignore[attr-defined]
        unprocessed, *found = compare(batch.sources, [batch.mixture.unsqueeze(1), *outputs["estimates"]])
        present = torch.ones_like(unprocessed.si_sdr[:, 0])
        scores = [score_comparison(unprocessed, each.in_best_order(), present, batch.indices, labels) for each in found]
        scored, picked = selection_scores(outputs), outputs["picked"].tolist()
        features = [] if outputs["features"] is None else [outputs["features"].transpose(0, 1)]
        own = [] if module.score_name in SELECTION_SCORES else [outputs["scores"].mT.unsqueeze(-1)]
        further = torch.cat([scored[..., :0], *features, *own], -1).tolist()
        confidences = scored.tolist()
        for place, index in enumerate(batch.indices.tolist()):
            recordings = recordings_field(self._dataset.recordings(index))
            of_mixture = slice(place * len(labels), (place + 1) * len(labels))
            for number, name in enumerate(names):
                confident = *confidences[place][number], int(picked[place] == number), *further[place][number]
                for source, (_, _, left_out, *si_sdr) in enumerate(scores[number][of_mixture]):
                    yield index, domain, recordings, name, source, left_out.value, *si_sdr, *confident

    def report(self, trainer: Trainer, module: Any, path: Path) -> tuple[Table, Iterable[str], dict[str, float]]:
        """Every model's mean SI-SDR and how often it was picked."""
        evaluated = read_evaluated([path])
        split = SPLITS[trainer.state.fn.value]  # type: ignore[union-attr]
        domain = trainer.datamodule.domain  # type: ignore[attr-defined]
        columns = {"si_sdr_db": ("mean SI-SDR, dB", "z.1f", evaluated.si_sdr)}
        for name in ("confidence", *evaluated.own_scores):
            columns[name] = f"mean {name}", ".3f", evaluated.scores[name]
        columns["picked"] = "picked", ".0%", evaluated.picked.astype(float)
        table = Table(escape(f"{domain}, {split}"), *(escape(heading) for heading, _, _ in columns.values()))
        statistics: dict[str, float] = {}
        for number, model in enumerate(evaluated.models):
            cells = []
            for name, (_, form, values) in columns.items():
                known = values[~np.isnan(values[:, number]), number]
                # Where no mixture could be scored, or none has a confidence, there is no mean.
                cells.append(f"{known.mean():{form}}" if len(known) else "")
                if len(known):
                    statistics[f"{split}_{name}/{domain}/{model}"] = float(known.mean())
            table.add_row(escape(printable(model)), *cells)
        return table, (), statistics


def selection_scores(outputs: Selection) -> Tensor:
    """Every model's SELECTION_SCORES of a batch, [B, M, 8]; NaN of a model without embeddings."""
    refit, masks, sources = outputs["refit"], outputs["masks"], outputs["estimates"].shape[2]
    divergence = [
        refit.confidence.new_full(refit.confidence.shape[1:], torch.nan)
        if points is None or labels is None
        else jensen_shannon(points.drawn, labels, sources, points.drawn_audible)
        for points, labels in zip(outputs["points"], outputs["labels"], strict=True)
    ]
    return torch.stack((*refit[:3], *masks[:3], torch.stack(divergence), refit.cluster_balance)).permute(2, 1, 0)
