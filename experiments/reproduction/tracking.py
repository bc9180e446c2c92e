"""A reproduction's tables in Weights & Biases, in one run beside those of its stages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callbacks.tracker import Tracker, show_rows
from experiments.training.wandb_run import wandb_run
from lightning_modules.run_files import RunFiles


def track_tables(output: Path, group: str, configuration: Mapping[str, Any]) -> None:
    """Log every table and figure in a reproduction's folder, and all of them as an artifact of type `tables`."""
    files = RunFiles(output)
    tables, figures = sorted(output.glob("*.csv")), sorted(output.glob("*.png"))
    with wandb_run(files, "tables", group, configuration) as run:
        if run is None:
            return
        tracker = Tracker(run)
        for table in tables:
            tracker.attempt(show_rows, tracker, table)
        tracker.attempt(_log_files, tracker, figures, [*tables, *figures, files.table_text])


def _log_files(tracker: Tracker, figures: list[Path], files: list[Path]) -> None:
    import wandb

    if figures:
        tracker.log_metrics({f"figures/{figure.stem}": wandb.Image(str(figure)) for figure in figures})
    artifact = wandb.Artifact(f"tables-{tracker.run.id}", "tables")
    for file in files:
        artifact.add_file(str(file))
    tracker.run.log_artifact(artifact)
