"""`separatrix compare`: the tables of several reproductions beside each other, of other seeds or configurations."""

from pathlib import Path

from experiments.command_line.parser import command_parser
from experiments.command_line.text import show_next
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.errors import printable

DESCRIPTION = """Put the tables of several reproductions of one system beside each other: the same with other seeds, or
with other configurations. Shows the mean of every figure over those of one configuration with its standard deviation,
each one's own overall figures, and which settings differ otherwise."""
EXAMPLES = (
    "compare runs/small/weak-labels runs/small/weak-labels-seed1",
    "compare runs/small/weak-labels runs/small/weak-labels-complex --output masks.md",
)


def command(arguments: list[str]) -> None:
    """`separatrix compare ...`."""
    parser = command_parser("compare", DESCRIPTION, *EXAMPLES)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of reproductions")
    parser.add_argument("--output", type=Path, help="a Markdown file with the tables")
    given = parser.parse_args(arguments[1:])
    from experiments.reproduction.comparison import comparison
    from experiments.tables import table_console

    tables = comparison(given.runs)
    console = table_console()
    for table in tables:
        console.print(table)
        console.print(*map(printable, table.notes), sep="\n", markup=False)
    if given.output:
        write_text_atomically(given.output, "\n".join(table.markdown() for table in tables))
        show_next([given.output])
