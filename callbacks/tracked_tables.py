"""Files of rows as tables of Weights & Biases."""

import math
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning import Trainer

from callbacks.rows import each_row
from callbacks.tracker import Tracker, trackers

if TYPE_CHECKING:
    from wandb import Table

# What a browser still shows; W&B itself draws the line at 10,000 rows.
MOST_ROWS = 5000


def track_rows(trainer: Trainer, path: Path) -> None:
    """Show a CSV file in the trainer's W&B run, if it has one, as a table of the file's name."""
    for tracker in trackers(trainer):
        tracker.attempt(lambda tracker=tracker: show_rows(tracker, path))  # type: ignore[misc]


def show_rows(tracker: Tracker, path: Path) -> None:
    """Log a CSV file as a table; with more than `MOST_ROWS` rows as a file, an artifact of type `rows`."""
    lines = each_row(path)
    rows = list(islice(lines, MOST_ROWS + 1))
    if len(rows) <= MOST_ROWS:
        tracker.log_metrics({f"tables/{path.stem}": as_table(rows)})
        return
    import wandb

    artifact = wandb.Artifact(
        f"{path.stem}-{tracker.experiment.id}", "rows", metadata={"rows": len(rows) + sum(1 for _ in lines)}
    )
    artifact.add_file(str(path))
    tracker.experiment.log_artifact(artifact)


def as_table(rows: list[dict[str, str]]) -> "Table":
    """Rows as a table; a column of numbers holds numbers, and None where there is none or it is not finite."""
    import wandb

    columns = list(rows[0]) if rows else []
    by_column = [_values([row[column] for row in rows]) for column in columns]
    return wandb.Table(columns=[*columns], data=[list(row) for row in zip(*by_column, strict=True)])


def _values(texts: list[str]) -> list[Any]:
    try:
        numbers = [float(text) if text else None for text in texts]
    except ValueError:
        return list(texts)
    return [number if number is None or math.isfinite(number) else None for number in numbers]
