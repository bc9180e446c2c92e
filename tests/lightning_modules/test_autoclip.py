"""AutoClip against numpy's percentile: what it remembers, what it clips to, and that a resumed training goes on."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningDataModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from lightning_modules.autoclip import AutoClip
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM
from lightning_modules.spectrogram import Geometry

NETWORK = partial(BLSTM, units=4, layers=2, dropout=0.3, output_init_scale=8.0)
PERCENTILES = (0.0, 37.5, 100.0)


def with_gradient(norm: float, seed: int = 0) -> list[nn.Parameter]:
    """Two parameters whose gradient, taken together, points anywhere and has that norm, and one without gradient."""
    direction = torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    gradient = norm * direction / direction.norm()
    parameters = [nn.Parameter(torch.ones(n, dtype=torch.float64)) for n in (3, 4, 2)]
    parameters[0].grad, parameters[1].grad = gradient[:3].clone(), gradient[3:].clone()
    return parameters


def gradient_of(parameters: list[nn.Parameter]) -> torch.Tensor:
    return torch.cat([parameter.grad for parameter in parameters if parameter.grad is not None])


def norms(count: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).lognormal(0, 1.5, count).tolist()


@pytest.mark.parametrize("percentile", PERCENTILES)
def test_a_gradient_is_clipped_to_the_percentile_of_all_norms_so_far(percentile):
    clip, seen = AutoClip(percentile), norms(60)
    assert clip.threshold == float("inf")
    for number, norm in enumerate(seen, start=1):
        parameters = with_gradient(norm, seed=number)
        before = gradient_of(parameters)
        assert clip(parameters) == pytest.approx(norm)
        assert clip.threshold == pytest.approx(np.percentile(seen[:number], percentile), rel=1e-12)
        expected = before / norm * min(norm, clip.threshold)
        torch.testing.assert_close(gradient_of(parameters), expected, rtol=1e-4, atol=0)
        assert parameters[2].grad is None


@pytest.mark.parametrize("norm", [0.0, float("inf"), float("nan")])
def test_a_norm_that_is_zero_or_not_finite_is_no_part_of_the_history(norm):
    clip, parameters = AutoClip(50), with_gradient(1.0)
    for other in (3.0, 1.0):
        clip(with_gradient(other))
    gradient = parameters[0].grad
    assert gradient is not None
    if norm == 0:
        parameters = with_gradient(0.0)
    else:
        gradient[1] = norm
    returned = clip(parameters)
    assert returned == norm or (np.isnan(norm) and np.isnan(returned))
    assert clip.threshold == 2.0
    assert len(clip.state_dict()["norms"]) == 2


def test_without_any_gradient_nothing_happens():
    clip = AutoClip()
    assert clip([nn.Parameter(torch.ones(3))]) == 0
    assert clip.threshold == float("inf")


class Noise(LightningDataModule):
    """Three training batches of two noises and one validation batch, always the same."""

    geometry, domain, sources, seed = Geometry(8000, 32, 16), "noise", 2, 3

    def _loader(self, batches: int) -> DataLoader[Batch]:
        made = []
        for number in range(batches):
            sources = torch.randn(2, 2, 400, generator=torch.Generator().manual_seed(number))
            indices = 2 * number + torch.arange(2)
            made.append(Batch(sources.sum(1), sources, torch.ones(2, 2, 26), torch.ones(2, 2), indices))
        return DataLoader(made, batch_size=None)  # type: ignore[arg-type]

    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader(3)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(1)


class GradientNorms(Callback):
    """Norms of the whole gradient before and after clipping."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.after: list[float] = []

    @staticmethod
    def _norm(module: nn.Module) -> float:
        return float(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]).double().norm())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        self.before.append(self._norm(pl_module))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        self.after.append(self._norm(pl_module))


def fit(epochs: int, path: Path | None = None, **settings: Any) -> tuple[DeepClustering, Trainer, GradientNorms]:
    torch.manual_seed(0)
    tiny = {"sample_rate": 8000, "window": 32, "hop": 16, "dimensions": 3, "network": NETWORK}
    module = DeepClustering("noise", excerpt_frames=9, **tiny, **settings)
    gradients = GradientNorms()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[gradients],
    )
    trainer.fit(module, datamodule=Noise(), ckpt_path=path, weights_only=True)
    return module, trainer, gradients


def test_training_clips_every_gradient_to_the_tenth_percentile_by_default():
    module, _, gradients = fit(3)
    assert module.autoclip is not None
    expected = [min(norm, np.percentile(gradients.before[: i + 1], 10)) for i, norm in enumerate(gradients.before)]
    assert len(expected) == 9 and gradients.after != pytest.approx(gradients.before, rel=0.01)
    np.testing.assert_allclose(gradients.after, expected, rtol=1e-3)


def test_training_without_a_percentile_clips_nothing_and_keeps_no_history(tmp_path):
    module, trainer, gradients = fit(2, clip_percentile=None)
    assert module.autoclip is None
    assert gradients.after == gradients.before
    trainer.save_checkpoint(tmp_path / "free.ckpt")
    assert "autoclip" not in torch.load(tmp_path / "free.ckpt", weights_only=True)


def test_a_resumed_training_has_the_history_and_the_weights_of_one_that_never_stopped(tmp_path):
    whole, _, _ = fit(3)
    _, stopped, _ = fit(1)
    stopped.save_checkpoint(tmp_path / "one.ckpt")
    resumed, _, gradients = fit(3, tmp_path / "one.ckpt")
    assert len(gradients.before) == 6
    assert whole.autoclip is not None and resumed.autoclip is not None
    assert torch.equal(resumed.autoclip.state_dict()["norms"], whole.autoclip.state_dict()["norms"])
    assert len(whole.autoclip.state_dict()["norms"]) == 9
    ours, theirs = resumed.state_dict(), whole.state_dict()
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
