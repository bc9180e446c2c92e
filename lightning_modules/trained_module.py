"""A trained module from its file."""

import os
import warnings
from collections.abc import Iterable, Iterator
from contextvars import Context
from textwrap import shorten
from typing import Any, TypeVar

import torch

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.errors import InputError
from lightning_modules.pretrained import model_file

M = TypeVar("M", bound=SeparatrixModule)


def path_list(setting: str, given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Paths, or names of included models, as texts; one alone is a list of one. InputError where it is neither."""
    listed: list[Any] = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    for each in listed:
        if not isinstance(each, str | os.PathLike):
            needed = "paths of files, or names of included models, are needed"
            raise InputError(f"{setting}: a {type(each).__name__}; {needed}")
    return [os.fspath(path) for path in listed]


def load_module(path: str | os.PathLike[str], *kinds: type[M]) -> M:
    """A trained module of one of these kinds or their subclasses, with the hyper-parameters that its file states.

    It is ready to be trained on: `.eval()` makes dropout and normalisation those of an evaluation.

    Args:
        path: of the checkpoint or exported model, or the name of an included model.
        kinds: of module; any unless given. A class of your own is known once it is imported.

    Raises:
        InputError: the checkpoint cannot be read or is of another kind of module; a kind is no class of module.
    """
    for each in kinds:
        if not (isinstance(each, type) and issubclass(each, SeparatrixModule)):
            raise InputError(f"kinds: {each!r} is no class of module, such as WeakLabelSeparator")
    (path,) = path_list("path", [path])
    checkpoint = read_checkpoint(model_file(path))
    if not kinds:
        kinds = (SeparatrixModule,)  # type: ignore[assignment]
    name, weights = checkpoint.get("module"), checkpoint["state_dict"]
    named = [each for kind in kinds for each in _with_subclasses(kind) if each.__name__ == name]
    # Of several classes of one's own the one that was defined last, as in a notebook.
    kind = named[0 if named[0] in kinds else -1] if named else None
    if kind is None:
        needed = " or ".join(kind.__name__ for kind in kinds)
        known = any(each.__name__ == name for each in _with_subclasses(SeparatrixModule))
        hint = "" if known else "; --import MODULE makes a class of your own known"
        raise InputError(f"{path}: a checkpoint of {name}; one of {needed} is needed{hint}")
    # Names with an underscore are LightningCLI's notes on how it made the module.
    settings = {name: value for name, value in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    try:
        # Sizes first, on a device without memory: the settings may ask for more than the file fills. In a context of
        # its own: in a variable of it LightningCLI keeps the settings of what it makes, from which a module takes its.
        with torch.device("meta"), warnings.catch_warnings(action="ignore"):
            Context().run(kind, **settings).load_state_dict(weights)
        module = Context().run(kind, **settings)
        module.load_state_dict(weights)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError, AttributeError) as error:
        reason = shorten(str(error), 300) or type(error).__name__
        raise InputError(f"{path}: does not fit this version's {kind.__name__} ({reason}); train it again") from error
    return module


def _with_subclasses(kind: type[M]) -> Iterator[type[M]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)
