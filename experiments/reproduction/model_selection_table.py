"""The tables of the model-selection paper, ours beside the published ones, from rows alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.reproduction.model_selection_sections import (
    confusion_section,
    correlation_section,
    difference_section,
    score_section,
    share_section,
)
from experiments.reproduction.model_selection_stages import DOMAINS
from experiments.sections import Section, markdown, table_console, terminal_table
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.scores.calibration import Calibration
from lightning_modules.scores.ensembles import MEAN, Confusion, EnsembleScore, confusion, ensemble_scores, ensembles
from lightning_modules.scores.figures import confidence_figure, write_figure
from lightning_modules.scores.intervals import HOME, Correlation, Difference, correlations, differences
from lightning_modules.scores.rows import Floats, read_rows, write_rows
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, VALIDATION_SCORES_FILE, Evaluated, read_evaluated
from lightning_modules.scores.summary import SCORES_FILE

PUBLISHED = Path(__file__).parents[1] / "published"
TABLE_COLUMNS = ("row", "class", "mean_db", "std_db", "n", "published_mean_db")
CONFUSION_COLUMNS = ("picked", "domain", "count", "published_count")


def make_tables(output: Path, note: str = "", names: Sequence[str] = DOMAINS) -> None:
    """Write all tables as CSV, table.md and confidence.png from the rows; print the tables.

    Args:
        output: folder of the reproduction; rows lie in `output`/selection/DOMAIN/scores.csv and validation_scores.csv.
        note: what the figures are of.
        names: of the domains.

    Raises:
        InputError: rows are missing, or do not fit together.
    """
    found = read_findings(output, names)
    means, counts, coefficients = published_means(found.evaluated.domains), published_counts(), published_coefficients()
    write_rows(
        output / "scores.csv",
        SELECTION_COLUMNS,
        ([row[name] for name in SELECTION_COLUMNS] for path in _files(output, names) for row in read_rows(path)),
    )
    found.calibration.write(output / "calibration.csv")
    write_rows(
        output / "table.csv",
        TABLE_COLUMNS,
        [(*score, means.get((score.row, score.domain), "")) for score in found.scores],
    )
    write_rows(
        output / "confusion.csv",
        CONFUSION_COLUMNS,
        [(*pair, count, counts.get(pair, "")) for pair, count in found.picks["confidence"].by_pair().items()],
    )
    write_rows(
        output / "correlation.csv",
        (*Correlation._fields, "published"),
        [(*_defined(line), coefficients.get(line[:3], "")) for line in found.correlated],
    )
    write_rows(output / "differences.csv", Difference._fields, map(_defined, found.gains))
    write_figure(output / "confidence.png", confidence_figure(found.evaluated, note))
    sections = [score_section(found.scores, means, found.evaluated), *further_sections(found)]
    text = "\n".join(filter(None, (note and f"{note}\n", *map(markdown, sections))))
    write_text_atomically(output / "table.md", text)
    console = table_console()
    for section in sections:
        console.print(terminal_table(section))
    if note:
        console.print(note, markup=False)


class Findings(NamedTuple):
    """What the rows of a reproduction say.

    Attributes:
        evaluated: scored test mixtures of all domains.
        calibration: fitted on the validation mixtures.
        calibrating: number of these.
        probabilities: with which each ensemble takes each model's output, [N, M], by the ensemble's name.
        scores: of the ensembles.
        picks: by confidence and by calibrated confidence.
        gains: of one ensemble over another.
        correlated: confidence with SI-SDR.
    """

    evaluated: Evaluated
    calibration: Calibration
    calibrating: int
    probabilities: dict[str, Floats]
    scores: list[EnsembleScore]
    picks: dict[str, Confusion]
    gains: list[Difference]
    correlated: list[Correlation]


def read_findings(output: Path, names: Sequence[str] = DOMAINS) -> Findings:
    """Evaluate the rows in `output`/selection/DOMAIN/scores.csv and validation_scores.csv.

    Raises:
        InputError: rows are missing, or do not fit together.
    """
    evaluated = read_evaluated(_files(output, names))
    calibrating = read_evaluated(_files(output, names, VALIDATION_SCORES_FILE))
    calibration = Calibration.fit(calibrating)
    probabilities = ensembles(evaluated, calibration.expected(evaluated))
    return Findings(
        evaluated,
        calibration,
        len(calibrating.index),
        probabilities,
        ensemble_scores(evaluated, probabilities),
        {row: confusion(evaluated, probabilities[row]) for row in ("confidence", "calibrated")},
        differences(evaluated, probabilities),
        correlations(evaluated),
    )


def further_sections(found: Findings) -> list[Section]:
    """The tables below that of the scores, ours beside the published figures."""
    means = published_means(found.evaluated.domains)
    return [
        share_section(found.scores, means, found.calibrating),
        difference_section(found.gains),
        confusion_section("Picked by confidence", found.picks["confidence"], published_counts()),
        confusion_section("Picked by calibrated confidence", found.picks["calibrated"], {}),
        correlation_section(found.correlated, published_coefficients()),
    ]


def _files(output: Path, names: Sequence[str], file: str = SCORES_FILE) -> list[Path]:
    return [output / "selection" / name / file for name in names]


def _defined(row: Iterable[Any]) -> list[Any]:
    """A row of a table, its cell empty where a figure is not defined."""
    return ["" if value != value else value for value in row]


def published_means(domains: Sequence[str]) -> dict[tuple[str, str], float]:
    """Mean SDR in dB by (row, domain); for rows that have all the domains also their `mean`, which the paper omits."""
    published = {
        (line["row"], line["class"]): float(line["mean_db"]) for line in read_rows(PUBLISHED / "model_selection.csv")
    }
    for row in dict.fromkeys(row for row, _ in published):
        if all((row, domain) in published for domain in domains):
            published[row, MEAN] = float(np.mean([published[row, domain] for domain in domains]))
    return published


def published_counts() -> dict[tuple[str, str], int]:
    """Number of mixtures by (picked model, true domain)."""
    lines = read_rows(PUBLISHED / "model_selection_confusion.csv")
    return {(line["picked"], line["domain"]): int(line["count"]) for line in lines}


def published_coefficients() -> dict[tuple[str, str, str], float]:
    """Correlation of confidence with SDR by (domain, models, coefficient)."""
    lines = read_rows(PUBLISHED / "model_selection_correlation.csv")
    return {(line["domain"], HOME, line["coefficient"]): float(line["value"]) for line in lines}
