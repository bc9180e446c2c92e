"""A report's tables, as Markdown and for a terminal."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lightning_modules.errors import printable


class Section(NamedTuple):
    """A table and what must be said of it.

    Attributes:
        title: of the table; empty where there is none.
        header: of its columns.
        rows: as many texts each as the header has.
        remarks: sentences below the table.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()


def markdown(section: Section) -> str:
    """Title, table and remarks as Markdown."""
    lines = [f"| {' | '.join(map(markdown_text, cells))} |" for cells in (section.header, *section.rows)]
    lines.insert(1, "|---" * len(section.header) + "|")
    remarks = map(markdown_text, section.remarks)
    title = [f"### {markdown_text(section.title)}", ""] if section.title else []
    return "\n".join([*title, *lines, "", *remarks]).rstrip() + "\n"


def markdown_text(text: str) -> str:
    """Text that is shown as it is and stays in its cell: names may hold what Markdown, or HTML within it, acts on."""
    one_line = " ".join(printable(line) for line in text.splitlines())
    escaped = one_line.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "|*`":
        escaped = escaped.replace(mark, f"\\{mark}")
    return re.sub(r"\](?=\()", r"\]", escaped)  # no link; figures in brackets stay as they are


def table_console() -> Console:
    """Where tables of results are printed: as wide as the terminal, in a log 120 columns."""
    console = Console(emoji=False)
    return console if console.is_terminal else Console(emoji=False, width=120)


def terminal_table(section: Section) -> Table:
    """The same for a terminal, remarks left out."""
    table = Table(*map(_as_it_is, section.header), title=_as_it_is(section.title) or None, box=SIMPLE)
    for row in section.rows:
        table.add_row(*map(_as_it_is, row))
    return table


def _as_it_is(text: str) -> str:
    return escape("\n".join(map(printable, text.split("\n"))))
