"""`separatrix`: the command line."""

import importlib
import os
import signal
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise

from experiments.command_line.freed_memory import keep_freed_memory
from experiments.command_line.own_classes import find_in_current_folder, import_own
from experiments.command_line.termination import (
    INTERRUPTED,
    TERMINATED,
    end_on_sigterm,
    end_with_parent,
    interruption,
    say_at_ctrl_c,
    within_another_command,
)
from experiments.command_line.text import command_lines, probable
from lightning_modules.errors import InputError, printable

# By purpose: command -> module, whose function `command` it is, and summary. Modules are imported when they are needed.
GROUPS = {
    "a paper's table, from nothing": {
        "reproduce": ("experiments.reproduction.command", "make a paper's table, from training to comparison"),
        "report": ("experiments.report.command", "make one HTML page of a run: tables, figures, sounds"),
        "compare": ("experiments.reproduction.compare", "put tables of other seeds or configurations side by side"),
    },
    "data": {
        "check": (
            "experiments.data.check_command",
            "list a corpus's clips, the broken ones, statistics of mixtures",
        ),
        "bank": ("experiments.data.bank", "decode a corpus once, before training on several devices"),
        "synthesize": ("experiments.data.synthesize", "write mixtures, sources and labels as files"),
    },
    "train and evaluate": {
        "configs": ("experiments.command_line.configurations", "list the built-in configurations, or show one"),
        "fit": ("experiments.training.command", "train a model"),
        "validate": ("experiments.training.command", "evaluate a model on the validation set"),
        "test": ("experiments.training.command", "evaluate a model on the test set"),
        "predict": ("experiments.training.command", "write a separator's estimates of test mixtures as files"),
        "programmes": ("experiments.programmes.command", "evaluate a selection within recordings of several domains"),
        "ranks": ("experiments.training.ranks", "show the ranks and devices that SLURM or torchrun would start"),
    },
    "use what was trained": {
        "separate": ("experiments.separation.command", "separate recordings of your own"),
        "models": ("experiments.separation.models", "list the trained models that are included"),
        "export": ("experiments.export.command", "write a model and its card into one safetensors file"),
        "card": ("experiments.export.card", "show a model's card: classes, training data, licence, scores"),
    },
    "speed": {
        "benchmark": ("experiments.benchmarks.command", "measure speed side by side with the usual libraries"),
    },
}
COMMANDS = {name: command for commands in GROUPS.values() for name, command in commands.items()}
# What other tools call it.
ELSEWHERE = {"train": "fit", "evaluate": "test", "eval": "test", "infer": "separate"}

SCREEN = """Separatrix: sound separation from weak labels, and selection between deep
clustering models by a confidence measure.

usage: separatrix COMMAND ...        separatrix COMMAND --help has its options
       separatrix --version

{commands}

`--import MODULE` makes your own classes available in any of them
(docs/extending.md).

Start here; procedural sounds, no data set needed, minutes on two CPU cores:
  separatrix reproduce weak-labels --preset demo
With recordings, a folder for each class: are they all there, what fits them?
  separatrix check FOLDER
One separator, trained from isolated sources:
  separatrix fit --config weak_labels/strong --preset small \\
    --data.corpus.root UrbanSound8K"""


def first_screen() -> str:
    """What `separatrix` alone prints: the commands by purpose, and where to begin."""
    width = max(map(len, COMMANDS))
    lines = []
    for title, commands in GROUPS.items():
        lines += [title, *(f"  {name:<{width}}  {summary}" for name, (_, summary) in commands.items())]
    return SCREEN.format(commands="\n".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: command and its arguments; those of the process unless given.

    Returns:
        Exit status: 0; 2 where the user's input was wrong or the machine refused (a full disk, no permission); 130 and
        143 after an interruption by the user and by a scheduler.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what the terminal's encoding cannot show is replaced
            stream.reconfigure(errors="replace")
    tells_how_to_resume = arguments is None and not within_another_command()
    if arguments is None:
        end_on_sigterm()
        if tells_how_to_resume:
            say_at_ctrl_c()
        end_with_parent()
        keep_freed_memory()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = arguments[0] if arguments else "help"
    if command not in (*COMMANDS, "-h", "--help", "help", "--version"):
        meant = probable(command, (*COMMANDS, *ELSEWHERE)) or ""
        known = f"one of {', '.join(COMMANDS)}"
        advice = f"did you mean `separatrix {ELSEWHERE.get(meant, meant)}`?" if meant else known
        print(f"separatrix: no command {printable(command)!r}; {advice}", file=sys.stderr)
        return 2
    try:
        if command in COMMANDS:
            _require_words(arguments)
            find_in_current_folder()
            run_command(command, _with_follow_links(import_own(arguments)))
        else:
            print(f"separatrix {version('separatrix')}" if command == "--version" else first_screen())
        sys.stdout.flush()
    except BaseException as error:
        status = interruption(error)
        if status is None and isinstance(error, SystemExit):  # how --help ends, and a stage that was terminated
            if isinstance(error.code, str):
                print(error.code, file=sys.stderr)
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if status is not None:
            rank = os.environ.get("SLURM_PROCID") or os.environ.get("LOCAL_RANK") or "0"
            if tells_how_to_resume and status in (INTERRUPTED, TERMINATED) and rank == "0":
                again = (getattr(error, "__notes__", None) or [command_lines(arguments, 78)])[0].replace("\n", "\n  ")
                print(f"\ninterrupted; this resumes it:\n  {again}", file=sys.stderr)
            return status
        if isinstance(error, BrokenPipeError):  # whoever read the output, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return 128 + signal.SIGPIPE
        reason = _fault(error)
        if reason is None:
            raise
        print(f"separatrix {command}: {reason}", file=sys.stderr)
        return 2
    return 0


def _require_words(arguments: Sequence[str]) -> None:
    """Raise InputError of an empty word, such as an unset variable leaves: of a path it would make this folder."""
    for before, word in pairwise(arguments):
        name = before if before.startswith("--") else "an argument"
        if word.startswith("--") and word.endswith("="):
            name, word = word[:-1], ""
        if not word and "." not in name:
            raise InputError(f"{name}: empty; give a value, or leave it out (`.` is this folder)")


def _with_follow_links(arguments: list[str]) -> list[str]:
    """The arguments with `--follow-links` as the setting of the corpus that it stands for."""
    others = [word for word in arguments if word != "--follow-links"]
    setting = "--follow_links" if arguments[0] == "check" else "--data.corpus.follow_links"
    return others if others == arguments else [*others, f"{setting}=true"]


def _fault(error: BaseException) -> str | None:
    """What is wrong with the user's input, or with the machine; None where the program is at fault."""
    cause: BaseException | None = error
    while cause is not None:  # jsonargparse wraps what the constructor of a model or of its data raises
        # In a loader's worker, torch puts the traceback before the message.
        message = str(cause).split(f"{type(cause).__name__}: ", 1)[-1].strip()
        if isinstance(cause, InputError):
            return message
        if isinstance(cause, OSError):
            what = f"{cause.filename}: {cause.strerror}" if cause.filename else cause.strerror or message
            return f"{what}; what was complete before is kept"
        if isinstance(cause, UnicodeEncodeError) or (isinstance(cause, ValueError) and "embedded null" in message):
            return f"{printable(message)}: no file can have such a name; correct it in the settings"
        cause = cause.__cause__
    return printable(" ".join(str(error).split())) if isinstance(error, ArgumentError) else None


def run_command(name: str, arguments: list[str]) -> None:
    """Import the module of a command and run it."""
    importlib.import_module(COMMANDS[name][0]).command(arguments)


if __name__ == "__main__":
    sys.exit(main())
