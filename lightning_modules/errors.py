"""The one exception that means "the user's input is wrong", shared by every layer."""

from collections.abc import Iterable

LONGEST_LINE = 4000


class InputError(Exception):
    """A file, setting or checkpoint that cannot be used as given.

    The message is what the user reads: it names the culprit (file or setting), says what was expected and what to do.
    The command line prints it without a traceback and exits with status 2.

    Names come from files that may be anybody's: what would not be printed as it is, such as the characters that colour
    a terminal or turn its writing around, is written as an escape sequence, and a line of novel length is cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(map(printable, message.split("\n"))))


def listed(names: Iterable[str], between: str = ", ", most: int = 8) -> str:
    """The names, of many the first ones and how many more there are."""
    every = list(names)
    return between.join([*every[:most], *([f"{len(every) - most} more"] if len(every) > most else [])])


def printable(line: str) -> str:
    """A line with all that is not printable escaped as in Python source, cut in its middle where it is very long."""
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in line)
