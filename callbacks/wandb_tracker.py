"""How values, tables and examples look in Weights & Biases."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from callbacks.tracker import Example, Tracker
from lightning_modules.scores.rows import read_table

# What a browser still shows; W&B itself draws the line at 10,000 rows.
MOST_ROWS = 5000


class WandbTracker(Tracker):
    """Logs into a `wandb.Run`."""

    program = "W&B"

    def log(self, numbers: Mapping[str, Any], step: int) -> None:
        self.run.log({**numbers, "trainer/global_step": step})

    def show_figures(self, figures: Mapping[str, float]) -> None:
        """Write them into the run's summary: those of a validation apart from the training's own."""
        prefix = "validate/" if self.command == "validate" else ""
        self.run.summary.update({f"{prefix}{name}": float(value) for name, value in figures.items()})

    def show_rows(self, path: Path) -> None:
        """Log a table; of more than `MOST_ROWS` rows the file, an artifact of type `rows`.

        A column of numbers holds numbers, and None where there is none or it is not finite.
        """
        import wandb

        rows = read_table(path)
        if len(rows) > MOST_ROWS:
            artifact = wandb.Artifact(f"{path.stem}-{self.run.id}", "rows", metadata={"rows": len(rows)})
            artifact.add_file(str(path))
            self.run.log_artifact(artifact)
            return
        columns = [_values(rows[column]) for column in rows]
        table = wandb.Table(columns=list(rows), data=[list(row) for row in zip(*columns, strict=True)])
        self.log({f"tables/{path.stem}": table}, self.step_of(None))

    def show_examples(self, name: str, examples: Sequence[Example], rate: int, step: int) -> None:
        """Log a table, a row for each source."""
        import wandb

        rows = [
            (*example[:5], *(wandb.Audio(sound, sample_rate=rate) for sound in example[5:8]), wandb.Image(example[8]))
            for example in examples
        ]
        self.log({name: wandb.Table(columns=list(Example._fields), data=rows)}, self.step_of(step))


def _values(texts: Any) -> list[Any]:
    try:
        numbers = [float(text) if text else None for text in texts]
    except ValueError:
        return list(texts)
    return [number if number is None or math.isfinite(number) else None for number in numbers]
