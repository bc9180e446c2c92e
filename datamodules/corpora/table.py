"""The CSV tables of corpora: rows with their place, and what a cell may hold; the table may be anybody's."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning_modules.errors import InputError
from lightning_modules.setting_checks import LONGEST_NAME


def table_rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Every row of a table in UTF-8: where it is, for messages, and its stripped values in these columns.

    Raises:
        InputError: the table cannot be read, lacks a column, or a row has more or fewer values than the header.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [column.strip() for column in next(reader, [])]
            for column in columns:
                if column not in header:
                    raise InputError(f"{table}: no column {column!r}, expected {', '.join(columns)}; fetch it again")
            for row in reader:
                where = f"{table}, line {reader.line_num}"
                if len(row) == len(header):
                    yield where, [row[header.index(column)].strip() for column in columns]
                elif row:
                    raise InputError(f"{where}: {len(row)} values, expected {len(header)}; correct the row")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: not readable as CSV in UTF-8 ({error}); fetch the table again") from None


def require_file_name(where: str, column: str, value: str) -> None:
    """Raise InputError unless the value is the name of a file in the folder that the corpus says."""
    if value in ("", ".", "..") or "/" in value or "\\" in value or not value.isprintable():
        raise InputError(f"{where}: {column} {value!r} is not a plain file name; correct the row")


def require_name(where: str, **columns: str) -> None:
    """Raise InputError unless the values are names that can be shown."""
    for column, value in columns.items():
        if not value or not value.isprintable() or len(value) > LONGEST_NAME:
            raise InputError(f"{where}: {column} {value[:LONGEST_NAME]!r} is no printable name; correct the row")


def fold_number(where: str, value: str) -> int:
    """A fold, counted from 1; InputError where it is none."""
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) > 0):
        raise InputError(f"{where}: fold {value!r} is not a positive integer; correct the row")
    return int(value)
