"""Which mixtures a training visits under the real Trainer: resumed or not, the same ones epoch by epoch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import nn

from datamodules.corpora.procedural import Procedural
from datamodules.sampling import EpochSampler
from datamodules.urban_scenes import UrbanScenes

MIXTURES, EPOCH_MIXTURES, BATCH = 20, 8, 4


def scenes(workers: int, banks: Path) -> UrbanScenes:
    sizes = {"train_mixtures": MIXTURES, "validation_mixtures": 1, "test_mixtures": 1}
    sizes |= {"epoch_mixtures": EPOCH_MIXTURES, "batch_size": BATCH, "workers": workers, "sample_rate": 8000}
    folds: dict[str, Any] = {"train_folds": [1], "validation_folds": [2], "test_folds": [3]}
    short = {"duration": 0.5, "latest_onset": 0.3, **sizes, **folds}
    data = UrbanScenes(Procedural(6, 8_000, folds=3), str(banks), ("car_horn", "siren"), window=256, **short)
    data.build(workers=0)
    return data


class Visits(LightningModule):
    """Notes which mixtures every epoch visits, and learns one number."""

    def __init__(self, per_step: bool) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))
        self.per_step = per_step
        self.seen: dict[int, list[int]] = {}

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        self.seen.setdefault(self.current_epoch, []).extend(batch.indices.tolist())
        return (batch.mixture.std() - self.level).square()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        if not self.per_step:
            return optimizer
        # Asks for the loader before anything of a checkpoint is restored.
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=max(steps, 100))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def expected(epochs: range) -> dict[int, list[int]]:
    """What the sampler gives, epoch by epoch."""
    sampler = EpochSampler(MIXTURES, EPOCH_MIXTURES, BATCH, 0)
    visited = {}
    for epoch in epochs:
        sampler.set_epoch(epoch)
        visited[epoch] = list(sampler)
    return visited


def trainer(**settings: Any) -> Trainer:
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    return Trainer(accelerator="cpu", limit_val_batches=0, **quiet, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("workers", "per_step"), [(0, True), (1, False)])
def test_a_resumed_training_visits_what_an_uninterrupted_one_visits(workers, per_step, tmp_path: Path):
    first = trainer(max_epochs=2)
    module, resumed = Visits(per_step), Visits(per_step)
    first.fit(module, scenes(workers, tmp_path))
    first.save_checkpoint(tmp_path / "last.ckpt")
    trainer(max_epochs=4).fit(resumed, scenes(workers, tmp_path), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert {**module.seen, **resumed.seen} == expected(range(4)) and list(resumed.seen) == [2, 3]
