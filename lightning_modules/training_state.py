"""The state that a training resumes from: refused in one line where this trainer would not have saved it."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import shorten
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning, StochasticWeightAveraging
from lightning.pytorch.core.optimizer import _init_optimizers_and_lr_schedulers
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lightning_modules.errors import InputError


def require_usable_state(checkpoint: dict[str, Any], module: LightningModule, trainer: Trainer | None) -> None:
    """Restore a checkpoint once, before Lightning does, and compare it with what the trainer has of its own.

    An evaluation needs the weights alone: the rest is dropped. InputError where a part is missing, of another form or
    not finite, or cannot be restored.
    """
    with _refused("weights"):
        module.load_state_dict(checkpoint["state_dict"])
    if trainer is None or trainer.state.fn != TrainerFn.FITTING:
        checkpoint.pop("loops", None)
        if "callbacks" in checkpoint:
            checkpoint["callbacks"] = {}
        return
    with _refused("callbacks"):
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if (given := checkpoint["callbacks"].get(callback.state_key)) is not None:
                # Numbers alone: lists of somebody's callback may grow.
                numbers = {n: v for n, v in callback.state_dict().items() if isinstance(v, int | float | Tensor)}
                _require_like(numbers, {name: given.get(name, value) for name, value in numbers.items()}, "state")
                callback.load_state_dict(given)
    with _refused("loops"):
        _require_like([0, 0], [checkpoint["epoch"], checkpoint["global_step"]], "progress", whole=True)
        _require_like(trainer.fit_loop.state_dict(), checkpoint["loops"]["fit_loop"], "fit_loop", whole=True)
    optimizers, schedules = _init_optimizers_and_lr_schedulers(module)
    changing = [each for each in trainer.callbacks if isinstance(each, BaseFinetuning | StochasticWeightAveraging)]  # type: ignore[attr-defined]
    if changing:  # an optimiser's weights, or its schedule, in the course of a training
        own, given = (
            [len(each["param_groups"]) for each in states]
            for states in ((each.state_dict() for each in optimizers), checkpoint["optimizer_states"])
        )
        if own != given:
            raise InputError(
                f"ckpt_path: saved after {type(changing[0]).__name__} had given the optimiser further weights, which "
                f"Lightning would leave frozen from here on; begin anew, or with a checkpoint from before"
            )
        return
    with _refused("lr_schedulers"):
        for schedule, given in zip(schedules, checkpoint["lr_schedulers"], strict=True):
            _require_like(schedule.scheduler.state_dict(), given, type(schedule.scheduler).__name__)
            schedule.scheduler.load_state_dict(given)
    with _refused("optimizer_states"):
        for optimizer, given in zip(optimizers, checkpoint["optimizer_states"], strict=True):
            optimizer.load_state_dict(copy.deepcopy(given))  # the step would change the checkpoint's own
            _step_without_gradient(optimizer)


@contextmanager
def _refused(part: str) -> Iterator[None]:
    """Say in one line what this project, Lightning or torch refuse in this part of a checkpoint."""
    try:
        yield
    except Exception as error:
        reason = shorten(f"{type(error).__name__}: {error}", 300)
        raise InputError(
            f"ckpt_path: its {part} are not of this training ({reason}); give the settings of its training, or a "
            f"checkpoint that `separatrix fit` wrote"
        ) from error


def _step_without_gradient(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimiser use its state; raise a ValueError where that makes anything not finite."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step(lambda: 0.0)
    optimizer.zero_grad()
    moments = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    if not all(tensor.isfinite().all() for tensor in (*weights, *moments)):
        raise ValueError("not finite")


def _require_like(own: Any, given: Any, where: str, whole: bool = False) -> None:
    """Raise a ValueError unless `given` has the names, kinds of values and shapes of `own`, and no number is NaN.

    None in `own` stands for anything, an empty dict for any dict. `whole` numbers are counts, from 0; others may be
    infinite, as the best score is before the first one.
    """
    if isinstance(own, Tensor):
        like = isinstance(given, Tensor) and given.shape == own.shape and not given.isnan().any()
    elif isinstance(own, dict):
        like = isinstance(given, dict) and (not own or own.keys() == given.keys())
    elif isinstance(own, list | tuple):
        like = type(given) is type(own) and len(given) == len(own)
    elif type(own) is int and whole:
        like = type(given) is int and 0 <= given < 2**62
    elif type(own) in (int, float):
        like = type(given) in (int, float) and (abs(given) < 2**62 or math.isinf(given))
    else:
        like = own is None or type(given) is type(own)
    if not like:
        raise ValueError(f"{where} is of another form")
    if isinstance(own, dict | list | tuple):
        for name in own if isinstance(own, dict) else range(len(own)):
            _require_like(own[name], given[name], f"{where} {name}", whole)
