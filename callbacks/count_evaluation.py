"""Rows of a search for the number of sources: what a model made of every mixture for each number."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from callbacks.row_evaluation import SPLITS, RowEvaluation
from callbacks.tracker import track_rows
from lightning_modules.batch import Batch
from lightning_modules.exported_model import weights_digest
from lightning_modules.run_files import (
    COUNT_SCORES_FILE,
    VALIDATION_COUNT_SCORES_FILE,
    RunFiles,
    evaluated_weights,
)
from lightning_modules.scores.rows import recordings_field, write_rows
from lightning_modules.scores.source_counts import (
    ALL,
    COUNT_COLUMNS,
    ESTIMATING,
    KNOWN,
    CountedMixtures,
    CountScore,
    count_scores,
    picks,
    read_counted,
)
from lightning_modules.separation_scores import LeftOut, Score, compare, score_comparison

RULES = {
    "confidence": "by confidence",
    "silhouette": "by silhouette alone",
    "standardised": "by standardised confidence",
    KNOWN: "known number",
    "best": "by SI-SDR",
}


class CountEvaluation(RowEvaluation):
    """Scores of every mixture's separation into each number of sources, for modules whose steps return a `Counted`.

    A test leaves `count_scores.csv` and, of what its rows say, `counts.csv`; a validation, against whose confidences
    those of the test can be standardised, `validation_count_scores.csv`.

    Args:
        folder: of the row files; in a command of `separatrix`, that of the run.
    """

    columns = COUNT_COLUMNS
    files = {"validate": VALIDATION_COUNT_SCORES_FILE, "test": COUNT_SCORES_FILE}  # noqa: RUF012

    def rows(self, trainer: Trainer, module: Any, outputs: Any, batch: Batch) -> Iterable[tuple[Any, ...]]:
        """Rows by mixture, then number; SI-SDR is the mean over the mixture's sources, in the best order."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        unprocessed, *found = compare(batch.sources, [batch.mixture.unsqueeze(1), *outputs["estimates"]])
        of_mixture: dict[tuple[int, int], list[Score]] = defaultdict(list)
        for count, separated in zip(module.counts, found, strict=True):
            scored = separated.in_best_order()
            for score in score_comparison(unprocessed, scored, batch.clip_labels, batch.indices, data.classes):
                of_mixture[score.mixture, count].append(score)
        confidence = [score.mT.tolist() for score in outputs["confidence"][:3]]
        for place, (index, picked) in enumerate(zip(batch.indices.tolist(), outputs["count"].tolist(), strict=True)):
            recordings = recordings_field(self._dataset.recordings(index))
            for number, count in enumerate(module.counts):
                scores = of_mixture[index, count]
                left_out = next((score.left_out for score in scores if score.left_out), LeftOut.NO)
                means = (float(np.mean([score[column] for score in scores])) for column in (-2, -1))
                described = index, data.domain, recordings, len(scores), count, left_out.value
                yield *described, *means, *(of[place][number] for of in confidence), int(count == picked)

    def report(self, trainer: Trainer, module: Any, path: Path) -> tuple[Table, Iterable[str], dict[str, float]]:
        """How often each rule finds the number, and at what SI-SDR, by the true number."""
        split = SPLITS[trainer.state.fn.value]  # type: ignore[union-attr]
        files, counted = RunFiles(path.parent), read_counted(path)
        validated = split == "test" and files.validation_count_scores.is_file()
        lines: list[str] = []
        if validated and evaluated_weights(files.validated) not in (None, weights_digest(module.state_dict())):
            validated = False
            lines.append(f"{files.validation_count_scores.name}: of another model; validate this one to standardise")
        picked = picks(counted, read_counted(files.validation_count_scores) if validated else None)
        if validated and "standardised" not in picked:
            lines.append(f"{files.validation_count_scores.name}: no scores of these numbers; validate to standardise")
        scores = count_scores(counted, picked)
        if split == "test":
            write_rows(files.counts, CountScore._fields, scores)
            track_rows(trainer, files.counts)
        statistics = {
            f"{split}_{name}/{score.rule}/{score.sources}": float(getattr(score, name))
            for score in scores
            for name in ("accuracy", "si_sdr_db")
        }
        lines += [*intervals(scores), *picked_shares(counted, picked["confidence"])]
        if counted.left_out:
            lines.append(f"left out: {counted.left_out} mixtures without a score")
        return count_table(f"{trainer.datamodule.domain}, {split}", scores), lines, statistics  # type: ignore[attr-defined]


def count_table(title: str, scores: Sequence[CountScore]) -> Table:
    """Share of right numbers and mean SI-SDR of every rule, true numbers across, for a terminal."""
    sources = list(dict.fromkeys(score.sources for score in scores))
    title = f"{escape(title)}: right numbers, mean SI-SDR in dB"
    table = Table("number", *(of if of == ALL else f"{of} sources" for of in sources), title=title)
    for rule in dict.fromkeys(score.rule for score in scores):
        of_rule = [score for score in scores if score.rule == rule]
        table.add_row(rule_name(rule), *(f"{score.accuracy:.0%}, {score.si_sdr_db:z.1f}" for score in of_rule))
    table.add_row("mixtures", *(str(score.mixtures) for score in of_rule))
    return table


def rule_name(rule: str) -> str:
    """What a rule of `picks` is called."""
    return RULES.get(rule, f"always {rule}")


def intervals(scores: Sequence[CountScore]) -> Iterator[str]:
    """What the rules that know nothing of the sources make of all mixtures, with intervals."""
    for score in scores:
        if score.sources == ALL and score.rule in ESTIMATING:
            accuracy = f"{score.accuracy:.0%} right ({score.accuracy_low:.0%} to {score.accuracy_high:.0%})"
            gain = f"{score.difference_db:+z.1f} dB ({score.difference_low:+z.1f} to {score.difference_high:+z.1f})"
            yield f"{rule_name(score.rule)}: {accuracy}, {gain}"
    yield "(in brackets 95 %, by recording; dB more than with the known number)"


def picked_shares(counted: CountedMixtures, count: NDArray[np.int64]) -> Iterator[str]:
    """How often each number was picked, by the true number."""
    for sources in np.unique(counted.sources):
        of = count[counted.sources == sources]
        yield f"picked for {sources} sources: " + ", ".join(f"{k} {np.mean(of == k):.0%}" for k in counted.counts)
