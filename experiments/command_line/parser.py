"""The parser of every command: help that ends in an example, and errors that say what was probably meant."""

import ast
import contextlib
import json
import shlex
from argparse import SUPPRESS, Action, ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Collection, Sequence
from textwrap import fill, indent
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter, Namespace

from experiments.command_line.text import command_lines

CONFIG_HELP = "a file, or a shipped configuration by name; repeatable, the later ones override"
PRESET_HELP = "demo, small or paper: adds the parts of that size to a shipped configuration"
# Lightning's own help does not hold for these.
_SETTINGS = {
    "--config": CONFIG_HELP,
    "--seed_everything": "seed of the initial weights; mixtures, their order and dropout follow --data.seed",
    "--ckpt_path": "a checkpoint; `best` and `last` are those in the folder --run; fit resumes from it",
}
_TITLES = {
    "A DataModule standardizes": "the data: settings are those of its class, see --data.help CLASS",
    "A LightningModule on one spectrogram": "the model: settings are those of its class, see --model.help CLASS",
    "Customize every aspect of training": "the trainer, which is Lightning's",
}


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Fills a description's paragraphs to the terminal, and breaks commands so that they can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(_filled(paragraph, width) for paragraph in text.split("\n\n"))

    def _expand_help(self, action: Action) -> str:
        text = (
            super()._expand_help(action).replace("type: <class 'Path'>", "type: path").replace(" (default: null)", "")
        )
        # Of torch's and torchmetrics' modules there are hundreds.
        return text.partition(", known subclasses: torch.nn")[0]


def _filled(paragraph: str, width: int) -> str:
    if "\n  " not in f"\n{paragraph}":
        return fill(paragraph, width)
    lines = []
    for line in paragraph.split("\n"):
        if line.startswith("  separatrix "):
            line = indent(command_lines(shlex.split(line)[1:], width - 2), "  ")
        lines.append(line)
    return "\n".join(lines)


def description(text: str, *examples: str) -> str:
    """What `--help` says first: what the command does, and commands to copy.

    Args:
        text: what it does, in paragraphs; one with indented lines is printed as it is.
        examples: arguments of `separatrix`.
    """
    title = "example:" if len(examples) == 1 else "examples:"
    return "\n".join([f"{text}\n", title, *(f"  separatrix {example}" for example in examples)])


def asks_for_help(arguments: Collection[str]) -> bool:
    """Whether a command is only to print its help, for which nothing heavy need be imported."""
    return bool({"-h", "--help"} & set(arguments))


class Explaining(ArgumentParser):
    """A parser that raises errors instead of ending the process, and explains them in one line.

    No setting may be abbreviated: what `--trainer.max_epoch` means would depend on what other settings there are.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        # jsonargparse makes parsers of this kind, without a name, for the help of a model's or of data's settings.
        defaults = {"prog": "separatrix", "default_env": False, "exit_on_error": False, "allow_abbrev": False}
        super().__init__(*args, **{**defaults, "formatter_class": HelpFormatter, **settings})

    def format_help(self, *args: Any) -> str:
        """The help, with this project's words for what Lightning explains otherwise."""
        for action in self._actions:
            for option in _SETTINGS.keys() & set(action.option_strings):
                action.help = _SETTINGS[option]
        for group in self._action_groups:
            for begun, title in _TITLES.items():
                group.title = title if (group.title or "").startswith(begun) else group.title
        return super().format_help(*args)

    def parse_args(self, args: Sequence[str] | None = None, *others: Any, **settings: Any) -> Namespace:  # type: ignore[override]
        """As jsonargparse's; the message of an ArgumentError is one line, with what was probably meant."""
        within = self.description is None  # made by jsonargparse for the settings of a class
        if within and args is not None:
            args = list(map(_as_yaml, args))
        try:
            return super().parse_args(args, *others, **settings)
        except ArgumentError as error:
            if within:  # the command's own explains
                raise
            from experiments.command_line.wrong_settings import explained

            raise ArgumentError(None, explained(error, self, list(args or ()))) from error


def _as_yaml(word: str) -> str:
    """A setting of a class within a class, whose value jsonargparse has parsed and written as Python does: None."""
    name, equals, value = word.partition("=")
    with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):  # no literal of Python
        if "None" in value and isinstance(given := ast.literal_eval(value), list | dict | None):
            return f"{name}{equals}{json.dumps(given)}"
    return word


def command_parser(command: str, text: str, *examples: str, **settings: Any) -> Explaining:
    """The parser of one command; text and examples as for `description`, further settings as for the parser."""
    return Explaining(prog=f"separatrix {command}", description=description(text, *examples), **settings)


def data_parser(arguments: Sequence[str], text: str, *examples: str) -> Explaining:
    """A parser with `--config`, `--preset` and `--data...`, as `separatrix fit` has them.

    `arguments` are the command and its arguments: where they ask for help, the classes of data are not imported.
    """
    usage = f"separatrix {arguments[0]} --config CONFIG ... [--data.SETTING VALUE ...]"
    parser = command_parser(arguments[0], text, *examples, usage=usage)
    parser.add_argument("--config", action=ActionConfigFile, help=CONFIG_HELP)
    if asks_for_help(arguments):
        parser.add_argument("--preset", default=SUPPRESS, help=PRESET_HELP)
        parser.add_argument(
            "--data", metavar="CLASS", default=SUPPRESS, help="any setting of the data, as in `separatrix fit`"
        )
        return parser
    import separatrix  # noqa: F401  (public classes can then be named without their module)
    from datamodules.mixtures import MixtureDataModule

    parser.add_subclass_arguments(MixtureDataModule, "data", required=True)
    return parser
