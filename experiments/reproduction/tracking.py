"""A reproduction's tables in Weights & Biases, in one run beside those of its stages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callbacks.wandb_tracker import WandbTracker
from experiments.training.wandb_run import wandb_run
from lightning_modules.run_files import RunFiles


def track_tables(output: Path, group: str, configuration: Mapping[str, Any]) -> None:
    """Log every table and figure in a reproduction's folder, and all of them as an artifact of type `tables`."""
    files = RunFiles(output)
    tables, figures = sorted(output.glob("*.csv")), sorted(output.glob("*.png"))
    with wandb_run(files, "tables", group, configuration) as run:
        if run is None:
            return
        tracker = WandbTracker(run=run)
        for table in tables:
            tracker.attempt(tracker.show_rows, table)
        tracker.attempt(_log_files, tracker, figures, [*tables, *figures, files.table_text])


def _log_files(tracker: WandbTracker, figures: list[Path], files: list[Path]) -> None:
    import wandb

    if figures:
        tracker.log({f"figures/{figure.stem}": wandb.Image(str(figure)) for figure in figures}, 0)
    artifact = wandb.Artifact(f"tables-{tracker.run.id}", "tables")
    for file in files:
        artifact.add_file(str(file))
    tracker.run.log_artifact(artifact)
