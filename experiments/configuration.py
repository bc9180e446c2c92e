"""Configuration files by name."""

from pathlib import Path
from typing import Any

import yaml

from lightning_modules.errors import InputError

CONFIGS = Path(__file__).parent / "configs"


def config_path(name: str) -> Path:
    """The configuration file of that path, or the shipped one of that name, such as `weak_labels/frame`.

    Raises:
        InputError: there is neither.
    """
    for candidate in (Path(name), CONFIGS / name, CONFIGS / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    known = ", ".join(sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml")))
    raise InputError(f"--config {name}: no such file, nor one of the shipped configurations ({known})")


def where_shipped(*names: str) -> list[str]:
    """Those of the names that a shipped configuration has: presets say only what differs."""
    return [name for name in names if (CONFIGS / f"{name}.yaml").is_file()]


def read_configuration(name: str) -> dict[str, Any]:
    """The sections of a configuration.

    Raises:
        InputError: there is no such configuration, or it is not one.
    """
    try:
        configuration = yaml.safe_load(config_path(name).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"--config {name}: not readable as YAML ({' '.join(str(error).split())})") from None
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
