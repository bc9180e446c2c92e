"""What a training goes on from: refused by name where it is not what this trainer would have saved.

Lightning takes counts, paths and states from a checkpoint as they are. What does not fit shows as a traceback from deep
inside, sometimes an epoch later; and a path of an earlier best checkpoint is one that the next best one removes.
"""

from pathlib import PurePath
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from lightning_modules.errors import InputError

_WAY_OUT = "give a checkpoint that `separatrix fit` wrote"


def require_usable_state(checkpoint: dict[str, Any], module: LightningModule, trainer: Trainer) -> None:
    """Compare all but the weights with what the trainer has of its own.

    Args:
        checkpoint: as Lightning hands it to the module.
        module: whose optimiser goes on where this is a training.
        trainer: with its callbacks and loops.

    Raises:
        InputError: a part is missing, of another kind, or not finite, or a path leads elsewhere.
    """
    if trainer.state.fn != TrainerFn.FITTING:
        return  # an evaluation takes the weights and nothing else
    _require_like({"epoch": 0, "global_step": 0}, checkpoint, "")
    loops = {
        "fit_loop": trainer.fit_loop,
        "validate_loop": trainer.validate_loop,
        "test_loop": trainer.test_loop,
        "predict_loop": trainer.predict_loop,
    }
    _require_like({"loops": {name: loop.state_dict() for name, loop in loops.items()}}, checkpoint, "")
    _require_callbacks(checkpoint, trainer)
    _require_optimizer(checkpoint, module)


def _require_callbacks(checkpoint: dict[str, Any], trainer: Trainer) -> None:
    states = _part(checkpoint, "callbacks", dict)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        own = callback.state_dict()
        if callback.state_key in states and own:
            _require_like(own, states[callback.state_key], f"callbacks {type(callback).__name__}", strict=False)
    for state in states.values():
        if isinstance(state, dict):
            best = state.get("best_k_models", {})
            paths = [state.get(name, "") for name in ("best_model_path", "kth_best_model_path", "last_model_path")]
            if not isinstance(best, dict) or not all(map(_is_plain_path, [*paths, *best])):
                raise InputError(f"ckpt_path: callbacks hold a path that leads elsewhere; {_WAY_OUT}")


def _is_plain_path(path: Any) -> bool:
    """Whether it is empty, or absolute without a way upwards: Lightning looks only at how paths begin."""
    if not isinstance(path, str) or "::" in path or "://" in path:
        return False
    return not path or (PurePath(path).is_absolute() and ".." not in PurePath(path).parts)


def _require_optimizer(checkpoint: dict[str, Any], module: LightningModule) -> None:
    configured: Any = module.configure_optimizers()
    whole = configured if isinstance(configured, dict) else {"optimizer": configured}
    optimizer: torch.optim.Optimizer = whole["optimizer"]
    schedulers = [whole["lr_scheduler"]["scheduler"].state_dict()] if "lr_scheduler" in whole else []
    _require_like(schedulers, _part(checkpoint, "lr_schedulers", list), "lr_schedulers")
    _require_like([optimizer.state_dict()], _part(checkpoint, "optimizer_states", list), "optimizer_states")
    state = checkpoint["optimizer_states"][0]["state"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    # Before its first step Adam has no state; afterwards it has one for every parameter.
    if state and state.keys() != set(range(len(parameters))):
        raise InputError(f"ckpt_path: optimizer_states are not of the model's {len(parameters)} weights; {_WAY_OUT}")
    for number, parameter in enumerate(parameters if state else ()):
        moments = {"step": torch.tensor(0.0), "exp_avg": parameter, "exp_avg_sq": parameter}
        _require_like(moments, state[number], f"optimizer_states {number}")


def _part(checkpoint: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(checkpoint.get(name), kind):
        raise InputError(f"ckpt_path: no {name} to go on from; {_WAY_OUT}")
    return checkpoint[name]


def _require_like(own: Any, given: Any, where: str, strict: bool = True) -> None:
    """Raise InputError unless `given` has the form of `own`: names, kinds of values, shapes; numbers finite.

    Args:
        own: as this trainer has it; None stands for anything plain, an empty dict for any dict.
        given: what a checkpoint has.
        where: what it is called.
        strict: whether no name may be missing (callbacks learn new ones from version to version), tensors are to have
            the same shape, and numbers and single-valued tensors not to be mixed.
    """
    if isinstance(own, dict):
        if not isinstance(given, dict) or (strict and not own.keys() <= given.keys()):
            raise InputError(f"ckpt_path: {where or 'its state'} lacks what a training goes on from; {_WAY_OUT}")
        for name in own.keys() & given.keys():
            _require_like(own[name], given[name], f"{where} {name}".strip(), strict)
    elif isinstance(own, list | tuple):
        if type(given) is not type(own) or len(given) != len(own):
            raise InputError(f"ckpt_path: {where} is not of the model's form; {_WAY_OUT}")
        for number, (value, other) in enumerate(zip(own, given, strict=True)):
            _require_like(value, other, f"{where} {number}", strict)
    elif not _is_like(own, given, strict):
        raise InputError(f"ckpt_path: {where} is not of the model's form; {_WAY_OUT}")


def _is_like(own: Any, given: Any, strict: bool) -> bool:
    if own is None or (given is None and not strict):
        return True
    if isinstance(own, torch.Tensor):
        if not isinstance(given, torch.Tensor):
            return not strict and isinstance(given, int | float)
        same = given.layout == torch.strided and given.is_floating_point() and own.shape == given.shape
        return same and bool(given.isfinite().all() or not strict)
    if isinstance(own, bool) or isinstance(given, bool):
        return isinstance(own, bool) and isinstance(given, bool)
    if isinstance(own, int):
        return isinstance(given, int) and 0 <= given < 2**62
    if isinstance(own, float):
        return isinstance(given, int | float) and (given == given or not strict)
    return type(given) is type(own)
