"""Checkpoints as artifacts of Weights & Biases."""

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from callbacks.tracker import Tracker, trackers
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.checkpoint import read_checkpoint


class CheckpointArtifacts(Callback):
    """When a training ends, logs its checkpoints as versions of one artifact, `checkpoint-RUN_ID`, of type `model`.

    A version has the aliases `epoch-N`, the epoch counted from 1, and those of `best` and `last` that it is; what it is
    of stands in its metadata. Only at the end: every improvement on the way would be a copy on disk and an upload.

    Args:
        folder: that holds `best.ckpt` and `last.ckpt`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the checkpoints that there are."""
        for tracker in trackers(trainer):
            tracker.attempt(lambda tracker=tracker: self._log(tracker, trainer, pl_module))  # type: ignore[misc]

    def _log(self, tracker: Tracker, trainer: Trainer, module: Any) -> None:
        import wandb

        by_epoch: dict[int, list[Path]] = {}
        metadata: dict[Path, dict[str, Any]] = {}
        for path in (self.folder / "best.ckpt", self.folder / "last.ckpt"):
            if path.exists():
                checkpoint = read_checkpoint(path)
                by_epoch.setdefault(checkpoint["epoch"] + 1, []).append(path)
                metadata[path] = _metadata(checkpoint, module)
        best = [callback.best_model_score for callback in trainer.checkpoint_callbacks if callback.monitor]  # type: ignore[attr-defined]
        # The newest last: its version becomes `latest`.
        for epoch, paths in sorted(by_epoch.items()):
            said = metadata[paths[0]]
            if paths[0].stem == "best" and best and best[0] is not None:
                said = {**said, "validation_loss": float(best[0])}
            artifact = wandb.Artifact(f"checkpoint-{tracker.experiment.id}", "model", metadata=said)
            artifact.add_file(str(paths[0]), name="model.ckpt")
            tracker.experiment.log_artifact(artifact, aliases=[*(path.stem for path in paths), f"epoch-{epoch}"])


def _metadata(checkpoint: dict[str, Any], module: SeparatrixModule) -> dict[str, Any]:
    """What a checkpoint is of, as plain values."""
    identity = {name: list(value) if isinstance(value, tuple) else value for name, value in module.identity().items()}
    progress = {"epoch": checkpoint["epoch"] + 1, "global_step": checkpoint["global_step"]}
    return {"module": checkpoint["module"], **identity, **progress}
