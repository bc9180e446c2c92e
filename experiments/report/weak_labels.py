"""What a report says of separators by class: the weak-label paper's table, distributions, the judges."""

from array import array
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.report.charts import bin_shares, box_chart, box_limits, histogram_chart, score_chart
from experiments.report.drawing import Drawings, colour_of, variable
from experiments.report.page import Block, Cell, Charts, Table
from experiments.report.run_folder import Run
from experiments.reproduction.weak_labels_table import NAMES, table_cells
from experiments.reproduction.weak_labels_table import Cell as Summarised
from lightning_modules.scores.figures import PALETTE
from lightning_modules.scores.rows import Floats, read_rows, value_of
from lightning_modules.scores.summary import (
    CLASSIFIER_COLUMNS,
    CLASSIFIER_FILE,
    OVERALL,
    SCORE_COLUMNS,
    left_out_counts,
)
from lightning_modules.separation_scores import LeftOut

QUANTITIES = {"si_sdr_db": "output SI-SDR (dB)", "improvement_db": "SI-SDR improvement (dB)"}
UNPROCESSED = "input"
SCORES = {"average_precision": "average precision", "f1": "F1", "accuracy": "accuracy"}
MEANINGS: dict[str, str] = {
    LeftOut.SINGLE_CLASS: "nothing else sounds in the mixture",
    LeftOut.SILENT_SOURCE: "nothing of it is heard",
    LeftOut.SILENT_ESTIMATE: "it has no SI-SDR",
    LeftOut.EXACT_ESTIMATE: "SI-SDR would be infinite",
}


def system_name(row: str) -> str:
    """A system as it is called on the page, where the table has said what it knows."""
    return NAMES.get(row, row).removeprefix("Δ ").partition(" (")[0]


def score_table(paths: Mapping[str, Path], classes: Sequence[str]) -> Table:
    """Improvement of every system by class, ours beside the published figures, the difference marked.

    Args:
        paths: of the systems' rows.
        classes: in their order.
    """
    systems = list(paths)
    cells = table_cells(paths, classes)
    labels = list(dict.fromkeys(cell.label for cell in cells))
    rows = []
    for row in (UNPROCESSED, *systems):
        of_row = {cell.label: cell for cell in cells if cell.row == row}
        colour = "" if row == UNPROCESSED else variable(colour_of(row, systems))
        heading = NAMES.get(row, f"Δ {row}")
        rows.append((heading, [_cell(of_row.get(label)) for label in labels], colour))
    counts = {cell.label: cell.ours.n for cell in cells if cell.row == UNPROCESSED}
    rows.append(("n", [Cell(str(counts.get(label, 0))) for label in labels], ""))
    remarks = ["Mean ± standard deviation over (mixture, class) rows; Δ is SI-SDR improvement over the mixture."]
    left_out: dict[tuple[str, int], list[str]] = {}
    for row in systems:
        for count in left_out_counts(paths[row]).items():
            left_out.setdefault(count, []).append(system_name(row))
    remarks += [
        f"Left out: {n} {'row' if n == 1 else 'rows'} of {', '.join(of)} "
        f"({reason}: {MEANINGS.get(reason, 'no score')})."
        for (reason, n), of in left_out.items()
    ]
    published = "ICASSP 2020" if any(cell.published for cell in cells) else ""
    return Table("SI-SDR in dB", ["", *(label.replace("_", " ") for label in labels)], rows, remarks, published)


def _cell(cell: Summarised | None) -> Cell:
    if cell is None:
        return Cell("")
    ours = f"{cell.ours.mean:.1f} ± {cell.ours.std:.1f}"
    if cell.published is None:
        return Cell(ours)
    mean, std = cell.published
    # Between the figures as they are shown: a reader can do the sum.
    difference = round(cell.ours.mean, 1) - mean
    return Cell(ours, f"{mean:.1f} ± {std:.1f}", difference, judged=cell.row != UNPROCESSED)


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
        for row in read_rows(path, SCORE_COLUMNS):
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
        every = np.concatenate(list(pooled.values()))
        # One axis for all: the far tails of a few rows would squeeze the rest.
        low, high = (
            (2.5 * np.floor(np.percentile(every, share) / 2.5) for share in (0.5, 99.5)) if len(every) else (0, 0)
        )
        limits = box_limits(scores for of_class in by_class.values() for scores in of_class.values())
        edges = np.arange(low, high + 5, 2.5)
        panels = {OVERALL: pooled, **by_class}
        shares = {
            label: {system: bin_shares(scores, edges) for system, scores in of_class.items()}
            for label, of_class in panels.items()
        }
        highest = max(1.0, *(float(share.max()) for of_class in shares.values() for share in of_class.values()))
        charts = []
        for label, of_class in panels.items():
            shown = label.replace("_", " ")
            medians = ", ".join(
                f"{names[system]} {np.median(scores):.1f}" for system, scores in of_class.items() if len(scores)
            )
            alternative = f"{title} of {shown} in dB by system; medians: {medians}."
            if quantity == "si_sdr_db":
                figure = histogram_chart(shares[label], highest, edges, colours, QUANTITIES[quantity], shown)
            else:
                figure = box_chart(of_class, limits, colours, names, QUANTITIES[quantity], shown)
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
    classes = list(dict.fromkeys(row["class"] for row in rows))
    header = ["judge of", *(label.replace("_", " ") for label in classes), "n"]
    tables = []
    for level in counts:
        lines = []
        for judge in dict.fromkeys(row["supervision"] for row in rows if row["level"] == level):
            of_class = {row["class"]: row for row in rows if (row["supervision"], row["level"]) == (judge, level)}
            n = Cell(next(iter(of_class.values()))["n"])
            for score, name in SCORES.items():
                found = [of_class.get(label, {}).get(score, "") for label in classes]
                cells = [Cell(f"{float(value):.3f}" if value else "–") for value in found]
                lines.append((f"{judge} labels: {name}", [*cells, n], variable(colours[judge])))
        tables.append(Table(f"Scores at {level} level", header, lines))
    return [Charts("What the judges hear", charts, f"Average precision by class, n: {caption}.", keys), *tables]
