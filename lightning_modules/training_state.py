"""What a training goes on from: refused in one line where it is not what this trainer would have saved."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.core.optimizer import _init_optimizers_and_lr_schedulers
from lightning.pytorch.trainer.states import TrainerFn

from lightning_modules.errors import InputError

_MOST = 2**62  # of any count


def require_usable_state(checkpoint: dict[str, Any], module: LightningModule, trainer: Trainer) -> None:
    """Compare all but the weights with what the trainer has of its own, then restore it once to see that it can be.

    The module's weights change on the way: Lightning takes the checkpoint's next.

    Args:
        checkpoint: as Lightning hands it to the module.
        module: whose optimisers and schedules go on where this is a training.
        trainer: with its callbacks and loops.

    Raises:
        InputError: a part is missing, of another form or not finite, or cannot be restored.
    """
    fitting = trainer.state.fn == TrainerFn.FITTING
    loop = f"{trainer.state.fn.value}_loop"  # type: ignore[union-attr]
    with _refused("callbacks"):
        states = checkpoint["callbacks"] if fitting else checkpoint.get("callbacks", {})
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if callback.state_key in states:
                given = states[callback.state_key]
                # Numbers alone: lists of somebody's callback may grow.
                numbers = {n: v for n, v in callback.state_dict().items() if isinstance(v, int | float | torch.Tensor)}
                _require_like(numbers, {name: given.get(name, value) for name, value in numbers.items()}, "state")
                callback.load_state_dict(given)
    with _refused("loops"):
        if fitting or "loops" in checkpoint:
            _require_like([0, 0], [checkpoint["epoch"], checkpoint["global_step"]], "progress", whole=True)
            _require_like(getattr(trainer, loop).state_dict(), checkpoint["loops"][loop], loop, whole=True)
            getattr(trainer, loop).load_state_dict(checkpoint["loops"][loop])
    if not fitting:
        return  # an evaluation takes nothing else
    optimizers, schedules = _init_optimizers_and_lr_schedulers(module)
    with _refused("optimizer_states"):
        for optimizer, given in zip(optimizers, checkpoint["optimizer_states"], strict=True):
            own: dict[str, Any] = _state_after_a_step(optimizer)
            _require_like(own["param_groups"], given["param_groups"], "param_groups")
            # A weight that has had no gradient yet has no state; some optimisers keep more after more steps.
            for number in own["state"].keys() & given["state"].keys():
                kept, state = own["state"][number], given["state"][number]
                _require_like(kept, {name: state[name] for name in kept}, f"state of weight {number}")
            optimizer.load_state_dict(given)
    with _refused("lr_schedulers"):
        for schedule, given in zip(schedules, checkpoint["lr_schedulers"], strict=True):
            _require_like(schedule.scheduler.state_dict(), given, type(schedule.scheduler).__name__)
            schedule.scheduler.load_state_dict(given)


@contextmanager
def _refused(part: str) -> Iterator[None]:
    """Whatever this project, Lightning or torch stumble over in this part of a checkpoint is said in one line."""
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(
            f"ckpt_path: its {part} are not of this training ({reason}); give a checkpoint that `separatrix fit` wrote"
        ) from error


def _state_after_a_step(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What an optimiser of whatever kind keeps of each weight, seen in a step without gradient."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    with suppress(RuntimeError):  # some take no dense gradients: they are compared with nothing, then
        optimizer.step(lambda: 0.0)
    optimizer.zero_grad()
    return optimizer.state_dict()


def _require_like(own: Any, given: Any, where: str, whole: bool = False) -> None:
    """Raise a ValueError unless `given` has the form of `own`: names, kinds of values, shapes; numbers finite.

    Args:
        own: as this trainer has it; None stands for anything, an empty dict for any dict.
        given: what a checkpoint has. Single numbers may be infinite, as the best score before the first one is.
        where: what it is called.
        whole: whether whole numbers must stay so, and not fall below 0: counts, not rates.
    """
    if isinstance(own, torch.Tensor):
        like = isinstance(given, torch.Tensor) and given.shape == own.shape
        like = like and bool(given.isfinite().all() or (given.ndim == 0 and not given.isnan()))
    elif isinstance(own, dict):
        like = isinstance(given, dict) and (not own or own.keys() == given.keys())
    elif isinstance(own, list | tuple):
        like = type(given) is type(own) and len(given) == len(own)
    elif isinstance(own, int) and not isinstance(own, bool) and whole:
        like = type(given) is int and 0 <= given < _MOST
    elif isinstance(own, int | float) and not isinstance(own, bool):
        like = type(given) in (int, float) and (abs(given) < _MOST or math.isinf(given))
    else:
        like = own is None or type(given) is type(own)
    if not like:
        raise ValueError(f"{where} is of another form")
    if isinstance(own, dict | list | tuple):
        for name in own if isinstance(own, dict) else range(len(own)):
            _require_like(own[name], given[name], f"{where} {name}", whole)
