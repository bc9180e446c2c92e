"""Where things lie in the folder of a run, or of a reproduction's stage."""

from pathlib import Path

CHECKPOINTS = "checkpoints"
CONFIGURATION_FILE, ENVIRONMENT_FILE = "config.yaml", "environment.json"  # of a training
VALIDATION_FILE = "validate.yaml"
TEST_FILE, TESTED_FILE = "test.yaml", "tested.json"


class RunFiles:
    """The paths of all that a run leaves; which of them are there depends on its commands.

    Args:
        folder: of the run; it may be renamed, moved and copied.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.checkpoints = self.folder / CHECKPOINTS
        self.best, self.last = self.checkpoints / "best.ckpt", self.checkpoints / "last.ckpt"
        # The resolved configuration of each command, and what it ran with.
        self.configuration = self.folder / CONFIGURATION_FILE
        self.environment = self.folder / ENVIRONMENT_FILE
        self.validation, self.test = self.folder / VALIDATION_FILE, self.folder / TEST_FILE
        self.tested = self.folder / TESTED_FILE
        # How it is followed.
        self.curves = self.folder / "curves"
        self.wandb, self.wandb_run = self.folder / "wandb", self.folder / "wandb.json"
        # Rows of evaluations, and what is made of them.
        self.scores, self.summary = self.folder / "scores.csv", self.folder / "summary.csv"
        self.validation_scores = self.folder / "validation_scores.csv"
        self.classifier_scores = self.folder / "classifier.csv"
        self.embeddings, self.estimates = self.folder / "embeddings", self.folder / "estimates"
        self.report = self.folder / "report.html"

    @staticmethod
    def parts(rows: Path) -> Path:
        """The folder of the rows that an evaluation under way has written, by rank."""
        return rows.with_suffix(".parts")

    def latest_curves(self) -> Path | None:
        """The folder of the curves of the last start."""
        starts = sorted(self.curves.glob("*"), key=lambda path: path.stat().st_mtime)
        return starts[-1] if starts else None

    def stage_record(self, stage: str) -> Path:
        """How far a stage of a reproduction came."""
        return self.folder / f"{stage}.json"

    def stage_log(self, stage: str) -> Path:
        """What a stage of a reproduction printed, where it does not run in the foreground."""
        return self.folder / f"{stage}.log"
