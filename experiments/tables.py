"""A table of results: for a terminal, as Markdown, and on a report's page (report/templates/blocks.html)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import rich.table
from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from lightning_modules.errors import printable

LOG_WIDTH = 120  # columns where there is no terminal
LEAST_TEXT = 14  # columns of a terminal that a column of text keeps, if it needs so many


class Cell(NamedTuple):
    """A figure, and what stands beside it."""

    text: str
    published: str = ""  # figure
    difference: float | None = None  # of ours from the published one as both are shown, in dB; a page marks it
    share: float | None = None  # of its column's whole, in [0, 1]; a page shades the cell

    def lines(self, separator: str) -> str:
        """The figure, and in brackets the published one."""
        return f"{self.text}{separator}[{self.published}]" if self.published else self.text


@dataclass(frozen=True)
class Table:
    """Cells of plain text under a heading for each column. `console.print(table)` shows it without its notes."""

    title: str  # may be empty
    columns: Sequence[str]  # headings; there is no header where all are empty
    rows: Sequence[Sequence[str | Cell]]  # the first cell is the heading of its row
    notes: Sequence[str] = ()  # sentences below the table
    texts: int = 1  # number of columns from the left that are text; the others are figures, aligned right
    source: str = ""  # of the published figures
    colours: Sequence[str] = ()  # that a page marks each row with, as CSS
    kind = "table"

    @property
    def cells(self) -> list[list[Cell]]:
        """Of all rows."""
        return [[Cell(cell) if isinstance(cell, str) else cell for cell in row] for row in self.rows]

    @property
    def compares(self) -> bool:
        """Whether a published figure stands beside one of ours."""
        return any(cell.published for row in self.cells for cell in row)

    def markdown(self) -> str:
        """Title, table and notes as Markdown; cells are shown as they are, without markup."""
        rows = [self.columns, *([cell.lines(" ") for cell in row] for row in self.cells)]
        lines = [f"| {' | '.join(map(markdown_text, cells))} |" for cells in rows]
        lines.insert(1, "|---" * len(self.columns) + "|")
        title = [f"### {markdown_text(self.title)}", ""] if self.title else []
        return "\n".join([*title, *lines, "", *map(markdown_text, self.notes)]).rstrip() + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text | rich.table.Table]:
        rows = [[*map(_as_it_is, row)] for row in ([cell.lines("\n") for cell in cells] for cells in self.cells)]
        header = [*map(_as_it_is, self.columns)]
        columns = [*zip(header, *rows, strict=True)]
        widths = [max(_longest(line.split("\n")) for line in column) for column in columns]
        least = [max(_longest(text.split()) for text in column) for column in columns]
        for number, (heading, *cells) in enumerate(columns):
            if number < self.texts:
                least[number] = max(least[number], min(widths[number], LEAST_TEXT))
            else:  # figures stay in one line, their heading need not
                least[number] = max([_longest(heading.split()), *(_longest(cell.split("\n")) for cell in cells)])
        parts, gap = _parts(least, self.texts, options.max_width, 2), 2
        if len(parts) > 1 and len(closer := _parts(least, self.texts, options.max_width, 1)) == 1:
            parts, gap = closer, 1
        for figures in parts:
            shown = [*range(self.texts), *figures]
            fitted = least.copy()
            room = options.max_width - gap * (len(shown) - 1) - sum(least[number] for number in shown)
            for number in shown:  # from left to right, what room there is
                fitted[number] = min(widths[number], least[number] + max(room, 0))
                room -= fitted[number] - least[number]
            table = rich.table.Table(box=SIMPLE, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
            table.show_header = any(self.columns)
            for number in shown:
                justify: Literal["left", "right"] = "left" if number < self.texts else "right"
                table.add_column(Text(header[number]), width=fitted[number], justify=justify, overflow="fold")
            for row in rows:
                table.add_row(*(Text(row[number]) for number in shown))
            title = ": ".join(filter(None, (_as_it_is(self.title), "ours [published]" * self.compares)))
            yield Text(f"\n{title}" if title else "", style="bold")
            yield table


def _parts(widths: Sequence[int], texts: int, room: int, gap: int) -> list[list[int]]:
    """The columns of figures in so many parts that each fits beside the columns of text, about as many in each."""
    figures = range(texts, len(widths))
    beside = sum(widths[:texts]) + gap * (texts - 1)
    for count in range(1, len(figures) + 1):
        size = -(-len(figures) // count)
        parts = [[*figures[begin : begin + size]] for begin in range(0, len(figures), size)]
        if all(beside + sum(widths[number] + gap for number in part) <= room for part in parts):
            return parts
    return [[number] for number in figures] or [[]]


def table_console() -> Console:
    """Where tables of results are printed: as wide as the terminal, in a log LOG_WIDTH columns."""
    console = Console(emoji=False, highlight=False)
    return console if console.is_terminal else Console(emoji=False, highlight=False, width=LOG_WIDTH)


def markdown_text(text: str) -> str:
    """Text that is shown as it is and stays in its cell: names may hold what Markdown, or HTML within it, acts on."""
    one_line = " ".join(printable(line) for line in text.splitlines())
    escaped = one_line.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "|*`":
        escaped = escaped.replace(mark, f"\\{mark}")
    return re.sub(r"\](?=\()", r"\]", escaped)  # no link; figures in brackets stay as they are


def formatted(value: float, form: str) -> str:
    """A figure, or a dash for one that is not defined: too few points, constant ones, nothing to divide by."""
    return "–" if value != value else f"{value:{form}}"


def _as_it_is(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _longest(words: Sequence[str]) -> int:
    return max(map(cell_len, words), default=0)
