"""Classes of a user's own, of modules in the current folder or installed.

A class that a configuration or an option names, such as `--model.network my_networks.Mine`, is imported by that name.
A checkpoint states the names of its classes, but nothing is ever imported for it without `--import my_networks`.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_modules.errors import InputError

OURS = ("lightning_modules", "datamodules", "callbacks", "experiments", "separatrix")


def find_in_current_folder() -> None:
    """Let modules of the current folder be imported, unless an installed one has their name."""
    folder = os.getcwd()  # not "": jsonargparse changes the folder while it reads a configuration
    if folder not in sys.path:
        sys.path.append(folder)


def import_own(arguments: list[str]) -> list[str]:
    """Import the module of every `--import MODULE`, and return the other arguments.

    InputError where there is no such module; an error within one is raised as it is.
    """
    others: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, module = word.partition("=")
        if name != "--import":
            others.append(word)
            continue
        module = module if equals else next(words, "")
        if not all(part.isidentifier() for part in module.split(".")):
            told = "the name of a module is needed, such as my_networks for my_networks.py"
            raise InputError(f"--import {module}: {told}")
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # one that the module itself asks for
            told = f"no such module in {os.getcwd()}, nor an installed one; start the command where it is"
            raise InputError(f"--import {module}: {told}") from None
        from lightning_modules.choices import named_modules

        named_modules.add(module)
    return others


def import_options() -> list[str]:
    """`--import` for each module that was imported so, for a command that is printed."""
    from lightning_modules.choices import named_modules

    return [word for module in sorted(named_modules) for word in ("--import", module)]


def modules_of(settings: Any) -> list[str]:
    """Modules of the classes that settings (plain values) name, other than this project's and torch's, each once."""
    modules = dict.fromkeys(path.rpartition(".")[0] for path in _class_paths(settings))
    return [module for module in modules if module.split(".")[0] not in ("", "torch", *OURS)]


def own_imports(settings: Any) -> list[str]:
    """`--import` for those that a printed command needs: of the current folder, or imported by name."""
    from lightning_modules.choices import named_modules

    own = (module for module in modules_of(settings) if module in named_modules or _is_in_current_folder(module))
    return [word for module in own for word in ("--import", module)]


def _class_paths(settings: Any) -> Iterator[str]:
    for name, value in settings.items() if isinstance(settings, dict) else enumerate(settings):
        if name in ("class_path", "_class_path") and isinstance(value, str):
            yield value
        elif isinstance(value, dict | list | tuple):
            yield from _class_paths(value)


def _is_in_current_folder(module: str) -> bool:
    found = importlib.util.find_spec(module.split(".")[0])
    places = [found.origin, *(found.submodule_search_locations or ())] if found is not None else []
    return any(place and Path(place).resolve().parent == Path.cwd() for place in places)
