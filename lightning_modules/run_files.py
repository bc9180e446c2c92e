"""Where things lie in the folder of a run, or of a reproduction and its stages."""

import contextlib
import json
import os
from pathlib import Path

# The resolved configuration of each command, and what it ran with.
CONFIGURATION_FILE, ENVIRONMENT_FILE = "config.yaml", "environment.json"  # of a training
VALIDATION_FILE, VALIDATED_FILE = "validate.yaml", "validated.json"
TEST_FILE, TESTED_FILE = "test.yaml", "tested.json"
# Rows of evaluations, and what is made of them.
SCORES_FILE, SUMMARY_FILE, CLASSIFIER_FILE = "scores.csv", "summary.csv", "classifier.csv"
VALIDATION_SCORES_FILE = "validation_scores.csv"
# Of searches for the number of sources.
COUNT_SCORES_FILE, VALIDATION_COUNT_SCORES_FILE = "count_scores.csv", "validation_count_scores.csv"


def evaluated_weights(file: Path) -> str | None:
    """The digest of the weights of an evaluation, from its file; None where nothing tells it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found: str | None = json.loads(file.read_text(encoding="utf-8")).get("weights")
        return found
    return None


class RunFiles:
    """The paths of all that a run leaves; which of them are there depends on its commands.

    Args:
        folder: of the run; it may be renamed, moved and copied.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.checkpoints = self.folder / "checkpoints"
        self.best, self.last = self.checkpoints / "best.ckpt", self.checkpoints / "last.ckpt"
        self.configuration = self.folder / CONFIGURATION_FILE
        self.environment = self.folder / ENVIRONMENT_FILE
        self.validation, self.test = self.folder / VALIDATION_FILE, self.folder / TEST_FILE
        self.validated, self.tested = self.folder / VALIDATED_FILE, self.folder / TESTED_FILE
        self.curves = self.folder / "curves"
        self.tensorboard = self.folder / "tensorboard"
        self.wandb, self.wandb_run = self.folder / "wandb", self.folder / "wandb.json"
        self.scores, self.summary = self.folder / SCORES_FILE, self.folder / SUMMARY_FILE
        self.validation_scores = self.folder / VALIDATION_SCORES_FILE
        self.count_scores, self.counts = self.folder / COUNT_SCORES_FILE, self.folder / "counts.csv"
        self.validation_count_scores = self.folder / VALIDATION_COUNT_SCORES_FILE
        self.classifier_scores = self.folder / CLASSIFIER_FILE
        self.embeddings, self.estimates = self.folder / "embeddings", self.folder / "estimates"
        # Of a reproduction.
        self.table, self.table_text = self.folder / "table.csv", self.folder / "table.md"
        self.confusion, self.correlation = self.folder / "confusion.csv", self.folder / "correlation.csv"
        self.differences, self.calibration = self.folder / "differences.csv", self.folder / "calibration.csv"
        self.confidence = self.folder / "confidence.png"
        self.programmes, self.programmes_text = self.folder / "programmes.csv", self.folder / "programmes.md"
        self.report = self.folder / "report.html"

    @staticmethod
    def parts(rows: Path) -> Path:
        """The folder of the rows that an evaluation under way has written, by rank."""
        return rows.with_suffix(".parts")

    def latest_curves(self) -> Path | None:
        """The folder of the curves of the last start."""
        return max(self.curves.glob("*"), key=lambda path: path.stat().st_mtime, default=None)

    def embedding(self, index: int, model: str) -> Path:
        """What a model's embedding of a test mixture is pictured from."""
        return self.embeddings / f"{index}-{model}.npz"

    def selection(self, domain: str) -> "RunFiles":
        """Of a reproduction: the run of all models on a domain's mixtures."""
        return RunFiles(self.folder / "selection" / domain)

    def stage_record(self, stage: str) -> Path:
        """How far a stage of a reproduction came."""
        return self.folder / f"{stage}.json"

    def stage_log(self, stage: str) -> Path:
        """What a stage of a reproduction printed, where it does not run in the foreground."""
        return self.folder / f"{stage}.log"
