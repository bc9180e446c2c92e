"""Text for a terminal or a log: nothing is cut, and no word is broken."""

import shlex
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from textwrap import wrap

import rich
from rich.text import Text

from lightning_modules.errors import printable

NAMES_WIDTH = 10


def show_lines(lines: Iterable[tuple[str, str | Path | list[str]]]) -> None:
    """Print names beside their values: a text, a path, or a command as arguments of `separatrix`."""
    console = rich.get_console()
    width = max(console.width, 40) - NAMES_WIDTH
    for name, value in lines:
        if isinstance(value, Path):
            filled = [printable(str(value))]
        elif isinstance(value, str):
            filled = wrap(printable(value), width, break_long_words=False, break_on_hyphens=False)
        else:
            filled = [printable(line) for line in command_lines(value, width).split("\n")]
        heading = Text(f"{name:<{NAMES_WIDTH}}", style="bold")
        text = Text(f"\n{' ' * NAMES_WIDTH}".join(filled))
        console.print(Text.assemble(heading, text), soft_wrap=True)


def show_next(made: Iterable[Path | str], commands: Iterable[list[str]] = ()) -> None:
    """Print what a command made, of paths those that exist, and commands, as their arguments, that can follow."""
    there = [each for each in made if isinstance(each, str) or each.exists()]
    following = list(commands)
    show_lines(zip(["made", *[""] * len(there)], there, strict=False))
    show_lines(zip(["next", *[""] * len(following)], following, strict=False))


def command_lines(words: Iterable[str], width: int) -> str:
    """Arguments of `separatrix` as a command for a shell, in lines of `width` columns where its words allow it."""
    lines = ["separatrix"]
    for word in map(shlex.quote, words):
        if len(lines[-1]) + len(word) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines)


def counted(number: int, what: str) -> str:
    """Such as `1 rank` or `2,000 mixtures`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def probable(word: str, names: Iterable[str]) -> str | None:
    """The name that is closest to a misspelt word, upper and lower case alike; None where none is close."""
    by_lower_case = {name.lower(): name for name in names}
    found = get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.7)
    return by_lower_case[found[0]] if found else None


def did_you_mean(word: str, names: Iterable[str], otherwise: str = "") -> str:
    """`; did you mean NAME?`, or something else where no name is close to the word."""
    name = probable(word, names)
    return f"; did you mean {name}?" if name else otherwise
