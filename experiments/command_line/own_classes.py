"""Classes of a user's own, of modules in the current folder or installed.

A class that a configuration or an option names, such as `--model.network my_networks.Mine`, is imported by that name.
A checkpoint states the names of its classes, but nothing is ever imported for it without `--import my_networks`.
"""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
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

    InputError where it cannot be imported.
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
        if reason := why_not_imported(module):
            raise InputError(f"--import {module}: {reason}")
        from lightning_modules.choices import named_modules

        named_modules.add(module)
    return others


def why_not_imported(module: str) -> str | None:
    """Import a module that the user names; None, or why it cannot be: it is not there, or asks for what is not.

    Any other error within it is raised as it is.
    """
    try:
        importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
            return f"no module {module} in {os.getcwd()}, nor an installed one; start the command where it is"
        calls = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
        file, line = [call for call in calls if "importlib" not in call[0]][-1]
        return f"{module} cannot be imported: {' '.join(str(error).split())} ({file}, line {line})"
    return None


def import_options() -> list[str]:
    """`--import` for each module that was imported so, for a command that is printed."""
    from lightning_modules.choices import named_modules

    return import_words(sorted(named_modules))


def modules_of(settings: Any) -> list[str]:
    """Modules of the classes that settings (plain values) name, other than this project's and torch's, each once."""
    modules = dict.fromkeys(path.rpartition(".")[0] for path in _class_paths(settings))
    return [module for module in modules if module.split(".")[0] not in ("", "torch", *OURS)]


def own_imports(settings: Any) -> list[str]:
    """`--import` for a printed command: of what was imported so, and of modules whose classes settings name.

    Of the latter those that are known here: imported already, by a configuration for one, or in the current folder.
    """
    from lightning_modules.choices import named_modules

    known = (module for module in modules_of(settings) if module in sys.modules or _is_in_current_folder(module))
    return import_words(dict.fromkeys([*sorted(named_modules), *known]))


def import_words(modules: Iterable[str]) -> list[str]:
    """`--import` for each of these modules."""
    return [word for module in modules for word in ("--import", module)]


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
