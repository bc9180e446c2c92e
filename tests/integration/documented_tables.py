"""What docs/files.md says of the tables, compared with the tables as pandas reads them."""

import re
from pathlib import Path

import pandas

PAGE = Path(__file__).parents[2] / "docs" / "files.md"


def documented_columns(system: str, file: str) -> dict[str, str]:
    """Kind of every column of a table, in the order of the page.

    Args:
        system: `Weak labels` or `Model selection`.
        file: the table's name.
    """
    for section in PAGE.read_text().split("\n### ")[1:]:
        heading, *lines = section.split("\n## ")[0].splitlines()
        if heading.startswith(f"{system}: ") and file in heading.split(": ")[1].split(", "):
            rows = [line.split("|")[1:3] for line in lines if line.startswith("| `")]
            return {name: kind.strip() for names, kind in rows for name in re.findall("`([^`]+)`", names)}
    raise AssertionError(f"{PAGE.name} says nothing of {system}: {file}")


def assert_as_documented(path: Path, system: str) -> None:
    """Compare a table's columns, and what pandas takes them for, with the page."""
    table = pandas.read_csv(path)
    columns = documented_columns(system, path.name)
    assert list(table) in (list(columns), [name for name in columns if name != "row"]), path
    assert len(table), path
    for name in table:
        read, empty = table[name].dtype, table[name].isna().all()
        as_documented = {
            "text": pandas.api.types.is_string_dtype(read) or empty,
            "whole": pandas.api.types.is_integer_dtype(read),
            "number": pandas.api.types.is_numeric_dtype(read),
        }
        assert as_documented[columns[name]], f"{path}: {name} is {read}, documented as {columns[name]}"
