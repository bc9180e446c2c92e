"""Configurations by name, presets, and `separatrix configs`, which lists what ships."""

import contextlib
import json
from collections.abc import Collection, Iterable
from itertools import groupby, takewhile
from pathlib import Path
from textwrap import fill
from typing import Any

import rich
import yaml

from experiments.command_line.earlier_settings import with_current_names, with_current_options
from experiments.command_line.own_classes import OURS
from experiments.command_line.parser import command_parser
from experiments.command_line.text import did_you_mean, probable
from lightning_modules.errors import InputError
from lightning_modules.plain_values import MOST_VALUES, nested_values

CONFIGS = Path(__file__).parents[1] / "configs"
PRESETS = ("demo", "small", "paper")
# Rows of deep clustering that evaluate trained models: a domain then brings no model of its own along.
EVALUATIONS = ("selection", "source_count")
DESCRIPTION = "List the built-in configurations with what each is for, or show one of them."


def config_path(name: str) -> Path:
    """The configuration file of that path, or the shipped one of that name, such as `weak_labels/frame`."""
    for candidate in (Path(name), CONFIGS / name, CONFIGS / f"{name}.yaml"):
        with contextlib.suppress(OSError, ValueError):  # no name that a file could have
            if candidate.is_file():
                return candidate
    shipped = shipped_configurations()
    closest = probable(name, shipped)
    alike = [closest] if closest else [known for known in shipped if probable(name, [known.rpartition("/")[2]])]
    advice = f"did you mean {' or '.join(alike)}?" if alike else "`separatrix configs` lists them"
    raise InputError(f"--config {name}: no such file, nor a built-in configuration; {advice}")


def shipped_configurations() -> dict[str, Path]:
    """The built-in configurations by name; those of a folder before those of the folders in it."""
    names = {path.relative_to(CONFIGS).with_suffix(""): path for path in CONFIGS.rglob("*.yaml")}
    return {name.as_posix(): names[name] for name in sorted(names, key=lambda name: (name.parent, name))}


def read_configuration(name: str) -> dict[str, Any]:
    """The sections of a configuration."""
    try:
        configuration = yaml.safe_load(config_path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: no date, or a huge number
        raise InputError(f"--config {name}: not readable as YAML ({' '.join(str(error).split())})") from None
    if nested_values(configuration) is None:
        raise InputError(f"--config {name}: more than {MOST_VALUES} values, aliases written out; write it without them")
    if not isinstance(configuration, dict):
        raise InputError(f"--config {name}: not a configuration; expected sections such as `model:` and `data:`")
    return configuration


def resolved(arguments: list[str], sections: Collection[str] | None = None) -> list[str]:
    """Arguments for a parser: presets are written out, configurations have paths, settings current names.

    Args:
        arguments: of a command.
        sections: of every configuration that count; all of them unless given. Configurations are written for trainings:
            what else they say, as of the model, is not every command's.
    """
    words: list[str] = []
    of_model = not _model_is_the_users_own(arguments := with_preset(arguments))
    for option in options(with_current_options(arguments, of_model)):
        if option[0] == "--config" and len(option) > 1:
            name, configuration = option[1], read_configuration(option[1])
            wanted = {key: value for key, value in configuration.items() if sections is None or key in sections}
            current = with_current_names(wanted, f"--config {name}", of_model)
            content = config_path(name) if current == configuration else json.dumps(current, default=str)
            words += [f"--config={content}", *option[2:]]
        else:
            words += option
    return words


def _model_is_the_users_own(arguments: Iterable[str]) -> bool:
    """Whether the class of the model, which the last one that names any decides, is none of the project's."""
    path: Any = None
    for option in options(arguments):
        name, _, value = option[0].partition("=")
        if name == "--model":
            path = value or " ".join(option[1:2]) or path
        elif name == "--config" and len(option) > 1:
            with contextlib.suppress(InputError):  # told where it is read
                model = read_configuration(option[1]).get("model")
                path = (model.get("class_path") if isinstance(model, dict) else model) or path
    return "." in str(path or "") and str(path).split(".")[0] not in OURS


def with_preset(arguments: list[str]) -> list[str]:
    """The arguments, with `--preset` replaced by the configurations that it stands for."""
    given = options(arguments)
    presets = [" ".join(option[1:2]) for option in given if option[0] == "--preset"]
    if not presets:
        return arguments
    preset = presets[-1]
    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: one of {', '.join(PRESETS)}{did_you_mean(preset, PRESETS)}")
    names = [shipped_name(option[1]) for option in given if option[0] == "--config" and len(option) > 1]
    # What a preset completes: the configurations of a system's own folder.
    rows = {name for name in shipped_configurations() if name.count("/") == 1}
    if rows.isdisjoint(names):
        raise InputError(f"--preset {preset}: completes a shipped configuration, such as --config weak_labels/frame")
    if arguments[0] not in ("fit", "validate", "test", "predict"):
        names.append("deep_clustering/selection")  # a command of data alone needs no model
    words: list[str] = []
    for option in given:
        name = shipped_name(option[1]) if option[0] == "--config" and len(option) > 1 else ""
        if name in rows:
            parts = config_options(*(part for part in preset_parts(name, preset, names) if part not in words))
            words += [*parts, *option[2:]]
        else:
            words += option[2:] if option[0] == "--preset" else option
    return words


def preset_parts(row: str, preset: str, names: Collection[str] = ()) -> list[str]:
    """The configurations that a row, such as `weak_labels/frame`, and a preset stand for, in their order.

    `names` are all configurations of the command: a domain brings its model along, unless one of EVALUATIONS is among
    them.
    """
    system, _, last = row.partition("/")
    if system == "weak_labels":
        sizes = {"EventClassifier": ["classifier"], "WeakLabelSeparator": ["separator"]}
        size = sizes.get(model_kind(row) or "", [])
        parts = ["base", f"{preset}/data", last, *(f"{preset}/{part}" for part in (*size, last))]
    elif last in ("model", *EVALUATIONS):
        parts = [last, *([f"{preset}/model"] if last == "model" else [])]
    else:
        trained = {f"{system}/{evaluation}" for evaluation in EVALUATIONS} & {*names}
        model = [] if trained else ["model", f"{preset}/model", f"{preset}/{last}_model"]
        parts = [*model, "base", last, f"{preset}/data", f"{preset}/{last}"]
    names = [f"{system}/{part}" for part in dict.fromkeys(parts)]
    return [name for name in names if (CONFIGS / f"{name}.yaml").is_file()]  # a size says only what differs


def shipped_name(name: str) -> str:
    """The name of the shipped configuration that this one is; empty where it is a file of the user's."""
    with contextlib.suppress(InputError, ValueError):
        return config_path(name).relative_to(CONFIGS).with_suffix("").as_posix()
    return ""


def options(arguments: Iterable[str]) -> list[tuple[str, ...]]:
    """Arguments as (name, value, ...), words before the first name by themselves; `--config=X` is `--config X`."""
    grouped: list[list[str]] = []
    for word in arguments:
        if word.startswith(("--config=", "--preset=")):
            grouped.append(word.split("=", 1))
        elif word.startswith("--") or not grouped:
            grouped.append([word])
        else:
            grouped[-1].append(word)
    return [tuple(group) for group in grouped]


def config_options(*names: str) -> list[str]:
    """`--config` for each of these configurations."""
    return [word for name in names for word in ("--config", name)]


def model_kind(name: str) -> str | None:
    """Name of the class of a configuration's model; none of one that has no model."""
    return class_name(read_configuration(name).get("model"))


def class_name(section: Any) -> str | None:
    """Name of the class that a section of a configuration is of; none of one that does not say it."""
    path = section.get("class_path") if isinstance(section, dict) else section
    return str(path).rpartition(".")[2] if path else None


def settings_of(section: Any) -> dict[str, Any]:
    """Settings of the class that a section of a configuration is of; none of one that does not say them."""
    settings = section.get("init_args") if isinstance(section, dict) else None
    return settings if isinstance(settings, dict) else {}


def added_options(names: Iterable[str], kind: str | None = None) -> list[str]:
    """`--config` for those of the configurations whose model is of this kind, and those of data alone."""
    return config_options(*(name for name in names if model_kind(name) in (kind, None)))


def data_options(arguments: list[str]) -> list[str]:
    """Those of the arguments that choose the data: configurations, and settings of the data."""
    chosen = (option for option in options(arguments) if option[0].startswith(("--config", "--preset", "--data")))
    return [word for option in chosen for word in option]


def comment(path: Path) -> str:
    """The comment that a configuration begins with, in one line."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def command(arguments: list[str]) -> None:
    """`separatrix configs [NAME]`."""
    parser = command_parser("configs", DESCRIPTION, "configs", "configs weak_labels/frame")
    parser.add_argument("name", nargs="?", help="of one configuration, or the path of a file")
    name = parser.parse_args(arguments[1:]).name
    if name is not None:
        read_configuration(name)
        path = config_path(name)
        print(f"{path}\n\n{path.read_text(encoding='utf-8')}", end="")
        return
    width, indent = rich.get_console().width, " " * 6
    for folder, names in groupby(shipped_configurations().items(), lambda item: item[0].rpartition("/")[0]):
        print(f"\n{folder}/")
        for name, path in names:
            print(f"  {name.rpartition('/')[2]}")
            said = comment(path)
            print(fill(said, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False))
    print("\nAt a built-in size:  separatrix fit --config weak_labels/strong --preset small")
    print("As it is written:      separatrix configs weak_labels/strong")
