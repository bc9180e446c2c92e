"""What is wrong with a setting, in one line: its name, and what was probably meant.

The arguments and the configurations that they name are compared with what the parser and the project's classes know;
for a value that does not fit, the parser's own words are taken.
"""

import inspect
import json
import re
import sys
from argparse import ArgumentError
from collections.abc import Iterator
from typing import Any

from jsonargparse import ArgumentParser

from experiments.command_line.configurations import options, read_configuration
from experiments.command_line.own_classes import why_not_imported
from experiments.command_line.text import did_you_mean, probable
from lightning_modules.errors import InputError, printable

# What a value can be, by the class that a parser expects; limits of a number.
_VALUES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "NoneType": "null"}
_VALUES |= dict.fromkeys(("Sequence", "list"), "a list, such as [1, 2]") | dict.fromkeys(
    ("Mapping", "dict"), "a mapping"
)
_BOUNDS = {">": "above ", ">=": "from ", "<": "below ", "<=": "up to "}


def explained(error: ArgumentError, parser: ArgumentParser, arguments: list[str]) -> str:
    """A parser's error on its arguments in one line, with the setting that was probably meant."""
    for action in parser._actions:
        parsers = getattr(action, "_name_parser_map", None) or {}  # of a command with subcommands, such as fit
        word = next((word for word in arguments if not word.startswith("-")), "")
        if parsers and word not in parsers:
            return printable(f"{word}: one of {', '.join(parsers)} is needed{did_you_mean(word, parsers)}")
        parser = parsers.get(word, parser)
    names = {option.lstrip("-") for action in parser._actions for option in action.option_strings}
    own = {name for name in names if len(name) > 1 and not name.endswith((".help", "+"))}
    if takes_classes := "config" in own:
        own.add("preset")  # which is replaced by configurations before anything is parsed
    kinds = _kinds() if takes_classes else {}
    given = [(name, value, dashes) for name, value, dashes in _given(arguments) if name]
    found = (
        _wrong_name(name, dashes, own, kinds) or _wrong_class(name, value, dashes, kinds)
        for name, value, dashes in given
    )
    told = next(filter(None, found), None) or _with_dashes(_wrong_value(_message(error), given), parser)
    if own >= {"config", "model"} and not any(name == "--config" for name, *_ in options(arguments)):
        told += "; a --config gives model and data, such as --config weak_labels/strong"
    return printable(told)


def _message(error: BaseException) -> str:
    """Of an error within errors, the innermost that names its setting."""
    message: BaseException = error
    cause: BaseException | None = error
    while cause is not None:
        message = cause if isinstance(cause, ArgumentError | TypeError) else message
        cause = cause.__cause__
    text = " ".join(str(message).split())
    unquoted = "Expected a <class 'str'>" in text and "Got value: {" not in text
    return text + '; quote what YAML reads as a number or a truth value: \'["0", "yes"]\'' * unquoted


def _wrong_value(message: str, given: list[tuple[str, Any, str]]) -> str:
    """jsonargparse's message on a value, as the setting, the value and what it can be; else the message as it is."""

    def named(key: str) -> str:  # of a setting of a class the parser says its last name alone
        found = (f"{dashes}{name}" for name, _, dashes in reversed(given) if f".{name}".endswith(f".{key}"))
        return next(found, key)

    if unknown := re.search(r"Option '([\w.]+)' is not accepted", message):
        setting = named(unknown[1])
        section = setting.lstrip("-").rpartition(".")[0]
        cls = next((str(value) for name, value, _ in reversed(given) if name == section and value), "CLASS")
        return f"{setting}: {cls} has no such setting; --{section}.help {cls} lists those that it has"
    if same := re.search(
        r'Parser key "([\w.]+)": .*Multiple subclasses with name (\w+)\. .* ambiguity: (.+?)\.$', message
    ):
        return f"{named(same[1])}: several classes are called {same[2]}; give one with its module: {same[3]}"
    told = re.fullmatch(r'Parser key "([\w.]+)": (.*) (?:Got|Given) value: (.*?)(; quote .*)?', message)
    if not told:
        return message
    key, reasons, value, advice = told.groups()
    possible = [
        _VALUES.get(name.rpartition(".")[2], "") for name in re.findall(r"Expected a <class '([\w.]+)'>", reasons)
    ]
    possible += [
        f"one of {names}".replace("'", "") for names in re.findall(r"Expected a typing.Literal\[(.*?)\]", reasons)
    ]
    for bounds in re.findall(r"restriction (v[<>=]+[-+.\de]+(?: and v[<>=]+[-+.\de]+)?)", reasons):
        possible.append("a number " + re.sub(r"v([<>]=?)", lambda bound: _BOUNDS[bound[1]], bounds))
    if not any(possible):
        return message
    return f"{named(key)}: {value}; {' or '.join(dict.fromkeys(filter(None, possible)))} is needed{advice or ''}"


def _with_dashes(message: str, parser: ArgumentParser) -> str:
    """What is missing, as it is typed: options with their dashes, words with what there is to choose from."""
    head, told, names = message.partition("arguments are required: ")
    if not told:
        return message
    actions = {action.dest: action for action in parser._actions}
    typed = []
    for name in names.split(", "):
        action = actions.get(name) or actions.get(name.partition(".")[2])  # such as fit.data
        choices = f" ({' or '.join(action.choices)})" if action and action.choices else ""
        typed.append((action.option_strings[-1] if action and action.option_strings else name) + choices)
    return head + told + ", ".join(typed)


def _given(arguments: list[str]) -> Iterator[tuple[str, Any, str]]:
    """Settings in their order: name without `init_args` and `class_path`, value, and the dashes before the name."""
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
            parts = name[2:].removesuffix("+").split(".")
            yield ".".join(part for part in parts if part not in ("init_args", "class_path", "help")), value, "--"


def _flat(section: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(section, dict) and section:
        for key, value in section.items():
            inner = ".".join(filter(None, (name, str(key).removesuffix("+"))))
            yield from _flat(value, name if key in ("class_path", "init_args") else inner)
    elif isinstance(section, list) and any(isinstance(each, dict) for each in section):
        for each in section:
            yield name, each.get("class_path") if isinstance(each, dict) else each
    else:
        yield name, section


def _kinds() -> dict[str, type]:
    """What the class must be that a setting names."""
    from lightning import Callback, LightningDataModule
    from lightning.pytorch.loggers import Logger
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from datamodules.corpora.corpus import Corpus
    from lightning_modules.base_module import SeparatrixModule

    kinds = {"model": SeparatrixModule, "data": LightningDataModule, "data.corpus": Corpus}
    kinds |= {"model.network": nn.Module, "model.optimizer": Optimizer, "model.scheduler": LRScheduler}
    return {**kinds, "trainer.callbacks": Callback, "trainer.logger": Logger}


def _wrong_name(name: str, dashes: str, own: set[str], kinds: dict[str, type]) -> str | None:
    """An error for a setting that no class has; None where there is, or may be one."""
    section = max((each for each in kinds if name.startswith(f"{each}.")), key=len, default="")
    of_classes = (
        {f"{section}.{each}" for cls in _classes(kinds[section]) for each in _settings(cls)} if section else set()
    )
    groups = {each.rpartition(".")[0] for each in own}  # such as trainer
    if any(
        name == each or (name.startswith(f"{each}.") and each not in {*groups, *kinds}) for each in own | of_classes
    ):
        return None
    known = sorted({each for each in own | of_classes if each not in groups})
    head, _, last = name.rpartition(".")
    beside = {each.rpartition(".")[2]: each for each in known if head and each.rpartition(".")[0] == head}
    # Where the section is right, what follows it decides.
    meant = beside.get(probable(last, beside) or "") if beside else probable(name, known)
    if meant is None and not head:  # such as max_epochs: of which section?
        alike = probable(name, sorted({each.rpartition(".")[2] for each in known}))
        meant = next((each for each in known if each.rpartition(".")[2] == alike), None)
    return f"{dashes}{name}: no such setting; {f'did you mean {dashes}{meant}?' if meant else '--help lists them'}"


def _wrong_class(name: str, value: Any, dashes: str, kinds: dict[str, type]) -> str | None:
    """An error for a class that there is not, or of another kind; None where the setting names none, or a right one."""
    if name not in kinds or not all(part.isidentifier() for part in str(value).split(".")):
        return None
    module, _, last = str(value).rpartition(".")
    known = {cls.__name__ for cls in _concrete(kinds[name])}
    if not module and last not in known | {"None", "null", "true", "false"}:
        ours = ", ".join([cls.__name__ for cls in _public(kinds[name])] or sorted(known))
        return f"{dashes}{name}: no class {last}{did_you_mean(last, known, f'; one of {ours}, or MODULE.CLASS')}"
    if not module:
        return None
    if reason := why_not_imported(module):
        return f"{dashes}{name}: {reason}"
    cls = getattr(sys.modules[module], last, None)
    if cls is None:
        return f"{dashes}{name}: no class {last} in {module}"
    made = cls if isinstance(cls, type) else getattr(cls, "__annotations__", {}).get("return")  # of a function
    is_one = isinstance(made, type) and issubclass(made, kinds[name])
    return None if is_one else f"{dashes}{name}: {value} is no {kinds[name].__name__}"


def _classes(kind: type) -> list[type]:
    """Those whose settings can be meant: all, or of a kind that the project has, its own and the user's."""
    concrete = list(_concrete(kind))
    libraries, project = ("torch", "torchmetrics", "lightning"), ("lightning_modules", "datamodules", "callbacks")
    if not any(cls.__module__.split(".")[0] in project for cls in concrete):  # such as schedules
        return concrete
    return [cls for cls in concrete if cls.__module__.split(".")[0] not in libraries]


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
