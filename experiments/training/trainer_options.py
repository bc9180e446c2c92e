"""Options of Lightning's Trainer: those that have another default here, and those that are refused."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_modules.errors import InputError

DEFAULTS: dict[str, Any] = {
    "num_sanity_val_steps": 0,  # what a run needs is checked before it starts, and the first line is an epoch's
    "enable_model_summary": False,  # the overview of a run counts its parameters
    "use_distributed_sampler": False,
}


_EVERY = ("fit", "validate", "test", "predict")
_IN_32_BITS = "spectra and losses are computed in 32 bits, whatever the network's; bf16-mixed reduces the network alone"
# Of an option: in which commands it is refused, for which values, and why.
_REFUSED: dict[str, tuple[Sequence[str], Callable[[Any], object], str]] = {
    "default_root_dir": (_EVERY, bool, "everything that a run makes lies in --run"),
    "use_distributed_sampler": (_EVERY, bool, "the data share their mixtures out over ranks, none of them twice"),
    "barebones": (_EVERY, bool, "leaves neither checkpoints nor lines; `separatrix benchmark` measures speed"),
    "model_registry": (_EVERY, bool, "checkpoints stay in the run's folder; --logger wandb keeps copies"),
    "precision": (_EVERY, lambda name: str(name) in ("64", "64-true", "16-true", "bf16-true"), _IN_32_BITS),
    "limit_train_batches": (("fit",), lambda limit: limit == 0, "nothing would be learnt"),
    "accumulate_grad_batches": (("fit",), lambda batches: batches < 1, "a step takes one batch at least"),
    # It would write over what a whole evaluation left.
    "fast_dev_run": (_EVERY[1:], bool, "of `fit` only; --trainer.limit_test_batches shortens"),
}


def require_honoured(options: Mapping[str, Any], command: str) -> None:
    """Refuse options of the trainer that a command would not honour."""
    for name, (commands, holds, reason) in _REFUSED.items():
        if command in commands and holds(options.get(name)):
            raise InputError(f"--trainer.{name} {options[name]}: {reason}")
    strategy = options.get("strategy")
    kind = strategy if isinstance(strategy, str) else type(strategy).__name__
    if kind.lower().startswith(("fsdp", "deepspeed", "modelparallel")):
        raise InputError(
            f"--trainer.strategy {kind}: shards a model, and with it the checkpoints; these models fit on a device; ddp"
        )
    if kind.lower().endswith(("spawn", "fork", "notebook")):
        raise InputError(f"--trainer.strategy {kind}: starts ranks as copies of this process; ddp as commands")


def as_list(given: Any) -> list[Any]:
    """Callbacks, loggers or plugins, of which Lightning takes one, several or none."""
    if given is None or isinstance(given, bool):
        return []
    return list(given) if isinstance(given, list | tuple) else [given]
