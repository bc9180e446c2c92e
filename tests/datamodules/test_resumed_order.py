"""Which mixtures a training visits under the real Trainer: resumed or not, the same ones epoch by epoch."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import nn

from callbacks.epoch_checkpoint import EpochCheckpoint
from datamodules.corpora.procedural import Procedural
from datamodules.sampling import EpochSampler
from datamodules.urban_scenes import UrbanScenes

MIXTURES, EPOCH_MIXTURES, BATCH = 20, 8, 4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A function that gives new data of so many loader workers."""
    banks = str(tmp_path_factory.mktemp("banks"))

    def make(workers: int) -> UrbanScenes:
        data = UrbanScenes(
            Procedural(6, 8_000, folds=3), banks, ("car_horn", "siren"), [1], [2], [3], duration=0.5, latest_onset=0.3,
            sample_rate=8_000, window=256, train_mixtures=MIXTURES, validation_mixtures=1, test_mixtures=1,
            epoch_mixtures=EPOCH_MIXTURES, batch_size=BATCH, workers=workers,
        )  # fmt: skip
        data.build(workers=0)
        return data

    return make


class Visits(LightningModule):
    """Notes which mixtures every epoch visits, and learns one number."""

    def __init__(self, schedule: Literal["step", "epoch"] | None = None) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))
        self.schedule = schedule
        self.seen: dict[int, list[int]] = {}
        self.rates: list[float] = []

    def training_step(self, batch: Any, batch_index: int) -> torch.Tensor:
        self.seen.setdefault(self.current_epoch, []).extend(batch.indices.tolist())
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        return (batch.mixture.std() - self.level).square()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        if self.schedule is None:
            return optimizer
        if self.schedule == "epoch":
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)]
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
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(accelerator="cpu", **{**quiet, "enable_checkpointing": False, "limit_val_batches": 0, **settings})


@pytest.mark.parametrize(("workers", "schedule"), [(0, "step"), (1, None)])
def test_a_resumed_training_visits_what_an_uninterrupted_one_visits(workers, schedule, scenes, tmp_path: Path):
    first = trainer(max_epochs=2)
    module = Visits(schedule)
    first.fit(module, scenes(workers))
    first.save_checkpoint(tmp_path / "last.ckpt")
    resumed = Visits(schedule)
    trainer(max_epochs=4).fit(resumed, scenes(workers), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert {**module.seen, **resumed.seen} == expected(range(4)) and list(resumed.seen) == [2, 3]


@pytest.mark.parametrize("reload", [0, 2])
def test_a_second_fit_and_loaders_made_again_go_on_with_the_next_epoch(reload, scenes):
    again, module = trainer(max_epochs=2, reload_dataloaders_every_n_epochs=reload), Visits()
    data = scenes(1)
    again.fit(module, data)
    again.fit_loop.max_epochs = 5
    again.fit(module, data)
    assert module.seen == expected(range(5))


def test_a_training_limited_in_steps_goes_on_as_well(scenes, tmp_path):
    def fit(steps: int, path: Path | None = None) -> Visits:
        module, last = Visits(schedule="epoch"), EpochCheckpoint(tmp_path, "last")
        limited = trainer(max_steps=steps, enable_checkpointing=True, callbacks=[last])
        limited.fit(module, scenes(1), ckpt_path=path, weights_only=True)
        return module

    first = fit(4)
    resumed = fit(8, tmp_path / "last.ckpt")
    assert {**first.seen, **resumed.seen} == expected(range(4)) and list(resumed.seen) == [2, 3]
    assert resumed.rates == fit(8).rates[-4:]
