"""What is wrong with a setting, in one line: its name, and what was probably meant.

The arguments and the configurations that they name are compared with what the parser and the classes of the project
know; for a value that does not fit, the parser's own words are taken.
"""

import inspect
import json
import os
import pkgutil
from argparse import ArgumentError
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentParser

from experiments.command_line.configurations import options, read_configuration
from experiments.command_line.own_classes import clash
from experiments.command_line.text import did_you_mean, probable
from lightning_modules.errors import InputError, printable

PARTS = ("class_path", "init_args", "dict_kwargs", "help")


def explained(error: ArgumentError, parser: ArgumentParser, arguments: list[str]) -> str:
    """A parser's error in one line, with what was probably meant.

    Args:
        error: jsonargparse's or argparse's.
        parser: whose it is; its settings are what can have been meant.
        arguments: that it was given.
    """
    for action in parser._actions:
        parsers = getattr(action, "_name_parser_map", None) or {}  # of a command with subcommands, such as fit
        word = next((word for word in arguments if not word.startswith("-")), "")
        if parsers and word not in parsers:
            return printable(f"{word}: one of {', '.join(parsers)} is needed{did_you_mean(word, parsers)}")
        parser = parsers.get(word, parser)
    settings = Settings(parser, list(_given(arguments)))
    found = filter(None, (settings.wrong(*setting) for setting in settings.given))
    told = next(found, None) or _message(error)
    if "model" in settings.options and not any(name == "--config" for name, *_ in options(arguments)):
        told += "; a --config gives model and data, such as --config weak_labels/strong"
    return printable(told)


def _message(error: BaseException) -> str:
    """Of an error within errors, the innermost that names its setting."""
    message: BaseException = error
    cause: BaseException | None = error
    while cause is not None:
        message = cause if isinstance(cause, ArgumentError | TypeError) else message
        cause = cause.__cause__
    return " ".join(str(message).split())


def _given(arguments: list[str]) -> Iterator[tuple[str, Any, str]]:
    """Settings in their order: name without `init_args`, value, and what stands before the name, such as dashes."""
    for option in options(arguments):
        name, equals, joined = option[0].partition("=")
        value = joined if equals else " ".join(option[1:])
        if name == "--config":
            try:
                content = json.loads(value) if value.startswith("{") else read_configuration(value)
            except InputError:
                continue
            yield from ((inner, of_inner, "") for inner, of_inner in _flat(content))
        elif name.startswith("--"):
            yield name[2:].removesuffix("+").replace(".init_args.", "."), value, "--"


def _flat(section: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(section, dict) and section:
        for key, value in section.items():
            inner = ".".join(filter(None, (name, str(key))))
            yield from _flat(value, name if key in ("class_path", "init_args") else inner)
    elif isinstance(section, list) and any(isinstance(each, dict) for each in section):
        for each in section:
            yield name, each.get("class_path") if isinstance(each, dict) else each
    else:
        yield name, section


class Settings:
    """What a command was given, beside what there is.

    Args:
        parser: of the command.
        given: names, values, and what stands before the names.
    """

    def __init__(self, parser: ArgumentParser, given: list[tuple[str, Any, str]]) -> None:
        self.given = given
        names = {option.lstrip("-") for action in parser._actions for option in action.option_strings}
        self.options = {name for name in names if len(name) > 1 and not name.endswith((".help", "+"))}
        self.kinds = _kinds() if self.options & {"model", "data"} else {}
        self.chosen = {name.removesuffix(".class_path"): str(value) for name, value, _ in given if self._kind(name)}

    def _kind(self, name: str) -> type | None:
        """What the class must be that a setting names; None where it names none."""
        return self.kinds.get(name.removesuffix(".class_path").removesuffix(".help").rpartition(".")[2])

    def wrong(self, name: str, value: Any, dashes: str) -> str | None:
        """What is wrong with a setting; None where nothing is."""
        parts = name.split(".")
        known = [end for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in self.options]
        section = ".".join(parts[: known[0]]) if known else ""
        # Options such as --trainer take files; settings beside those that they have are none.
        has_settings = any(option.startswith(f"{section}.") for option in self.options) and not self._kind(section)
        if not known or (has_settings and known[0] < len(parts)):
            return self._unknown(name, dashes)
        rest = parts[known[0] :]
        kind = self._kind(section)
        cls: Any = None
        while kind is not None:
            path = str(value) if not rest or rest in (["class_path"], ["help"]) else self.chosen.get(section)
            cls, told = _class(path, kind) if path else (cls, None)
            if told or not rest or rest[0] in PARTS or cls is None:
                return f"{dashes}{section}: {told}" if told else None
            known_settings = _settings(cls)
            if rest[0] not in known_settings:
                meant = probable(rest[0], [*known_settings, "init_args"])
                advice = f"did you mean {dashes}{section}.{meant}?" if meant else f"it has {', '.join(known_settings)}"
                return f"{dashes}{section}.{rest[0]}: {cls.__name__} has no such setting; {advice}"
            default = inspect.signature(cls).parameters.get(rest[0])
            section, rest = f"{section}.{rest[0]}", rest[1:]
            kind, of_default = self._kind(section), getattr(default, "default", None)
            cls = _class(of_default["class_path"], kind)[0] if kind and isinstance(of_default, dict) else None
        return None

    def _unknown(self, name: str, dashes: str) -> str:
        known = set(self.options)
        for section in known & {"model", "data"}:
            known |= {f"{section}.{each}" for cls in _public(self.kinds[section]) for each in _settings(cls)}
        meant = probable(name, sorted(known))
        if meant is None:  # such as max_epochs: of which section?
            last = probable(name, sorted({each.rpartition(".")[2] for each in known}))
            meant = next((each for each in sorted(known) if each.rpartition(".")[2] == last), None)
        advice = f"did you mean {dashes}{meant}?" if meant else "--help lists them"
        return f"{dashes}{name}: no such setting; {advice}"


def _kinds() -> dict[str, type]:
    """What the class that a setting names must be, by the last part of the setting's name."""
    from lightning import Callback, LightningDataModule
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from datamodules.corpora.corpus import Corpus
    from lightning_modules.base_module import SeparatrixModule

    kinds = {"model": SeparatrixModule, "data": LightningDataModule, "corpus": Corpus, "callbacks": Callback}
    return {**kinds, "network": nn.Module, "optimizer": Optimizer, "scheduler": LRScheduler}


def _class(path: str, kind: type) -> tuple[Any, str | None]:
    """The class of that name or path, and what is wrong where there is none; neither where it is no such name."""
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or path in ("null", "None", "true", "false"):
        return None, None
    if not module:
        known = {cls.__name__: cls for cls in _concrete(kind)}
        ours = ", ".join(cls.__name__ for cls in _public(kind)) or "its name"
        missing = did_you_mean(name, known, f"; one of {ours}, or MODULE.CLASS")
        return known.get(name), None if name in known else f"no class {name}{missing}"
    try:
        return pkgutil.resolve_name(path), None
    except (ImportError, ValueError):
        return None, clash(module) or f"no module {module} in {os.getcwd()}, nor an installed one"
    except AttributeError:
        return None, f"no class {name} in {module}"


def _public(kind: type) -> list[type]:
    """The classes of a kind that the project exports; of modules those that are networks alone."""
    from lightning import LightningModule

    import separatrix

    exported = [getattr(separatrix, name) for name in separatrix.__all__]
    of_kind = [cls for cls in exported if isinstance(cls, type) and issubclass(cls, kind)]
    return [cls for cls in of_kind if issubclass(kind, LightningModule) or not issubclass(cls, LightningModule)]


def _concrete(kind: type) -> Iterator[type]:
    """Itself and all classes derived from it that can be made."""
    if not inspect.isabstract(kind):
        yield kind
    derived: type
    for derived in kind.__subclasses__():
        yield from _concrete(derived)


def _settings(cls: type) -> list[str]:
    """Names of what its constructor takes, its bases' included."""
    return [name for name in ArgumentParser().add_class_arguments(cls, fail_untyped=False) if "." not in name]
