"""Curves of a training under the real Trainer, with a clock that goes as told."""

from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger
from torch import Tensor
from torch.utils.data import DataLoader

import callbacks.training_curves as module
from callbacks.training_curves import TrainingCurves
from lightning_modules.batch import Batch


class Clock:
    """In place of `time`: seconds pass where they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Learner(LightningModule):
    """Four weights, whose gradient is the batch's mixture; a step takes a second."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(4))
        self.clock = clock

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        self.clock.now += 1
        return (batch.mixture.mean(0) * self.weights).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Logged(DummyLogger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.lines.append((step, dict(metrics)))

    def curve(self, name: str) -> list[tuple[int | None, float]]:
        return [(step, metrics[name]) for step, metrics in self.lines if name in metrics]


def gradient(index: int) -> Tensor:
    return torch.arange(4) + float(index)


def fit(epochs: int = 1, batches: int = 5, **settings: Any) -> tuple[Logged, Learner]:
    """Batches of two mixtures, each of which is waited for three seconds."""
    clock, logged = Clock(), Logged()

    def slowly(indices: list[int]) -> Batch:
        clock.now += 3
        mixture = torch.stack([gradient(index) for index in indices])
        nothing = torch.zeros(len(indices), 1)
        return Batch(mixture, nothing, nothing, nothing, torch.tensor(indices))

    learner = Learner(clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", clock)
        Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            callbacks=[TrainingCurves()],
            logger=logged,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        ).fit(learner, DataLoader(range(2 * batches), batch_size=2, collate_fn=slowly))  # type: ignore[arg-type]
    return logged, learner


def test_the_norm_is_that_of_the_gradient_before_clipping():
    logged, learner = fit(log_every_n_steps=2, gradient_clip_val=1e-3)
    means = [(gradient(2 * batch) + gradient(2 * batch + 1)) / 2 for batch in range(5)]
    norms = [float(torch.linalg.vector_norm(mean)) for mean in means]
    # Lightning counts the steps that it logs from 0.
    assert logged.curve("training/gradient_norm") == [(1, pytest.approx(norms[1])), (3, pytest.approx(norms[3]))]
    moved = float(torch.linalg.vector_norm(learner.weights.detach()))
    assert moved == pytest.approx(0.1 * 5e-3, rel=0.05)


def test_the_rates_count_what_came_since_the_last_value_and_an_epochs_rest_too():
    logged, _ = fit(epochs=2, log_every_n_steps=2)
    steps = [step for step, _ in logged.curve("training/waiting_share")]
    # Steps 2 and 4, the rest of the first epoch; then 6, 8, 10 of the second, which leaves none.
    assert steps == [1, 3, 4, 5, 7, 9]
    waiting = [value for _, value in logged.curve("training/waiting_share")]
    # The loader fetches ahead: what it fetched before the first step was not waited for in between.
    assert waiting[1] == pytest.approx(3 / 4)
    speeds = [value for _, value in logged.curve("training/mixtures_per_second")]
    assert speeds[1] == pytest.approx(4 / 8)


def test_with_gradients_of_several_batches_a_step_is_logged_once():
    logged, _ = fit(batches=6, log_every_n_steps=1, accumulate_grad_batches=2)
    assert [step for step, _ in logged.curve("training/gradient_norm")] == [0, 1, 2]
    assert [step for step, _ in logged.curve("training/waiting_share")] == [0, 1, 2]
    assert [speed for _, speed in logged.curve("training/mixtures_per_second")][1] == pytest.approx(4 / 8)


def test_the_speed_is_that_of_all_ranks(monkeypatch):
    monkeypatch.setattr(Trainer, "world_size", 3)
    assert [speed for _, speed in fit(log_every_n_steps=1)[0].curve("training/mixtures_per_second")][1] == 3 * 2 / 4
