"""Lines of a terminal that tell what a command is about to do, has made, and what can be typed next."""

from collections.abc import Iterable

import rich
from rich.text import Text

from lightning_modules.errors import printable


def show_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Print a column of names beside what they are."""
    console = rich.get_console()
    for name, told in lines:
        console.print(Text.assemble((f"{name:<9} ", "bold"), printable(told)), soft_wrap=True)


def counted(number: int, what: str) -> str:
    """Such as `1 rank` or `2,000 mixtures`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
