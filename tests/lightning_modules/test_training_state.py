"""Any optimiser and schedule of torch: a resumed training ends bit for bit as an uninterrupted one."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule
from tiny_systems import trainer
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

from lightning_modules.checkpoint_io import AtomicCheckpointIO
from lightning_modules.errors import InputError
from lightning_modules.training_state import require_usable_state

OPTIMIZERS = {
    "SGD": lambda weights: torch.optim.SGD(weights, lr=0.1),
    "SGD with momentum, a rate that is a whole number": lambda weights: torch.optim.SGD(weights, lr=1, momentum=0.5),
    "Adam": lambda weights: torch.optim.Adam(weights, lr=0.1, amsgrad=True),
    "AdamW in two groups": lambda weights: torch.optim.AdamW(
        [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.2}], lr=0.1
    ),
    "RMSprop": lambda weights: torch.optim.RMSprop(weights, lr=0.01),
    "Adafactor": lambda weights: torch.optim.Adafactor(weights, lr=0.1),
    "LBFGS": lambda weights: torch.optim.LBFGS(weights, lr=0.1, max_iter=2),
}
SCHEDULES: dict[str, Any] = {
    "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 1, 0.5),
    "MultiStepLR": lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [1, 2]),
    "OneCycleLR, every step": lambda optimizer: {
        "scheduler": lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=100), "interval": "step"
    },
    "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2),
    "warm-up": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer, 0.1), lr_scheduler.ExponentialLR(optimizer, 0.9)], [2]
    ),
    "ReduceLROnPlateau": lambda optimizer: {
        "scheduler": lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1e3), "monitor": "loss"
    },
}  # fmt: skip


class Learner(LightningModule):
    """A layer, a normalisation with whole numbers in its state, a frozen weight and one that no loss depends on."""

    def __init__(self, optimizer: Any, schedule: Any = None) -> None:
        super().__init__()
        self.layer, self.normalisation = nn.Linear(3, 2), nn.BatchNorm1d(2)
        self.unused, self.frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)
        self.make, self.schedule = optimizer, schedule

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:
        loss = (self.normalisation(self.layer(batch)) * self.frozen - batch[:, :2]).square().mean()
        self.log("loss", loss, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = self.make(list(self.parameters()))
        return optimizer if self.schedule is None else ([optimizer], [self.schedule(optimizer)])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        require_usable_state(checkpoint, self, self.trainer)


def fit(module: Learner, epochs: int, path: Path, resumed: Path | None = None) -> dict[str, Any]:
    """Train, save, and give what was saved."""
    training = trainer(epochs, plugins=[AtomicCheckpointIO()])
    batches = torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings(action="ignore"):
        training.fit(module, DataLoader(batches, batch_size=None), ckpt_path=resumed)  # type: ignore[arg-type]
    training.save_checkpoint(path)
    return torch.load(path, weights_only=True)


def learner(optimizer: str = "Adam", schedule: str | None = None) -> Learner:
    torch.manual_seed(0)
    module = Learner(OPTIMIZERS[optimizer], SCHEDULES.get(schedule or ""))
    module.hparams["plain"] = 1  # checkpoints of this project have settings
    return module


@pytest.mark.parametrize(("optimizer", "schedule"), zip(OPTIMIZERS, [*SCHEDULES, None], strict=True))
def test_a_resumed_training_ends_as_an_uninterrupted_one(optimizer, schedule, tmp_path):
    whole = fit(learner(optimizer, schedule), 4, tmp_path / "whole.ckpt")
    fit(learner(optimizer, schedule), 2, tmp_path / "cut.ckpt")
    resumed = fit(learner(optimizer, schedule), 4, tmp_path / "resumed.ckpt", tmp_path / "cut.ckpt")
    for part in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(resumed[part], whole[part], rtol=0, atol=0)
    assert resumed["lr_schedulers"] == whole["lr_schedulers"]


@pytest.mark.parametrize(
    ("optimizer", "schedule", "change", "told"),
    [
        ("Adam", None, lambda s: s["state"][2].pop("exp_avg"), "KeyError: 'exp_avg'"),
        ("RMSprop", None, lambda s: s["state"][2].update(square_avg=torch.zeros(3)), "shape [3] doesn't match"),
        ("Adafactor", None, lambda s: s["state"][2]["row_var"].fill_(torch.nan), "not finite"),
        ("Adam", None, lambda s: s["param_groups"][0]["params"].pop(), "doesn't match the size"),
        ("Adam", None, lambda s: s["param_groups"][0].update(lr="fast"), "TypeError"),
        ("SGD", "StepLR", lambda s: s.update(step=3), "StepLR is of another form"),
        ("SGD", "StepLR", lambda s: s.update(last_epoch=float("nan")), "StepLR last_epoch is of another form"),
        ("SGD", "warm-up", lambda s: s["_schedulers"].pop(), "SequentialLR _schedulers is of another form"),
    ],
)
def test_a_state_of_another_form_is_refused_in_one_line(optimizer, schedule, change, told, tmp_path):
    contents = fit(learner(optimizer, schedule), 1, tmp_path / "cut.ckpt")
    change(contents["lr_schedulers" if schedule else "optimizer_states"][0])
    torch.save(contents, tmp_path / "cut.ckpt")
    with pytest.raises(InputError) as error:
        fit(learner(optimizer, schedule), 2, tmp_path / "resumed.ckpt", tmp_path / "cut.ckpt")
    part = "lr_schedulers" if schedule else "optimizer_states"
    assert str(error.value).startswith(f"ckpt_path: its {part} are not of this training (") and told in str(error.value)
