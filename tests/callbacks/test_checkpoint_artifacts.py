"""Checkpoints as versions of one artifact."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from callbacks.checkpoint_artifacts import CheckpointArtifacts
from callbacks.wandb_tracker import WandbTracker
from lightning_modules.networks import BLSTM
from lightning_modules.run_files import RunFiles
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


class Run:
    """In place of a run: keeps what is logged."""

    id = "abc"

    def __init__(self) -> None:
        self.versions: list = []

    def log_artifact(self, artifact, aliases) -> None:
        self.versions.append((artifact, aliases))


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """A function that writes checkpoints (file -> epoch and step) and returns the versions that are logged of them."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    tiny = partial(BLSTM, units=2, layers=1)
    separator = WeakLabelSeparator(classes=["siren", "dog_bark"], sample_rate=8000, window=256, network=tiny)

    def log(best_score=0.25, **checkpoints):
        run, files = Run(), RunFiles(tmp_path)
        files.checkpoints.mkdir(exist_ok=True)
        for name, (epoch, step) in checkpoints.items():
            state = {"state_dict": {}, "hyper_parameters": {}, "module": "Kind", "epoch": epoch, "global_step": step}
            torch.save(state, files.checkpoints / f"{name}.ckpt")
        callbacks = [
            SimpleNamespace(monitor=None),
            SimpleNamespace(monitor="validation_loss", best_model_score=best_score),
        ]
        trainer = SimpleNamespace(loggers=[WandbTracker(run=run)], checkpoint_callbacks=callbacks)
        CheckpointArtifacts(files).on_fit_end(trainer, separator)
        return run.versions

    return log


def test_best_and_last_are_versions_of_one_artifact_the_newer_one_the_latest(versions, tmp_path):
    logged = versions(best=(2, 30), last=(4, 50))
    assert [(artifact.name, artifact.type, aliases) for artifact, aliases in logged] == [
        ("checkpoint-abc", "model", ["best", "epoch-3"]),
        ("checkpoint-abc", "model", ["last", "epoch-5"]),
    ]
    best, last = (dict(artifact.metadata) for artifact, _ in logged)
    settings = {"module": "Kind", "sample_rate": 8000, "window": 256, "hop": 128}
    settings |= {"classes": ["siren", "dog_bark"], "supervision": "strong", "residual": False, "hierarchy": None}
    assert best == {**settings, "epoch": 3, "global_step": 30, "validation_loss": 0.25}
    assert last == {**settings, "epoch": 5, "global_step": 50}
    for (artifact, _), name in zip(logged, ("best", "last"), strict=True):
        copied = Path(artifact.manifest.entries["model.ckpt"].local_path)
        assert copied.read_bytes() == (RunFiles(tmp_path).checkpoints / f"{name}.ckpt").read_bytes()


def test_a_last_epoch_that_is_the_best_is_one_version_and_a_missing_checkpoint_none(versions):
    assert versions(best_score=None) == []
    ((artifact, aliases),) = versions(best=(0, 10), last=(0, 10))
    assert aliases == ["best", "last", "epoch-1"] and dict(artifact.metadata)["validation_loss"] == 0.25
