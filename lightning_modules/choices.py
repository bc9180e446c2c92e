"""Networks, optimisers and schedules by class and settings, as plain values, and the callables they stand for.

A choice is `{"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-3}}`. Checkpoints hold choices, and may be
anybody's: nothing is imported for them, and only classes of this project, of torch.optim and of the user are made.
"""

import functools
import inspect
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
from lightning_modules.plain_values import is_plain

NetworkCallable = Callable[[int, int], nn.Module]
OptimizerCallable = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerCallable = Callable[[Optimizer], LRScheduler]

T = TypeVar("T")

named_modules: set[str] = set()  # that the user imported by name, wherever they are installed


def choice(cls: type, **settings: Any) -> Any:
    """A class and settings as plain values: the default of a parameter that takes a callable."""
    ours = getattr(networks, cls.__name__, None) is cls  # a class of the user's own may have the same name
    path = f"{networks.__name__}.{cls.__name__}" if ours else _path(cls)
    return {"class_path": path, "init_args": settings}


def described(callable_: Callable[..., Any]) -> dict[str, Any]:
    """The choice that a class, or functools.partial of one, is; InputError for what a checkpoint could not hold."""
    partial = callable_ if isinstance(callable_, functools.partial) else functools.partial(callable_)
    if not isinstance(partial.func, type) or partial.args or "." in partial.func.__qualname__:
        raise InputError(
            f"{callable_}: give a class of a module's top level, or functools.partial of one with its settings by name"
        )
    for name, value in partial.keywords.items():
        if not is_plain(value):
            raise InputError(
                f"{partial.func.__name__}: {name} is {value!r}; numbers, words and lists of them are needed"
            )
    return choice(partial.func, **partial.keywords)


def without_callables(value: Any) -> Any:
    """A setting, whose callables, also those within dicts, are `described`."""
    if isinstance(value, dict):
        return {name: without_callables(of_name) for name, of_name in value.items()}
    return described(value) if callable(value) else value


def made_of(chosen: Any, kind: type[T]) -> Callable[..., T]:
    """The callable that a choice describes; a callable is left as it is.

    InputError where the class is not known here, or makes no `kind`: nn.Module, Optimizer or LRScheduler.
    """
    if callable(chosen):
        return chosen
    stated = chosen if isinstance(chosen, dict) else {}
    path, settings = stated.get("class_path"), stated.get("init_args") or {}
    if not isinstance(path, str) or not isinstance(settings, dict):
        raise InputError(f"{chosen!r}: neither a callable nor class_path and init_args of a {kind.__name__}")
    module, _, name = path.rpartition(".")
    known = sys.modules.get(module) if module else networks
    cls = getattr(known, "__dict__", {}).get(name)  # getattr on some modules imports others
    if not isinstance(cls, type) or not _may_be_made(cls):
        way_out = f"--import {module} makes a class of your own known" if module else "give its module, too"
        raise InputError(f"{path}: no such class is known here; {way_out}")
    if not issubclass(cls, kind):
        raise InputError(f"{path}: makes no {kind.__name__}")
    return functools.partial(cls, **settings)


def completed(value: Any) -> Any:
    """A setting; of a choice with all that its class has by default, so that two ways to write one are the same."""
    if not isinstance(value, dict) or "class_path" not in value:
        return value
    try:
        made = made_of(value, object)
    except InputError:  # a class that is not known here
        return value
    cls: type = made.func  # type: ignore[attr-defined]  # a partial, of a dict
    parameters = inspect.signature(cls).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    return {"class_path": _path(cls), "init_args": {**defaults, **(value.get("init_args") or {})}}


def _may_be_made(cls: type) -> bool:
    """Whether it is this project's, of torch.optim, or the user's: not of some library that happens to be loaded."""
    module = cls.__module__
    if module.split(".")[0] == __name__.split(".")[0] or module.startswith("torch.optim") or module in named_modules:
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return module == "__main__"
    folders = Path(file).resolve().parents
    # Also those of the user and of the system, which sysconfig does not tell.
    installed = any(folder.name in ("site-packages", "dist-packages") for folder in folders)
    return not installed and Path(sysconfig.get_path("stdlib")).resolve() not in folders


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
