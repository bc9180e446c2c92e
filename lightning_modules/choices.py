"""Networks, optimisers and schedules by class and settings, as plain values, and the callables they stand for.

A choice is `{"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}}`. Checkpoints hold choices, and may be
anybody's: nothing is imported for them, and only classes of this project, of torch.optim and of the user are made.
"""

import functools
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_modules import networks
from lightning_modules.errors import InputError

NetworkCallable = Callable[[int, int], nn.Module]
OptimizerCallable = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerCallable = Callable[[Optimizer], LRScheduler]

T = TypeVar("T")

named_modules: set[str] = set()  # that the user imported by name, wherever they are installed


def choice(cls: type, **settings: Any) -> Any:
    """A class and settings as plain values: the default of a parameter that takes a callable."""
    path = f"{networks.__name__}.{cls.__name__}" if cls.__name__ in networks.__all__ else _path(cls)
    return {"class_path": path, "init_args": settings}


def described(callable_: Callable[..., Any]) -> dict[str, Any]:
    """The choice that a class, or functools.partial of one, is.

    Raises:
        InputError: it is another callable, which a checkpoint could not name.
    """
    partial = callable_ if isinstance(callable_, functools.partial) else functools.partial(callable_)
    if not isinstance(partial.func, type) or partial.args:
        raise InputError(f"{callable_}: give a class, or functools.partial of one with its settings by name")
    return choice(partial.func, **partial.keywords)


def made_of(chosen: Any, kind: type[T]) -> Callable[..., T]:
    """The callable that a choice describes; a callable is left as it is.

    Args:
        chosen: a choice, or a callable.
        kind: what it is to make: nn.Module, Optimizer or LRScheduler.

    Raises:
        InputError: the class is not known here, or makes something else.
    """
    if callable(chosen):
        return chosen
    stated = chosen if isinstance(chosen, dict) else {}
    path, settings = stated.get("class_path"), stated.get("init_args") or {}
    if not isinstance(path, str) or not isinstance(settings, dict):
        raise InputError(f"{chosen!r}: neither a callable nor class_path and init_args of a {kind.__name__}")
    module, _, name = path.rpartition(".")
    cls = getattr(networks if not module else sys.modules.get(module), name, None)
    if not isinstance(cls, type) or not _may_be_made(cls):
        told = f"--import {module} makes a class of your own known" if module else "give its module, too"
        raise InputError(f"{path}: no such class is known here; {told}")
    if not issubclass(cls, kind):
        raise InputError(f"{path}: makes no {kind.__name__}")
    return functools.partial(cls, **settings)


def _may_be_made(cls: type) -> bool:
    """Whether it is this project's, of torch.optim, or the user's: not of some library that happens to be loaded."""
    module = cls.__module__
    if module.split(".")[0] == __name__.split(".")[0] or module.startswith("torch.optim") or module in named_modules:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module == "__main__"
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
    return installed.isdisjoint(Path(file).resolve().parents)


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
