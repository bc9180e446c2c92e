"""Where things lie in the folder of a run."""

from pathlib import Path

CHECKPOINTS = "checkpoints"
CONFIGURATION_FILE, ENVIRONMENT_FILE = "config.yaml", "environment.json"  # of a training
VALIDATION_FILE = "validate.yaml"
TEST_FILE, TESTED_FILE = "test.yaml", "tested.json"


def best_checkpoint(run: Path) -> Path:
    """Where a training keeps the weights of its best epoch."""
    return run / CHECKPOINTS / "best.ckpt"


def last_checkpoint(run: Path) -> Path:
    """Where a training keeps what it goes on from."""
    return run / CHECKPOINTS / "last.ckpt"
