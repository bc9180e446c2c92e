"""A report's tables, as Markdown and for a terminal."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table


class Section(NamedTuple):
    """A table and what must be said of it.

    Attributes:
        title: of the table.
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
    lines = [f"| {' | '.join(cells)} |" for cells in (section.header, *section.rows)]
    lines.insert(1, "|---" * len(section.header) + "|")
    return "\n".join([f"### {section.title}", "", *lines, "", *section.remarks]).rstrip() + "\n"


def terminal_table(section: Section) -> Table:
    """The same for a terminal, remarks left out."""
    table = Table(*map(escape, section.header), title=escape(section.title))
    for row in section.rows:
        table.add_row(*map(escape, row))
    return table
