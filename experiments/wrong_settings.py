"""What is wrong with a setting, in one line: its name, what was expected, and what was probably meant."""

import inspect
import os
import pkgutil
import re
from collections.abc import Collection, Iterator

from jsonargparse import ArgumentParser
from lightning import Callback, LightningDataModule
from lightning.pytorch.profilers import Profiler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

import separatrix
from datamodules.corpora.corpus import Corpus
from experiments.own_classes import clash
from experiments.suggestion import probable, probably
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.errors import printable

# Settings of models before networks, optimisers and schedules became classes of their own, and where they are now.
MOVED = {
    **{name: f"network.{name}" for name in ("units", "layers", "channels", "dropout")},
    "lstm_start": "network.lstm_init",
    "embedding_start": "network.output_init_scale",
    "architecture": "network, CRNN or BLSTM",
    "learning_rate": "optimizer.lr",
    "halve_after": "scheduler, a ReduceLROnPlateau with patience one less",
}
# What the class that a setting names must be, by the last part of the setting's name.
KINDS: dict[str, type] = {
    "model": SeparatrixModule,
    "data": LightningDataModule,
    "corpus": Corpus,
    "callbacks": Callback,
    "profiler": Profiler,
    "network": nn.Module,
    "optimizer": Optimizer,
    "scheduler": LRScheduler,
}
# Lines of jsonargparse's messages that tell of types, not of the setting.
_OF_TYPES = ("Does not validate against", "Subtypes:", "Errors:", "- Expected a <class 'NoneType'>", "Given value")
_KEY = re.compile(r'Parser key "([^"]+)"')
_NO_SETTING = re.compile(r"class_path '([^']+)': Option '([^']+)' is not accepted")
_NO_SETTING_OF_CALLABLE = re.compile(r"Option '([^']+)' is not accepted\. Got value: Namespace\(class_path='([^']+)'")
_NO_MODULE = re.compile(r"(?:class_path '([\w.]+)': )?(?:No module named|module) '[\w.]+'(?:.*Got value: ([\w.]+))?")
_SEVERAL = re.compile(r"Multiple subclasses with name (\w+)\. Give the full class path to avoid ambiguity: ([\w.]+\w)")
_NO_CLASS = re.compile(r"(?:--([\w.]+)\.help: )?.*Expected a dot import path string: (\S+)")
_ABSTRACT = re.compile(r"Expected an instantiatable class, but \S*\.(\w+) is abstract")
_CHOICES = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")
_ARGUMENT = re.compile(r"argument (\S+?):")
_LITERAL = re.compile(r"Expected a typing\.Literal\[([^\]]*)\]")
_VALUE = re.compile(r"(?:Got value|Given value): (.*)$", re.MULTILINE)
_TYPE = re.compile(r"Expected a <class '(\w+)'>\. Got value: (.*?)(?:\. Got value: .*)?$")
_UNKNOWN = re.compile(r"unrecognized arguments: (\S+)|does not accept option '([^']+)'")
_REQUIRED = "the following arguments are required: "


def explained(message: str, parser: ArgumentParser) -> str:
    """A parser's message in one line, with what was probably meant.

    Args:
        message: jsonargparse's or argparse's.
        parser: whose it is; its settings are what can have been meant.
    """
    line = _in_one_line(message)
    keys = _KEY.findall(line)
    setting = ".".join(keys)
    if found := _NO_SETTING.search(line):
        return _no_setting(".".join(_KEY.findall(line[: found.start()])), found[1], found[2], parser)
    if found := _NO_SETTING_OF_CALLABLE.search(line):
        return _no_setting(setting, found[2], found[1], parser)
    if found := _NO_MODULE.search(line):
        module = (found[1] or found[2]).rpartition(".")[0]
        return f"{setting}: {clash(module) or f'no module {module} in {os.getcwd()}, nor an installed one'}"
    if found := _SEVERAL.search(line):
        return f"{setting}: several modules have a {found[1]}; give one by its module, such as {found[2]}"
    if found := _NO_CLASS.search(line):
        return _no_class(found[1] or setting, found[2])
    if found := _ABSTRACT.search(line):
        return _no_class(setting, f"{found[1]} that can be made")
    if found := _CHOICES.search(line):
        argument = _ARGUMENT.search(line)
        return _no_choice(argument[1] if argument else "", found[1], re.findall(r"'([^']*)'", found[2]))
    if literals := _LITERAL.findall(line):
        values = [text or number for literal in literals for text, number in re.findall(r"'([^']*)'|(\d+)", literal)]
        given = _VALUE.search(message)
        return _no_choice(setting, given[1] if given else "", list(dict.fromkeys(values)))
    if found := _UNKNOWN.search(line):
        return _unknown((found[1] or found[2]).split("=")[0], parser)
    if _REQUIRED in line:
        before, _, names = line.partition(_REQUIRED)
        return f"{setting}.{names}: needed" if before else _required(names.split(", "), parser)
    if found := _TYPE.search(line):
        return printable(f"{setting}: {found[2]}; expected {found[1]}")
    return line


def _in_one_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines()]
    told = [line.removeprefix("- ") for line in lines if line and not line.startswith(_OF_TYPES)]
    return printable(" ".join(told))


def _no_setting(setting: str, class_path: str, option: str, parser: ArgumentParser) -> str:
    """Of a class: a setting that it does not have, from the command line or from `init_args` of a configuration."""
    name, settings = class_path.rpartition(".")[2], _settings(pkgutil.resolve_name(class_path))
    typed = any(word.startswith(f"--{setting}.{option}") for word in chosen(parser).args or ())
    setting = f"--{setting}" if typed else setting
    told = f"{setting}.{option}: {name} has no such setting"
    section = option.partition(".")[0]
    if option in MOVED:
        return f"{told} any more; it is {setting}.{MOVED[option]}"
    if option != section and (meant := probable(section, ["init_args"])):
        return f"{told}; did you mean {setting}.{meant}?"
    meant = probable(option.removeprefix("init_args."), settings)
    return f"{told}; did you mean {setting}.{meant}?" if meant else f"{told}; it has {', '.join(settings)}"


def _settings(cls: type) -> list[str]:
    """Names of what its constructor takes, its bases' included."""
    return [name for name in ArgumentParser().add_class_arguments(cls, fail_untyped=False) if "." not in name]


def _no_class(setting: str, name: str) -> str:
    kind = KINDS.get(setting.rsplit(".", 1)[-1].removesuffix("+"))
    known = sorted({cls.__name__ for cls in _concrete(kind)}) if kind else separatrix.__all__
    listed = [each for each in known if each in separatrix.__all__] or known
    meant = probably(name, known) or f"; one of {', '.join(listed)}, or MODULE.CLASS"
    return f"{setting}: no class {name}{meant}"


def _concrete(kind: type) -> Iterator[type]:
    """Itself and all classes derived from it that can be made."""
    if not inspect.isabstract(kind):
        yield kind
    derived: type
    for derived in kind.__subclasses__():
        yield from _concrete(derived)


def _no_choice(setting: str, value: str, choices: Collection[str]) -> str:
    return printable(f"{setting}: {value}; one of {', '.join(choices)}{probably(value, choices)}")


def _unknown(name: str, parser: ArgumentParser) -> str:
    """A setting that no part of a command has."""
    dashes = "--" if name.startswith("--") else ""
    bare = name.lstrip("-")
    known = sorted(_known(parser))
    meant = probable(bare, known)
    if meant is None:  # such as max_epochs: of which section?
        last = probable(bare, [each.rpartition(".")[2] for each in known])
        meant = next((each for each in known if each.rpartition(".")[2] == last), None)
    return f"{name}: no such setting; {f'did you mean {dashes}{meant}?' if meant else '--help lists them'}"


def _known(parser: ArgumentParser) -> set[str]:
    """Names of all settings: the parser's own, and those of the project's models and data."""
    parser = chosen(parser)
    names = {option.lstrip("-") for action in parser._actions for option in action.option_strings}
    for section in names & {"model", "data"}:
        public = [cls for cls in _concrete(KINDS[section]) if cls.__name__ in separatrix.__all__]
        names |= {f"{section}.{name}" for cls in public for name in (*_settings(cls), "class_path", "init_args")}
    return {name for name in names if len(name) > 1 and not name.endswith(("+", ".help"))}


def chosen(parser: ArgumentParser) -> ArgumentParser:
    """The parser of the subcommand that is in the arguments; the parser itself where there is none."""
    for action in parser._actions:
        for name, of_name in (getattr(action, "_name_parser_map", None) or {}).items():
            if name in (parser.args or ()):
                return of_name
    return parser


def _required(names: list[str], parser: ArgumentParser) -> str:
    """What is missing; models and data come with a configuration, as a rule."""
    missing = [name.rpartition(".")[2] for name in names]
    known = {option for action in chosen(parser)._actions for option in action.option_strings}
    told = " and ".join(f"--{name}" if f"--{name}" in known else name for name in missing)
    configured = "--config" in known and {"model", "data"} & set(missing)
    how = "a --config gives model and data, as in" if configured else "see"
    return f"{told}: needed; {how} the examples of --help"
