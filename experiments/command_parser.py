"""The parser of every command: help that ends in an example, and errors that say what was probably meant."""

from argparse import Action, ArgumentError, RawDescriptionHelpFormatter
from textwrap import fill
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

# In place of what Lightning says of them, which is not how it is here.
_SETTINGS = {
    "--config": "a configuration file, or a shipped configuration by name; repeatable, the later ones override",
    "--seed_everything": "seed of the initial weights; mixtures, their order and dropout follow --data.seed",
    "--ckpt_path": "a checkpoint; `best` and `last` are those in the folder --run; fit goes on from it",
}
_TITLES = {
    "A DataModule standardizes": "the data: settings are those of its class, see --data.help CLASS",
    "A LightningModule on one spectrogram": "the model: settings are those of its class, see --model.help CLASS",
    "Customize every aspect of training": "the trainer, which is Lightning's",
}


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Fills a description's paragraphs to the terminal, and keeps those with indented lines: examples can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(each if "\n  " in f"\n{each}" else fill(each, width) for each in paragraphs)

    def _expand_help(self, action: Action) -> str:
        text = super()._expand_help(action).replace("type: <class 'Path'>", "type: path")
        if ", known subclasses: torch.nn.Module" in text:  # all that torch and torchmetrics have
            from lightning_modules import networks  # with torch, which not every command needs

            names = ", ".join(networks.__all__)
            return f"{text.partition(', known subclasses:')[0]}; {names}, or MODULE.CLASS of your own)"
        return text


def description(text: str, *examples: str) -> str:
    """What `--help` says first: what the command does, and commands to copy.

    Args:
        text: what it does, in paragraphs; one with indented lines is printed as it is.
        examples: arguments of `separatrix`.
    """
    title = "example:" if len(examples) == 1 else "examples:"
    return "\n".join([text, "", title, *(f"  separatrix {example}" for example in examples)])


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

    def parse_args(self, *args: Any, **settings: Any) -> Namespace:  # type: ignore[override]
        """As jsonargparse's.

        Raises:
            ArgumentError: something is wrong with the arguments; its message is one line, with what was probably meant.
        """
        try:
            return super().parse_args(*args, **settings)
        except ArgumentError as error:
            if self.description is None:  # made by jsonargparse for the settings of a class: the command's own explains
                raise
            from experiments.wrong_settings import explained  # imports all classes that a setting can name

            raise ArgumentError(None, explained(str(error), self)) from error


def command_parser(command: str, text: str, *examples: str, **settings: Any) -> Explaining:
    """The parser of one command.

    Args:
        command: its name.
        text: what it does, in paragraphs; one with indented lines is printed as it is.
        examples: arguments of `separatrix`.
        settings: further ones of the parser.
    """
    return Explaining(prog=f"separatrix {command}", description=description(text, *examples), **settings)
