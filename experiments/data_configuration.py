"""The data of a configuration, read by the commands that need no model: `bank`, `synthesize` and `ranks`."""

import json
from collections.abc import Collection
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from lightning import LightningDataModule

import separatrix  # noqa: F401  (public classes can then be named without their module)
from experiments.command_parser import Explaining, command_parser
from experiments.configuration import read_configuration


def data_parser(
    command: str, text: str, *examples: str, base: type[LightningDataModule] = LightningDataModule
) -> Explaining:
    """A parser with `--config` and `--data...`, as `separatrix fit` has them.

    Args:
        command: the command's name.
        text: what its help says.
        examples: arguments of `separatrix`.
        base: which data modules it takes.
    """
    usage = f"separatrix {command} --config CONFIG ... [--data.SETTING VALUE ...] [--OPTION VALUE ...]"
    parser = command_parser(command, text, *examples, usage=usage)
    parser.add_argument(
        "--config",
        action=ActionConfigFile,
        help="a file or shipped configuration, such as weak_labels/base; repeatable",
    )
    parser.add_subclass_arguments(base, "data", required=True, help="any setting of the data, as in `separatrix fit`")
    return parser


def with_sections(arguments: list[str], sections: Collection[str] = ("data",)) -> list[str]:
    """The arguments, with every `--config NAME` replaced by these sections of that configuration.

    Configurations are written for trainings: what else they say, as of the model, is not this command's.

    Raises:
        InputError: there is no such configuration, or it is not one.
    """
    resolved: list[str] = []
    for argument in arguments:
        if resolved and resolved[-1] == "--config":
            resolved[-1] = f"--config={_sections(argument, sections)}"
        elif argument.startswith("--config="):
            resolved.append(f"--config={_sections(argument.removeprefix('--config='), sections)}")
        else:
            resolved.append(argument)
    return resolved


def _sections(name: str, sections: Collection[str]) -> str:
    return json.dumps({key: value for key, value in read_configuration(name).items() if key in sections})


def plain_data(parser: ArgumentParser, settings: Namespace) -> dict[str, Any]:
    """The resolved data configuration as plain values, defaults included: `class_path` and `init_args`."""
    plain: dict[str, Any] = json.loads(parser.dump(settings, format="json", skip_unset=False))["data"]
    return plain
