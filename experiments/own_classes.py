"""Classes of a user's own: from where they are imported, and how a command learns of those that no option names.

A class that a configuration or an option names, such as `--model my_models.MySeparator`, is imported by that name. A
checkpoint only states its class's name, and nothing is ever imported for it: that is what `--import my_models` is for.
"""

import importlib
import os
import sys

from lightning_modules.errors import InputError

OPTION = "--import"


def find_in_current_folder() -> None:
    """Let modules of the current folder be imported, after all that is installed: it takes no installed one's place."""
    if "" not in sys.path:
        sys.path.append("")


def import_own(arguments: list[str]) -> list[str]:
    """Import the module of every `--import MODULE`.

    Args:
        arguments: of a command.

    Returns:
        The other arguments.

    Raises:
        InputError: there is no such module. What goes wrong within one is raised as it is.
    """
    others: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == OPTION:
            _import(next(waiting, ""))
        elif argument.startswith(f"{OPTION}="):
            _import(argument.removeprefix(f"{OPTION}="))
        else:
            others.append(argument)
    return others


def _import(module: str) -> None:
    if not all(part.isidentifier() for part in module.split(".")):
        raise InputError(f"{OPTION} {module}: the name of a module is needed, such as my_models for my_models.py")
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # one that the module itself asks for
        raise InputError(
            f"{OPTION} {module}: no such module in {os.getcwd()}, nor an installed one; start the command where it is"
        ) from None
