"""The table of the weak-label paper, ours beside the published one, from rows alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.command_line.text import counted
from experiments.tables import Cell, Table, table_console
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.run_files import RunFiles
from lightning_modules.scores import is_class
from lightning_modules.scores.intervals import mean_interval
from lightning_modules.scores.rows import numbers, read_table, write_rows
from lightning_modules.scores.summary import (
    CLASSIFIER_COLUMNS,
    OVERALL,
    RECORDINGS,
    SCORE_COLUMNS,
    Summary,
    class_rows,
    improvements_by_row,
    left_out_counts,
    summarise,
)

ROWS = ("input", "clip", "frame", "strong", "oracle_activity_mask", "ideal_ratio_mask")
CLASSIFIERS = ("classifier_frame", "classifier_clip")
PUBLISHED = Path(__file__).parents[1] / "published" / "weak_labels.csv"
TABLE_COLUMNS = ("row", "class", "mean_db", "std_db", "median_db", "n", "published_mean_db", "published_std_db")
NAMES = {
    "input": "input SI-SDR",
    "clip": "Δ clip labels",
    "frame": "Δ frame labels",
    "strong": "Δ strong labels",
    "oracle_activity_mask": "Δ oracle activity mask",
    "ideal_ratio_mask": "Δ ideal ratio mask",
}

# What is compared row by row.
COMPARED = (("frame", "clip"), ("strong", "frame"))
WORSE = "Where the improvement (Δ) is negative, the estimate is worse than the unprocessed mixture."


def make_table(output: Path, note: str = "", compared: bool = True) -> None:
    """Write table.csv, table.md, scores.csv and classifier.csv of a reproduction, and print the table.

    Args:
        output: folder of the reproduction; each row's scores lie in `output`/ROW/scores.csv.
        note: what the figures are of.
        compared: whether the published figures stand beside.
    """
    files, scores = RunFiles(output), {row: RunFiles(output / row).scores for row in ROWS[1:]}
    pooled = [read_table(path, SCORE_COLUMNS).assign(row=row) for row, path in scores.items()]
    rows = pd.concat(pooled).fillna("")
    write_rows(files.scores, columns := ["row", *rows.columns.drop("row")], rows[columns].to_numpy())
    of_classifiers = [RunFiles(output / classifier).classifier_scores for classifier in CLASSIFIERS]
    classifiers = pd.concat([read_table(path, CLASSIFIER_COLUMNS) for path in of_classifiers])
    write_rows(files.classifier_scores, CLASSIFIER_COLUMNS, classifiers[list(CLASSIFIER_COLUMNS)].to_numpy())
    # A classifier has a row for every class, in the order of the settings; a mixture only for those that it holds.
    classes = [label for label in classifiers["class"].unique() if is_class(label)]
    published = published_figures(classes) if compared else {}
    cells = [
        (row, label, s.mean, s.std, s.median, s.n, *published.get((row, label), ("", "")))
        for (row, label), s in summaries(scores, classes).items()
    ]
    write_rows(files.table, TABLE_COLUMNS, cells)
    table = score_table(scores, classes, compared)
    further = [*interval_tables(scores, classes), percentile_table(scores)]
    texts = [note and f"{note}\n", table.markdown(), *(each.markdown() for each in further)]
    write_text_atomically(files.table_text, "\n".join(filter(None, texts)))
    console = table_console()
    console.print(table, *further)
    console.print(" ".join(filter(None, (note, WORSE))), markup=False)


def summaries(scores: Mapping[str, Path], classes: Sequence[str]) -> dict[tuple[str, str], Summary]:
    """Statistics by row and class wherever a row was scored: of the mixture's SI-SDR, then of each improvement.

    `scores` are the row files of the systems, in the order of the table's rows.
    """
    by_system = {row: summarise(path, classes) for row, path in scores.items()}
    # Every system was scored on the same mixtures; the mixture itself is in each system's rows.
    found = {("input", s.label): s for s in next(iter(by_system.values())) if s.quantity == "input"}
    return found | {(row, s.label): s for row, own in by_system.items() for s in own if s.quantity == "improvement"}


def published_figures(classes: Sequence[str]) -> dict[tuple[str, str], Sequence[float]]:
    """Mean and standard deviation in dB by row and class, those over all classes only for the paper's classes."""
    found = {(row, label): figures for row, label, *figures in pd.read_csv(PUBLISHED).itertuples(index=False)}
    papers = {label for _, label in found} == {*classes, OVERALL}
    return {key: figures for key, figures in found.items() if papers or key[1] in classes}


def score_table(scores: Mapping[str, Path], classes: Sequence[str], compared: bool = True) -> Table:
    """Mean ± standard deviation in dB by row and class, beside published figures where compared; see `summaries`."""
    found, published = summaries(scores, classes), published_figures(classes) if compared else {}
    # What is no class, the residual and parents, comes last.
    labels = [label for label in (*classes, OVERALL) if any(label == of for _, of in found)]
    labels += dict.fromkeys(label for _, label in found if label != OVERALL and not is_class(label))

    def cell(row: str, label: str) -> Cell:
        if (row, label) not in found:
            return Cell("")
        ours = found[row, label]
        text = f"{ours.mean:z.1f} ± {ours.std:z.1f}"
        if (row, label) not in published:
            return Cell(text)
        mean, std = published[row, label]
        # Of the figures as they are shown: a reader can do the sum. Of the input neither more nor less is better.
        return Cell(text, f"{mean:z.1f} ± {std:z.1f}", None if row == "input" else round(ours.mean, 1) - mean)

    rows: list[list[str | Cell]] = [
        [NAMES.get(row, f"Δ {row}"), *(cell(row, label) for label in labels)] for row in ("input", *scores)
    ]
    rows.append(["n", *(str(found["input", label].n if ("input", label) in found else 0) for label in labels)])
    beside = "; in brackets the published figures (ICASSP 2020)" if published else ""
    notes = [f"Mean ± standard deviation over (mixture, class) rows{beside}.", WORSE]
    for row, path in scores.items():
        if counts := left_out_counts(path):
            rows_left = ", ".join(f"{counted(n, 'row')} ({why})" for why, n in counts.items())
            notes.append(f"Left out of {row}: {rows_left}.")
    return Table("", ["dB", *(label.replace("_", " ") for label in labels)], rows, notes, source="ICASSP 2020")


def interval_tables(scores: Mapping[str, Path], classes: Sequence[str]) -> list[Table]:
    """How sure the mean improvements are, and what one kind of label gains over another; none without recordings."""
    found = {row: rows for row, path in scores.items() if len(rows := improvements_by_row(path))}
    shown = {NAMES.get(row, f"Δ {row}"): rows for row, rows in found.items()}
    for one, other in COMPARED:
        if one in found and other in found:
            gain = (found[one]["improvement_db"] - found[other]["improvement_db"]).dropna()  # of rows that both have
            rows = found[one].loc[gain.index].assign(improvement_db=gain)
            shown[f"{NAMES[one].removeprefix('Δ ')} - {NAMES[other].removeprefix('Δ ')}"] = rows
    labels, recordings = [*classes, OVERALL], dict.fromkeys([*classes, OVERALL], 0)
    lines: list[list[str | Cell]] = []
    for name, rows in shown.items():
        lines.append([name])
        for label in labels:
            of_label = rows if label == OVERALL else rows[rows.index.get_level_values("class") == label]
            cell = ""
            if len(of_label):
                mean, low, high, count = mean_interval(
                    of_label["improvement_db"].to_numpy(), list(of_label[RECORDINGS])
                )
                cell, recordings[label] = f"{mean:z.1f}, {low:z.1f} to {high:z.1f}", max(count, recordings[label])
            lines[-1].append(cell)
    lines.append(["recordings", *map(str, recordings.values())])
    columns = ["improvement, dB", *(label.replace("_", " ") for label in labels)]
    notes = [
        "Mean and 95 % interval: bootstrap over the recordings of a row's class, 1,000 draws; the other classes of a "
        "mixture stay. Differences are paired by row."
    ]
    return [Table("", columns, lines, notes)] if shown else []


def percentile_table(scores: Mapping[str, Path]) -> Table:
    """How the output SI-SDR of each system is distributed over its rows: where weak labels keep up, and where not."""
    shares = (5, 25, 50, 75, 95)
    rows = []
    for row, path in scores.items():
        values = numbers(path, class_rows(path), ["si_sdr_db"])
        points = [f"{value:z.1f}" for value in np.percentile(values, shares)] if len(values) else [""] * len(shares)
        rows.append([NAMES.get(row, row).removeprefix("Δ "), *points])
    columns = ["output SI-SDR, dB", *(f"{share} %" for share in shares)]
    return Table("", columns, rows, ["Percentiles over (mixture, class) rows."])
