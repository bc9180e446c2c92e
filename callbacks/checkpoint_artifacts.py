"""Checkpoints as artifacts of Weights & Biases."""

from pathlib import Path
from typing import Any

from lightning import Callback, Trainer

from callbacks.tracker import Tracker, trackers
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.run_files import RunFiles


class CheckpointArtifacts(Callback):
    """When a training ends, logs its checkpoints as versions of one artifact, `checkpoint-RUN_ID`, of type `model`.

    The aliases of a version are `epoch-N`, counted from 1, and `best`, `last` or both; its metadata say of what it is.
    Only at the end: every improvement before it would be a copy on disk and an upload.
    """

    def __init__(self, run: RunFiles) -> None:
        self.run = run

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        for tracker in trackers(trainer):
            tracker.attempt(self._log, tracker, trainer, pl_module)

    def _log(self, tracker: Tracker, trainer: Trainer, module: Any) -> None:
        import wandb

        settings = {
            name: list(value) if isinstance(value, tuple) else value for name, value in module.signature().items()
        }
        versions: dict[int, tuple[dict[str, Any], list[Path]]] = {}
        for path in filter(Path.exists, (self.run.best, self.run.last)):
            checkpoint = read_checkpoint(path)
            epoch = checkpoint["epoch"] + 1
            progress = {"epoch": epoch, "global_step": checkpoint["global_step"]}
            metadata = {"module": checkpoint["module"], **settings, **progress}
            versions.setdefault(epoch, (metadata, []))[1].append(path)
        best = [callback.best_model_score for callback in trainer.checkpoint_callbacks if callback.monitor]  # type: ignore[attr-defined]
        # The newest last: its version becomes `latest`.
        for epoch, (metadata, paths) in sorted(versions.items()):
            if paths[0] == self.run.best and best and best[0] is not None:
                metadata["validation_loss"] = float(best[0])
            artifact = wandb.Artifact(f"checkpoint-{tracker.run.id}", "model", metadata=metadata)
            artifact.add_file(str(paths[0]), name="model.ckpt")
            tracker.run.log_artifact(artifact, aliases=[*(path.stem for path in paths), f"epoch-{epoch}"])
