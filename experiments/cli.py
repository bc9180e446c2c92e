"""`separatrix`: the command line."""

import importlib
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence

from lightning_modules.errors import InputError, printable

# Command -> module and function; the modules are imported only when their command is asked for.
COMMANDS = {
    "reproduce": ("experiments.reproduce:command", "make a paper's table, from training to comparison"),
    "fit": ("experiments.training:command", "train a model"),
    "validate": ("experiments.training:command", "evaluate a model on the validation set"),
    "test": ("experiments.training:command", "evaluate a model on the test set"),
    "predict": ("experiments.training:command", "write a separator's estimates of the test mixtures as audio files"),
    "bank": ("experiments.bank:command", "decode a corpus once, before training on several devices"),
    "check": ("experiments.check:command", "what a corpus holds, what is broken, and the mixtures' statistics"),
    "synthesize": ("experiments.synthesize:command", "write mixtures, sources and labels as files"),
    "benchmark": ("experiments.benchmarks.command:command", "measure speed side by side with the usual libraries"),
}

EXAMPLE = "separatrix reproduce weak-labels --preset demo"


def usage() -> str:
    """What `separatrix --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        ["usage: separatrix COMMAND ...", "", *lines, "", f"`separatrix COMMAND --help` tells more. Try: {EXAMPLE}"]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: command and its arguments; those of the process unless given.

    Returns:
        Exit status: 0, or 2 where the user's input was wrong.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] not in COMMANDS:
        print(f"separatrix: no command {arguments[0]!r}; one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        _function(arguments[0])(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except SystemExit as end:
        # How --help ends, and a training that was interrupted: Lightning gives no code where it was terminated.
        return end.code if isinstance(end.code, int) else 143
    except Exception as error:
        reason = _fault_of_the_input(error)
        if reason is None:
            raise
        print(f"separatrix {arguments[0]}: {reason}", file=sys.stderr)
        return 2
    return 0


def _fault_of_the_input(error: Exception) -> str | None:
    """What a user is told; None where the program is at fault."""
    cause: BaseException | None = error
    while cause is not None:  # jsonargparse wraps what the constructor of a model or of its data raises
        if isinstance(cause, InputError):
            return str(cause)
        cause = cause.__cause__
    return _in_one_line(str(error)) if isinstance(error, ArgumentError) else None


# Lines of jsonargparse's messages that tell of types, not of the setting.
_OF_TYPES = ("Does not validate against", "Subtypes:", "Errors:", "- Expected a <class 'NoneType'>", "Given value")


def _in_one_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines()]
    told = [line.removeprefix("- ") for line in lines if line and not line.startswith(_OF_TYPES)]
    return printable(" ".join(told))


def _function(command: str) -> Callable[[list[str]], None]:
    module, function = COMMANDS[command][0].split(":")
    return getattr(importlib.import_module(module), function)


if __name__ == "__main__":
    sys.exit(main())
