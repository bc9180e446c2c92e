"""Checkpoints as versions of one artifact."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from callbacks.checkpoint_artifacts import CheckpointArtifacts
from callbacks.tracker import Tracker
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
def separator():
    tiny = partial(BLSTM, units=2, layers=1)
    return WeakLabelSeparator(classes=["siren", "dog_bark"], sample_rate=8000, window=256, network=tiny)


def finish(folder, separator, monkeypatch, tmp_path, best):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    run = Run()
    monitored = SimpleNamespace(monitor="validation_loss", best_model_score=torch.tensor(0.25))
    plain = SimpleNamespace(monitor=None, best_model_score=None)
    trainer = SimpleNamespace(loggers=[Tracker(run)], checkpoint_callbacks=[plain, *([monitored] if best else [])])
    CheckpointArtifacts(RunFiles(folder)).on_fit_end(trainer, separator)
    return run.versions


def write(path, epoch, step):
    path.parent.mkdir(exist_ok=True)
    torch.save(
        {"state_dict": {}, "hyper_parameters": {}, "module": "Kind", "epoch": epoch, "global_step": step},
        path,
    )


def test_best_and_last_are_versions_of_one_artifact_the_newer_one_the_latest(separator, monkeypatch, tmp_path):
    write(RunFiles(tmp_path).best, 2, 30)
    write(RunFiles(tmp_path).last, 4, 50)
    versions = finish(tmp_path, separator, monkeypatch, tmp_path, best=True)
    assert [(artifact.name, artifact.type, aliases) for artifact, aliases in versions] == [
        ("checkpoint-abc", "model", ["best", "epoch-3"]),
        ("checkpoint-abc", "model", ["last", "epoch-5"]),
    ]
    best, last = (dict(artifact.metadata) for artifact, _ in versions)
    settings = {"module": "Kind", "sample_rate": 8000, "window": 256, "hop": 128}
    settings |= {"classes": ["siren", "dog_bark"], "supervision": "strong"}
    assert best == {**settings, "epoch": 3, "global_step": 30, "validation_loss": 0.25}
    assert last == {**settings, "epoch": 5, "global_step": 50}
    for (artifact, _), name in zip(versions, ("best", "last"), strict=True):
        copied = Path(artifact.manifest.entries["model.ckpt"].local_path)
        assert copied.read_bytes() == (RunFiles(tmp_path).checkpoints / f"{name}.ckpt").read_bytes()


def test_a_last_epoch_that_is_the_best_is_one_version_and_what_is_not_there_none(separator, monkeypatch, tmp_path):
    assert finish(tmp_path, separator, monkeypatch, tmp_path, best=False) == []
    for name in ("best", "last"):
        write(RunFiles(tmp_path).checkpoints / f"{name}.ckpt", 0, 10)
    ((artifact, aliases),) = finish(tmp_path, separator, monkeypatch, tmp_path, best=True)
    assert aliases == ["best", "last", "epoch-1"] and dict(artifact.metadata)["validation_loss"] == 0.25
