"""Rows of a model selection: what every model made of every mixture, and which was picked."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from callbacks.row_evaluation import SCORES_FILE, SPLITS, RowEvaluation
from callbacks.selection_rows import SELECTION_COLUMNS, SEPARATOR, read_evaluated
from callbacks.separation_scores import in_best_order, score_separation
from callbacks.tracked_tables import track_rows
from datamodules.batch import Batch
from lightning_modules.deep_clustering.jensen_shannon import jensen_shannon
from lightning_modules.errors import printable

VALIDATION_SCORES_FILE = "validation_scores.csv"


class SelectionEvaluation(RowEvaluation):
    """Scores of every source of every mixture under every model, for modules whose steps return a `Selection`.

    A test leaves `scores.csv` in the run's folder; a validation, which calibration learns from,
    `validation_scores.csv`. The true domain is the data module's: the models never see it.
    """

    columns = SELECTION_COLUMNS
    files = {"validate": VALIDATION_SCORES_FILE, "test": SCORES_FILE}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._dataset: Any = None  # the mixtures under evaluation

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the mixtures of an evaluation before."""
        super().setup(trainer, pl_module, stage)
        self._dataset = None

    def rows(self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Batch) -> Iterable[Sequence[Any]]:
        """Rows by mixture, then model, then source."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self._dataset is None:
            self._dataset = data.dataset(SPLITS[trainer.state.fn.value])  # type: ignore[union-attr]
        made_of = {
            index: SEPARATOR.join(name.replace(SEPARATOR, "/") for name in self._dataset.recordings(index))
            for index in batch.indices.tolist()
        }
        by_model = [
            self._rows_of_model(number, name, data.domain, module, outputs, batch)
            for number, name in enumerate(module.names)  # type: ignore[arg-type]
        ]
        for of_mixture in zip(*by_model, strict=True):
            for rows in of_mixture:
                for index, domain, *rest in rows:
                    yield index, domain, made_of[index], *rest

    def _rows_of_model(
        self, number: int, name: str, domain: str, module: LightningModule, outputs: Any, batch: Batch
    ) -> Iterator[list[tuple[Any, ...]]]:
        """One model's rows without the recordings, a list for each mixture."""
        labels: list[str] = module.classes  # type: ignore[assignment]
        estimates = in_best_order(outputs["estimates"][number], batch.sources)
        present = batch.sources.new_ones(batch.sources.shape[:2])
        scores = score_separation(batch.mixture, batch.sources, estimates, present, batch.indices, labels)
        refit, masks = outputs["refit"], outputs["masks"]
        loud, clusters = outputs["points"][number], outputs["labels"][number]
        divergence = jensen_shannon(loud.drawn, clusters, len(labels), loud.drawn_audible)
        confidences = [measure[number] for measure in (*refit[:3], *masks[:3])]
        columns = [measure.tolist() for measure in (*confidences, divergence, refit.cluster_balance[number])]
        picked = (outputs["picked"] == number).int().tolist()
        for mixture, begin in enumerate(range(0, len(scores), len(labels))):
            confident = [column[mixture] for column in columns]
            yield [
                (
                    score.mixture,
                    domain,
                    name,
                    source,
                    score.left_out.value,
                    score.input_si_sdr,
                    score.si_sdr,
                    *confident,
                    picked[mixture],
                )
                for source, score in enumerate(scores[begin : begin + len(labels)])
            ]

    def report(self, trainer: Trainer, module: LightningModule, path: Path) -> None:
        """Print and log every model's mean SI-SDR and how often it was picked."""
        evaluated = read_evaluated([path])
        split = SPLITS[trainer.state.fn.value]  # type: ignore[union-attr]
        domain = trainer.datamodule.domain  # type: ignore[attr-defined]
        table = Table(f"{escape(domain)}, {split}", "mean SI-SDR, dB", "mean confidence", "picked")
        statistics: dict[str, float] = {}
        for number, model in enumerate(evaluated.models):
            values = {
                "si_sdr_db": evaluated.si_sdr[:, number],
                "confidence": evaluated.confidence[:, number],
                "picked": evaluated.picked[:, number],
            }
            # Where no mixture could be scored, or none has a confidence, there is no mean.
            means = {name: float(known.mean()) for name, all_ in values.items() if len(known := all_[all_ == all_])}
            forms = {"si_sdr_db": ".1f", "confidence": ".3f", "picked": ".0%"}
            shown = (f"{means[name]:{form}}" if name in means else "" for name, form in forms.items())
            table.add_row(escape(printable(model)), *shown)
            statistics |= {f"{split}_{quantity}/{domain}/{model}": value for quantity, value in means.items()}
        console = Console(emoji=False)
        console.print(table)
        console.print(f"rows: {path}", markup=False)
        for logger in trainer.loggers:
            logger.log_metrics(statistics)
        track_rows(trainer, path)
