"""`separatrix`: the command line."""

import importlib
import os
import signal
import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from importlib.metadata import version

from experiments.freed_memory import keep_freed_memory
from experiments.termination import INTERRUPTED, TERMINATED, end_on_sigterm, end_with_parent, interruption
from lightning_modules.errors import InputError, printable

# Command -> module and function; the modules are imported only when their command is asked for.
COMMANDS = {
    "reproduce": ("experiments.reproduce:command", "make a paper's table, from training to comparison"),
    "fit": ("experiments.training:command", "train a model"),
    "validate": ("experiments.training:command", "evaluate a model on the validation set"),
    "test": ("experiments.training:command", "evaluate a model on the test set"),
    "predict": ("experiments.training:command", "write a separator's estimates of the test mixtures as audio files"),
    "report": ("experiments.report.command:command", "make one HTML page of a run: tables, figures, sounds"),
    "bank": ("experiments.bank:command", "decode a corpus once, before training on several devices"),
    "ranks": ("experiments.ranks:command", "what SLURM or torchrun leads to, before a training on several devices"),
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
        [
            "usage: separatrix COMMAND ...",
            "       separatrix --version",
            "",
            *lines,
            "",
            f"`separatrix COMMAND --help` tells more. Try: {EXAMPLE}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: command and its arguments; those of the process unless given.

    Returns:
        Exit status: 0; 2 where the user's input was wrong or the machine refused (a full disk, no permission); 130 and
        143 after an interruption by the user and by a scheduler.
    """
    own_process = arguments is None
    if own_process:
        end_on_sigterm()
        end_with_parent()
        keep_freed_memory()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(f"separatrix {version('separatrix')}")
        return 0
    if arguments[0] not in COMMANDS:
        print(f"separatrix: no command {arguments[0]!r}; one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        _function(arguments[0])(arguments)
    except BaseException as error:
        status = interruption(error)
        if status is None and isinstance(error, SystemExit):  # how --help ends, and a stage that was terminated
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if status is not None:
            rank = os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or "0"
            if own_process and status in (INTERRUPTED, TERMINATED) and rank == "0":
                print("\ninterrupted; the same command goes on from here", file=sys.stderr)
            return status
        if isinstance(error, BrokenPipeError) and _nobody_reads_the_output():
            return 128 + signal.SIGPIPE
        reason = _fault(error)
        if reason is None:
            raise
        print(f"separatrix {arguments[0]}: {reason}", file=sys.stderr)
        return 2
    return 0


def _nobody_reads_the_output() -> bool:
    """Whether whoever read it, such as `head`, has seen enough; what is left of it is then dropped."""
    try:
        print(end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _fault(error: BaseException) -> str | None:
    """What a user is told of wrong input, or of a machine that refuses; None where the program is at fault."""
    cause: BaseException | None = error
    while cause is not None:  # jsonargparse wraps what the constructor of a model or of its data raises
        if isinstance(cause, InputError | OSError):
            # In a loader's worker, torch puts the traceback before the message.
            message = str(cause).split(f"{type(cause).__name__}: ", 1)[-1].strip()
            return message if isinstance(cause, InputError) else _of_the_machine(cause, message)
        cause = cause.__cause__
    return _in_one_line(str(error)) if isinstance(error, ArgumentError) else None


def _of_the_machine(error: OSError, message: str) -> str:
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or message
    return f"{what}; what was complete before is kept"


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
