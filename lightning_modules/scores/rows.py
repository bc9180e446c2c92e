"""Rows of scores and tables as CSV files: how they are written, and read again.

Numbers are written with `repr`, which float() reads back exactly, so that files compare byte for byte.
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightning_modules.atomic_file import atomic_file
from lightning_modules.errors import InputError, printable

Floats = NDArray[np.float64]
SEPARATOR = "|"  # of recordings in one field


def recordings_field(names: Iterable[str]) -> str:
    """Names of recordings as one field of a row, on one line whatever a reader of one's own calls them."""
    return SEPARATOR.join(printable(name).replace(SEPARATOR, "/") for name in names)


def named_recordings(field: str) -> tuple[str, ...]:
    """The different names in such a field, in order."""
    return tuple(dict.fromkeys(field.split(SEPARATOR)))


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], header: bool = True) -> str:
    """Rows as the text of a CSV file."""
    table = pd.DataFrame([tuple(row) for row in rows], columns=list(columns), dtype=object)
    return table.to_csv(index=False, header=header, na_rep="nan", lineterminator="\n")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, as a whole or not at all: readers see the old file or the new one."""
    text = as_csv(columns, rows)
    with atomic_file(path) as file:
        file.write(text.encode())


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """A CSV file, all columns as text; InputError where it is missing, not CSV, or lacks one of `columns`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a first row that is longer than the header
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; evaluate first") from None
    except pd.errors.EmptyDataError:
        table = pd.DataFrame()
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise InputError(f"{path}: not readable as CSV in UTF-8 ({' '.join(str(error).split())})") from None
    for column in columns:
        if column not in table:
            found = " ".join(", ".join(table.columns).split()) or "none"  # a name may have lines of its own
            raise InputError(f"{path}: no column {column!r}, found {found}; evaluate again")
    return table


def read_rows(path: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a CSV file by column name, as `read_table` reads them."""
    return read_table(path, columns).to_dict("records")


def numbers(path: Path, table: pd.DataFrame, columns: Sequence[str]) -> Floats:
    """Columns of a table as numbers, [rows, columns], NaN and infinities too; InputError where a value is none."""
    values = np.empty((len(table), len(columns)))
    for place, column in enumerate(columns):
        try:
            values[:, place] = table[column].to_numpy(object).astype(float)
        except ValueError as error:
            raise InputError(f"{path}: {column}: {error}; evaluate again") from None
    return values


def whole_numbers(path: Path, table: pd.DataFrame, column: str) -> NDArray[np.int64]:
    """A column of whole numbers from 0 on, [rows]; InputError where a value is none."""
    texts = table[column]
    wrong = texts[~texts.str.fullmatch("[0-9]{1,18}")]  # of 64 bits
    if len(wrong):
        raise InputError(f"{path}: {column} {wrong.iloc[0]!r} is not a whole number; evaluate again")
    return texts.to_numpy(object).astype(np.int64)
