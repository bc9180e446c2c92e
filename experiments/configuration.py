"""Configuration files by name."""

from pathlib import Path

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


def with_named_configs(arguments: list[str]) -> list[str]:
    """The arguments, with every `--config NAME` resolved to a path."""
    resolved = list(arguments)
    for position, argument in enumerate(arguments):
        if argument.startswith("--config="):
            resolved[position] = f"--config={config_path(argument.removeprefix('--config='))}"
        elif position and arguments[position - 1] in ("--config", "-c"):
            resolved[position] = str(config_path(argument))
    return resolved
