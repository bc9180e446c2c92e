"""Configuration files by name."""

import contextlib
from pathlib import Path
from typing import Any

import yaml

from experiments.suggestion import probable
from lightning_modules.errors import InputError
from lightning_modules.plain_values import MOST_VALUES, nested_values

CONFIGS = Path(__file__).parent / "configs"


def config_path(name: str) -> Path:
    """The configuration file of that path, or the shipped one of that name, such as `weak_labels/frame`.

    Raises:
        InputError: there is neither.
    """
    for candidate in (Path(name), CONFIGS / name, CONFIGS / f"{name}.yaml"):
        with contextlib.suppress(OSError, ValueError):  # no name that a file could have
            if candidate.is_file():
                return candidate
    shipped = shipped_configurations()
    closest = probable(name, shipped)
    alike = [closest] if closest else [known for known in shipped if probable(name, [known.rpartition("/")[2]])]
    advice = f"did you mean {' or '.join(alike)}?" if alike else "`separatrix configs` lists them"
    raise InputError(f"--config {name}: no such file, nor a configuration that ships; {advice}")


def shipped_configurations() -> dict[str, Path]:
    """The configurations that ship by name; those of a folder before those of the folders in it."""
    names = {path.relative_to(CONFIGS).with_suffix(""): path for path in CONFIGS.rglob("*.yaml")}
    return {name.as_posix(): names[name] for name in sorted(names, key=lambda name: (name.parent, name))}


def where_shipped(*names: str) -> list[str]:
    """Those of the names that a shipped configuration has: presets say only what differs."""
    return [name for name in names if (CONFIGS / f"{name}.yaml").is_file()]


def read_configuration(name: str) -> dict[str, Any]:
    """The sections of a configuration.

    Raises:
        InputError: there is no such configuration, or it is not one.
    """
    try:
        configuration = yaml.safe_load(config_path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: no date, or a huge number
        raise InputError(f"--config {name}: not readable as YAML ({' '.join(str(error).split())})") from None
    if nested_values(configuration) is None:
        raise InputError(f"--config {name}: more than {MOST_VALUES} values, aliases written out; write it without them")
    if not isinstance(configuration, dict):
        raise InputError(f"--config {name}: not a configuration; expected sections such as `model:` and `data:`")
    return configuration


def _checked(name: str) -> str:
    read_configuration(name)
    return str(config_path(name))


def with_named_configs(arguments: list[str]) -> list[str]:
    """The arguments, with every `--config NAME` resolved to a path.

    Raises:
        InputError: there is no such configuration, or it is not one.
    """
    resolved = list(arguments)
    for position, argument in enumerate(arguments):
        if argument.startswith("--config="):
            resolved[position] = f"--config={_checked(argument.removeprefix('--config='))}"
        elif position and arguments[position - 1] in ("--config", "-c"):
            resolved[position] = _checked(argument)
    return resolved


def options(settings: list[str]) -> list[tuple[str, ...]]:
    """Settings as (name, value), or (name=value,)."""
    starts = [position for position, word in enumerate(settings) if word.startswith("--")]
    return [tuple(settings[i:j]) for i, j in zip(starts, [*starts, len(settings)][1:], strict=True)]


def config_options(*names: str) -> list[str]:
    """`--config` for each of these configurations."""
    return [word for name in names for word in ("--config", name)]


def data_options(settings: list[str]) -> list[str]:
    """Those of the settings that are of the data."""
    return [word for option in options(settings) if option[0].startswith("--data.") for word in option]
