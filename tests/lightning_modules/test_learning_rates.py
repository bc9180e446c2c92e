"""Any optimiser and schedule: the rates and weights of a plain loop of torch, and the same after a stop."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers.logger import DummyLogger
from tiny_systems import CLASSES, GEOMETRY, GEOMETRY_SETTINGS, PRIOR, RandomScenes, trainer
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

EPOCHS, STEPS = 3, 2


class WarmUp(SequentialLR):
    """A rate that rises to its value, and then stays."""

    def __init__(self, optimizer: Optimizer, steps: int) -> None:
        rising = LinearLR(optimizer, 0.1, total_iters=steps)
        super().__init__(optimizer, [rising, ConstantLR(optimizer, 1.0)], milestones=[steps])


class Schedule(NamedTuple):
    make: Any
    interval: Any = "epoch"


OPTIMIZERS = {
    "Adam": partial(Adam, lr=1e-2),
    "AdamW": partial(AdamW, lr=1e-2, weight_decay=0.1),
    "SGD": partial(SGD, lr=1e-2, momentum=0.9),
    "RMSprop": partial(RMSprop, lr=1e-3),
}
SCHEDULES = {
    "none": Schedule(None),
    "StepLR": Schedule(partial(StepLR, step_size=1, gamma=0.1)),
    "CosineAnnealingLR": Schedule(partial(CosineAnnealingLR, T_max=EPOCHS)),
    "OneCycleLR": Schedule(partial(OneCycleLR, max_lr=0.02, total_steps=EPOCHS * STEPS, cycle_momentum=False), "step"),
    # No epoch is so much better than the one before.
    "ReduceLROnPlateau": Schedule(partial(ReduceLROnPlateau, patience=0, threshold=0.9)),
    "linear warm-up": Schedule(partial(LinearLR, start_factor=0.1, total_iters=5), "step"),
    "warm-up of one's own": Schedule(partial(WarmUp, steps=3), "step"),
}


class Kept(DummyLogger):
    """Keeps the rates that are logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def log_metrics(self, metrics: dict[str, float], *_: Any, **__: Any) -> None:
        self.rates += [value for name, value in metrics.items() if name.startswith("lr-") and "momentum" not in name]


class Learnt(NamedTuple):
    """What a training comes to."""

    rates: list[float]
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]


def separator(kind: type[WeakLabelSeparator] = WeakLabelSeparator, **settings: Any) -> WeakLabelSeparator:
    torch.manual_seed(0)
    tiny = {"network": partial(BLSTM, units=3, layers=1), "classes": CLASSES, **GEOMETRY_SETTINGS}
    return kind("strong", **{**tiny, **settings})


def with_schedule(optimizer: str, schedule: str) -> dict[str, Any]:
    made = SCHEDULES[schedule]
    settings = {"scheduler": made.make, "scheduler_interval": made.interval} if made.make else {}
    return {"optimizer": OPTIMIZERS[optimizer], **settings}


def fit(
    module: WeakLabelSeparator,
    folder: Path,
    epochs: int = EPOCHS,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Learnt:
    kept = Kept()
    training: Trainer = trainer(
        epochs,
        logger=kept,
        log_every_n_steps=1,
        enable_checkpointing=True,
        callbacks=[LearningRateMonitor("step"), ModelCheckpoint(folder, save_last=True), *callbacks],
    )
    path = folder / "last.ckpt" if resume else None
    training.fit(module, datamodule=RandomScenes(), ckpt_path=path, weights_only=True)
    (optimizer,) = training.optimizers
    return Learnt(kept.rates, module.state_dict(), optimizer.state_dict())


def same(one: Any, other: Any) -> bool:
    """Whether two states are the same, numbers to the last bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def in_plain_torch(module: WeakLabelSeparator, optimizer: Any, schedule: Schedule) -> Learnt:
    """The training written out."""
    data = RandomScenes()
    module.prior.copy_(PRIOR)
    optimizer = optimizer(module.parameters())
    scheduler = schedule.make(optimizer) if schedule.make else None

    def losses(batch: Any) -> Tensor:
        magnitude = stft(batch.mixture, GEOMETRY).abs()
        return module.loss(magnitude, module.masks(magnitude), batch)

    rates = []
    for _ in range(EPOCHS):
        for batch in data.train_dataloader():
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.zero_grad()
            losses(batch).mean().backward()
            optimizer.step()
            if scheduler is not None and schedule.interval == "step":
                scheduler.step()
        with torch.no_grad():
            validation_loss = torch.cat([losses(batch) for batch in data.val_dataloader()]).mean()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(validation_loss)
        elif scheduler is not None and schedule.interval == "epoch":
            scheduler.step()
    return Learnt(rates, module.state_dict(), optimizer.state_dict())


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        *[("Adam", schedule) for schedule in SCHEDULES],
        *[(optimizer, "OneCycleLR") for optimizer in ("SGD", "AdamW", "RMSprop")],
    ],
)
def test_rates_and_weights_are_those_of_plain_torch_and_the_same_after_a_stop(optimizer, schedule, tmp_path):
    settings = with_schedule(optimizer, schedule)
    whole = fit(separator(**settings), tmp_path / "whole")
    expected = in_plain_torch(separator(), OPTIMIZERS[optimizer], SCHEDULES[schedule])
    assert whole.rates == expected.rates
    assert len(set(whole.rates)) > 1 or schedule == "none"
    for name, value in expected.weights.items():
        torch.testing.assert_close(whole.weights[name], value)
    require_the_same_after_a_stop(settings, whole, tmp_path)


def require_the_same_after_a_stop(settings: dict[str, Any], whole: Learnt, folder: Path) -> None:
    fit(separator(**settings), folder / "cut", 1)
    resumed = fit(separator(**settings), folder / "cut", resume=True)
    assert resumed.rates == whole.rates[len(whole.rates) // EPOCHS :]
    assert same(resumed.weights, whole.weights)
    assert same(resumed.optimizer, whole.optimizer)


class OwnSchedules(WeakLabelSeparator):
    """Two schedules, one of them in Lightning's short form."""

    def configure_optimizers(self) -> Any:
        optimizer = RMSprop(self.parameters(), lr=1e-3)
        per_step = LinearLR(optimizer, 0.5, total_iters=5)
        return [optimizer], [StepLR(optimizer, 1, 0.5), {"scheduler": per_step, "interval": "step"}]


def test_an_optimiser_and_schedules_of_a_subclass_are_the_same_after_a_stop(tmp_path):
    whole = fit(separator(OwnSchedules), tmp_path / "whole")
    assert len(set(whole.rates)) > 3
    require_the_same_after_a_stop({"kind": OwnSchedules}, whole, tmp_path)


class Unfreezing(BaseFinetuning):
    """The recurrent layers learn from the second epoch on, with the readout's rate."""

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        (self.recurrent, *_) = pl_module.network.children()
        self.freeze(self.recurrent)

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: Optimizer) -> None:
        if epoch == 1:
            (recurrent, *_) = pl_module.network.children()
            self.unfreeze_and_add_param_group(recurrent, optimizer)


SWA = partial(StochasticWeightAveraging, swa_lrs=1e-3, swa_epoch_start=2)


@pytest.mark.parametrize(("callback", "stop"), [(Unfreezing, 1), (SWA, 1), (SWA, 2), (SWA, 3)])
def test_callbacks_that_change_the_optimiser_or_its_schedule_are_the_same_after_a_stop(callback, stop, tmp_path):
    settings = {"optimizer": OPTIMIZERS["Adam"]}
    whole = fit(separator(**settings), tmp_path / "whole", 4, callbacks=[callback()])
    fit(separator(**settings), tmp_path / "cut", stop, callbacks=[callback()])
    resumed = fit(separator(**settings), tmp_path / "cut", 4, resume=True, callbacks=[callback()])
    assert same(resumed.weights, whole.weights)
    assert same(resumed.optimizer, whole.optimizer)


def test_a_training_whose_weights_were_unfrozen_is_not_resumed_with_frozen_ones(tmp_path):
    fit(separator(), tmp_path, 2, callbacks=[Unfreezing()])
    with pytest.raises(InputError, match=r"^ckpt_path: saved after Unfreezing had given the optimiser further weights"):
        fit(separator(), tmp_path, 4, resume=True, callbacks=[Unfreezing()])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"optimizer": partial(Adam, lr=-1.0)}, "optimizer: ValueError: Invalid learning rate: -1.0"),
        ({"optimizer": partial(Adam, rate=1.0)}, "optimizer: TypeError: .*'rate'"),
        ({"optimizer": torch.optim.Muon}, "optimizer: ValueError: Muon only supports 2D"),
        ({"scheduler": partial(StepLR, step_size=0)}, "scheduler: ZeroDivisionError"),
        (
            {"scheduler": partial(OneCycleLR, max_lr=1.0, total_steps=1), "scheduler_interval": "step"},
            "scheduler: ValueError: Tried to step 2 times",
        ),
    ],
)
def test_what_an_optimiser_or_a_schedule_refuses_is_told_in_one_line(settings, told, tmp_path):
    with pytest.raises(InputError, match=rf"^{told}[^\n]*; choose others$"):
        fit(separator(**settings), tmp_path)


@pytest.mark.parametrize(("interval", "length"), [("epoch", EPOCHS), ("step", EPOCHS * STEPS)])
def test_a_cosine_that_ends_before_the_training_is_told(interval, length, tmp_path):
    settings = {"scheduler_interval": interval, "optimizer": OPTIMIZERS["Adam"]}
    with pytest.warns(UserWarning, match=rf"least after {length - 1} of {length} {interval}s.*T_max {length} lets"):
        fit(separator(scheduler=partial(CosineAnnealingLR, T_max=length - 1), **settings), tmp_path / "short")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "CosineAnnealingLR")
        fit(separator(scheduler=partial(CosineAnnealingLR, T_max=length), **settings), tmp_path / "fits")
