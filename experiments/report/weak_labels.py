"""What a report says of separators by class: the weak-label paper's table, distributions, the classifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas

from experiments.report.charts import BIN_DB, BOXES, boxes, colour_of, css_colour, histograms, score_chart
from experiments.report.page import Block, Charts
from experiments.report.run_folder import Run
from experiments.reproduction.weak_labels_table import NAMES, interval_tables, score_table
from experiments.tables import Table, formatted
from lightning_modules.scores.rows import Floats, numbers, read_table
from lightning_modules.scores.summary import CLASSIFIER_COLUMNS, OVERALL, class_rows

DISTRIBUTIONS = (
    ("Output SI-SDR", "si_sdr_db", histograms, f"Bins of {BIN_DB} dB; the outermost also count what lies beyond them."),
    ("SI-SDR improvement", "improvement_db", boxes, BOXES),
)
SCORES = {"average_precision": "average precision", "f1": "F1", "accuracy": "accuracy"}


def system_name(row: str) -> str:
    """A system as it is called on the page, where the table has said what it knows."""
    return NAMES.get(row, row).removeprefix("Δ ").partition(" (")[0]


def tables(scores: Mapping[str, Path], classes: Sequence[str], compared: bool = True) -> list[Table]:
    """The paper's table with the systems' colours, and the intervals; arguments as for `score_table`."""
    colours = [css_colour(colour_of(system, list(scores))) for system in scores]
    papers = replace(score_table(scores, classes, compared), title="SI-SDR in dB", colours=["", *colours, ""])
    return [papers, *(replace(table, title="How sure the means are") for table in interval_tables(scores, classes))]


def distribution_charts(scores: Mapping[str, Path], classes: Sequence[str]) -> list[Charts]:
    """Histograms of output SI-SDR and boxes of improvement, by class and over all; arguments as for `score_table`."""
    names = {system: system_name(system) for system in scores}
    colours = {names[system]: colour_of(system, list(scores)) for system in scores}
    keys = [(name, css_colour(colour)) for name, colour in colours.items()]
    blocks = []
    for quantity, column, draw, how in DISTRIBUTIONS:
        values = {names[system]: _values(path, column) for system, path in scores.items()}
        groups = {
            label.replace("_", " "): {name: of[label] for name, of in values.items() if label in of}
            for label in (OVERALL, *classes)
            if any(label in of for of in values.values())
        }
        if groups:
            counted = ", ".join(f"{name} {len(scored)}" for name, scored in groups[OVERALL].items())
            caption = f"One value for each (mixture, class) row; n overall: {counted}. {how}"
            blocks.append(Charts(quantity, draw(groups, colours, quantity), caption, keys))
    return blocks


def _values(path: Path, column: str) -> dict[str, Floats]:
    """Scores of a row file by class, and over all, [n] each."""
    table = class_rows(path)
    values = pandas.Series(numbers(path, table, [column])[:, 0], table["class"])
    by_class = {str(label): of.to_numpy() for label, of in values.groupby(level=0)}
    return {OVERALL: values.to_numpy(), **by_class} if len(values) else {}


def classifier_blocks(runs: Sequence[Run]) -> list[Block]:
    """How good the classifiers are: average precision as a drawing, all scores as a table."""
    files = [run.files.classifier_scores for run in runs]
    rows = pandas.concat([read_table(file, CLASSIFIER_COLUMNS) for file in files]) if files else pandas.DataFrame()
    if rows.empty:
        return []
    classes = list(rows["class"].unique())
    charts, tables, kinds = [], [], list(rows["supervision"].unique())
    colour_by_kind = {kind: colour_of(kind, kinds) for kind in kinds}
    for level, of_level in rows.groupby("level", sort=False):
        precisions: dict[str, dict[str, float]] = {}
        lines, colours = [], []
        for supervision, scores in of_level.groupby("supervision", sort=False):
            scores = scores.set_index("class").reindex(classes)
            for column, name in SCORES.items():
                values = scores[column].replace("", "nan").astype(float)
                figures = [formatted(value, ".3f") for value in values]
                lines.append([f"{supervision} labels: {name}", *figures, str(of_level["n"].iloc[0])])
                colours.append(css_colour(colour_by_kind[supervision]))
                if column == "average_precision" and values.notna().any():
                    precisions[supervision] = values.dropna().to_dict()
        title = f"Scores at {level} level"
        columns = ["classifier of", *(label.replace("_", " ") for label in classes), "n"]
        tables.append(Table(title, columns, lines, colours=colours))
        if precisions:
            means = ", ".join(f"{name} labels {np.mean(list(of.values())):.3f}" for name, of in precisions.items())
            alternative = f"Average precision at {level} level by class; means of the classifiers: {means}."
            charts.append(score_chart(precisions, colour_by_kind, f"{level} level", alternative))
    counts = rows.drop_duplicates("level").set_index("level")["n"]
    counted = ", ".join(f"{count} {level}s of test mixtures" for level, count in counts.items())
    keys = [(f"classifier of {name} labels", css_colour(colour_by_kind[name])) for name in kinds]
    return [Charts("Scores of the classifiers", charts, f"Average precision by class, n: {counted}.", keys), *tables]
