"""What a report says of separators by class: the weak-label paper's table, distributions, the judges."""

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from callbacks.classifier_scores import CLASSIFIER_COLUMNS, CLASSIFIER_FILE
from callbacks.figures import PALETTE
from callbacks.rows import each_row, read_rows, value_of
from callbacks.selection_rows import Floats
from callbacks.separation_evaluation import SCORE_COLUMNS
from callbacks.summary import OVERALL, left_out_counts
from experiments.report.charts import box_chart, histogram_chart, score_chart
from experiments.report.drawing import Drawings, colour_of, variable
from experiments.report.page import Block, Cell, Charts, Table
from experiments.report.run_folder import Run
from experiments.weak_labels_table import NAMES, table_cells
from experiments.weak_labels_table import Cell as Summarised

QUANTITIES = {"si_sdr_db": "output SI-SDR (dB)", "improvement_db": "SI-SDR improvement (dB)"}
UNPROCESSED = "input"


def system_name(row: str) -> str:
    """A system as it is called on the page."""
    return NAMES.get(row, row).removeprefix("Δ ")


def score_table(folder: Path, classes: Sequence[str], systems: Sequence[str]) -> Table:
    """Improvement of every system by class, ours beside the published figures, the difference marked."""
    cells = table_cells(folder, classes, systems)
    labels = list(dict.fromkeys(cell.label for cell in cells))
    rows = []
    for row in (UNPROCESSED, *systems):
        of_row = {cell.label: cell for cell in cells if cell.row == row}
        colour = "" if row == UNPROCESSED else variable(colour_of(row, list(systems)))
        heading = NAMES.get(row, f"Δ {row}")
        rows.append((heading, [_cell(of_row.get(label)) for label in labels], colour))
    counts = {cell.label: cell.ours.n for cell in cells if cell.row == UNPROCESSED}
    rows.append(("n", [Cell(str(counts.get(label, 0))) for label in labels], ""))
    remarks = ["Mean ± standard deviation over (mixture, class) rows; Δ is SI-SDR improvement over the mixture."]
    if any(cell.published for cell in cells):
        remarks.append("Below it the published figure (ICASSP 2020), and how far ours lies above or below.")
    for row in systems:
        for reason, count in left_out_counts(folder / row / "scores.csv").items():
            remarks.append(f"Left out of {system_name(row)}: {count} rows ({reason}).")
    return Table("SI-SDR in dB", ["", *(label.replace("_", " ") for label in labels)], rows, remarks)


def _cell(cell: Summarised | None) -> Cell:
    if cell is None:
        return Cell("")
    ours = f"{cell.ours.mean:.1f} ± {cell.ours.std:.1f}"
    if cell.published is None:
        return Cell(ours)
    mean, std = cell.published
    # Between the figures as they are shown: a reader can do the sum.
    return Cell(ours, f"{mean:.1f} ± {std:.1f}", round(cell.ours.mean, 1) - mean)


Values = dict[str, dict[str, dict[str, Floats]]]


def read_values(paths: Mapping[str, Path]) -> Values:
    """Scores by quantity, class and system, in dB, [n] each.

    Args:
        paths: of the systems' rows.

    Raises:
        InputError: a file is missing or holds no such rows.
    """
    found: dict[str, dict[str, dict[str, array[float]]]] = {
        quantity: defaultdict(lambda: {system: array("d") for system in paths}) for quantity in QUANTITIES
    }
    for system, path in paths.items():
        for row in each_row(path, SCORE_COLUMNS):
            if not row["left_out"]:
                for quantity, by_class in found.items():
                    by_class[row["class"]][system].append(value_of(path, row, quantity))
    return {
        quantity: {
            label: {system: np.array(scores) for system, scores in by_system.items()}
            for label, by_system in by_class.items()
        }
        for quantity, by_class in found.items()
    }


def distribution_charts(values: Values, classes: Sequence[str], drawings: Drawings) -> list[Charts]:
    """Histograms of output SI-SDR and boxes of improvement, by class and over all."""
    blocks = []
    for quantity, title in (("si_sdr_db", "Output SI-SDR"), ("improvement_db", "SI-SDR improvement")):
        by_class = {label: values[quantity][label] for label in classes if label in values[quantity]}
        if not by_class:
            continue
        systems = list(next(iter(by_class.values())))
        colours = {system: colour_of(system, systems) for system in systems}
        names = {system: system_name(system) for system in systems}
        pooled = {system: np.concatenate([of_class[system] for of_class in by_class.values()]) for system in systems}
        charts = []
        for label, of_class in {OVERALL: pooled, **by_class}.items():
            shown = label.replace("_", " ")
            medians = ", ".join(
                f"{names[system]} {np.median(scores):.1f}" for system, scores in of_class.items() if len(scores)
            )
            alternative = f"{title} of {shown} in dB by system; medians: {medians}."
            if quantity == "si_sdr_db":
                figure = histogram_chart(of_class, colours, QUANTITIES[quantity], shown)
            else:
                figure = box_chart(of_class, colours, names, QUANTITIES[quantity], shown)
            charts.append(drawings.chart(figure, alternative))
        counted = ", ".join(f"{names[system]} {len(scores)}" for system, scores in pooled.items())
        how = (
            "Bins of 2.5 dB; the outermost also count what lies beyond them."
            if quantity == "si_sdr_db"
            else "Box: quartiles; line: median; diamond: mean; whiskers: 5th and 95th percentile; in brackets n."
        )
        keys = [(names[system], variable(colours[system])) for system in systems]
        caption = f"One value for each (mixture, class) row; n overall: {counted}. {how}"
        blocks.append(Charts(title, charts, caption, keys))
    return blocks


def judge_blocks(judges: Sequence[Run], drawings: Drawings) -> list[Block]:
    """How well the judges hear: average precision as a drawing, all scores as a table.

    Raises:
        InputError: a judge has not been tested.
    """
    rows = [row for judge in judges for row in read_rows(judge.folder / CLASSIFIER_FILE, CLASSIFIER_COLUMNS)]
    if not rows:
        return []
    colours = {"frame": PALETTE[0], "clip": PALETTE[5]}
    charts = []
    for level in dict.fromkeys(row["level"] for row in rows):
        values: dict[str, dict[str, float]] = {}
        for row in rows:
            if row["level"] == level and row["average_precision"]:
                values.setdefault(row["supervision"], {})[row["class"]] = float(row["average_precision"])
        if not values:
            continue
        means = ", ".join(f"{name} labels {np.mean(list(scores.values())):.3f}" for name, scores in values.items())
        alternative = f"Average precision at {level} level by class; means of the judges: {means}."
        figure = score_chart(values, colours, f"{level} level")
        charts.append(drawings.chart(figure, alternative))
    counts = {row["level"]: row["n"] for row in rows}
    caption = ", ".join(f"{count} {level}s of test mixtures" for level, count in counts.items())
    keys = [
        (f"judge of {name} labels", variable(colours[name])) for name in dict.fromkeys(r["supervision"] for r in rows)
    ]
    lines = [
        (
            f"{row['supervision']} labels, {row['level']} level, {row['class'].replace('_', ' ')}",
            [
                *(Cell(f"{float(row[name]):.3f}" if row[name] else "–") for name in CLASSIFIER_COLUMNS[3:6]),
                Cell(row["n"]),
                Cell(row["positives"]),
            ],
            "",
        )
        for row in rows
    ]
    header = ["judge, level, class", "average precision", "F1", "accuracy", "n", "positives"]
    return [
        Charts("What the judges hear", charts, f"Average precision by class, n: {caption}.", keys),
        Table("Scores of the judges", header, lines),
    ]
