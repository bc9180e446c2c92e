"""AutoClip against numpy's percentile: what it remembers, what it clips to, and that a resumed training goes on."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from tiny_systems import CLASSES, GEOMETRY_SETTINGS, RandomScenes, assert_unchanged
from tiny_systems import trainer as quiet
from torch import nn

from lightning_modules.autoclip import AutoClip
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM

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
    clip, parameters = AutoClip(50), with_gradient(min(norm, 1.0))
    assert clip([nn.Parameter(torch.ones(3))]) == 0 and clip.threshold == float("inf")  # no gradient at all
    for other in (3.0, 1.0):
        clip(with_gradient(other))
    if norm != 0:
        parameters[0].grad[1] = norm  # type: ignore[index]
    np.testing.assert_equal(clip(parameters), norm)
    assert clip.threshold == 2.0 and len(clip.state_dict()["norms"]) == 2


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
    tiny = {"sources": len(CLASSES), "dimensions": 3, "network": NETWORK, **GEOMETRY_SETTINGS}
    module = DeepClustering("noise", excerpt_frames=9, **tiny, **settings)
    gradients = GradientNorms()
    trainer = quiet(epochs, callbacks=[gradients])
    trainer.fit(module, datamodule=RandomScenes(), ckpt_path=path, weights_only=True)
    return module, trainer, gradients


def test_training_clips_every_gradient_to_the_tenth_percentile_by_default():
    module, _, gradients = fit(3)
    assert module.autoclip is not None
    expected = [min(norm, np.percentile(gradients.before[: i + 1], 10)) for i, norm in enumerate(gradients.before)]
    assert len(expected) == 6 and gradients.after != pytest.approx(gradients.before, rel=0.01)
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
    assert len(gradients.before) == 4
    assert whole.autoclip is not None and resumed.autoclip is not None
    assert torch.equal(resumed.autoclip.state_dict()["norms"], whole.autoclip.state_dict()["norms"])
    assert len(whole.autoclip.state_dict()["norms"]) == 6
    assert_unchanged(whole.state_dict(), resumed.state_dict())


class Exploding(DeepClustering):
    """An infinite gradient in the second step."""

    def on_after_backward(self) -> None:
        if self.global_step == 1:
            next(self.parameters()).grad.fill_(torch.inf)


def test_a_step_that_is_left_out_is_told():
    module = Exploding("noise", sources=len(CLASSES), dimensions=4, network=NETWORK, **GEOMETRY_SETTINGS)
    with pytest.warns(UserWarning, match="step 1: the gradient is inf; the step is left out"):
        quiet(1).fit(module, datamodule=RandomScenes())
