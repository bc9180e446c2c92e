"""Rows of scores on disk: one part per rank while an evaluation runs, one file sorted by index at its end.

Numbers are written with `repr`, which float() reads back exactly, so that rows compare byte for byte.
"""

import csv
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from lightning_modules.atomic_file import atomic_file
from lightning_modules.errors import InputError


class RowParts:
    """The growing row files of one evaluation.

    Args:
        folder: of the parts; made when the first row comes.
        columns: names of the columns; the first is the mixture's index.
    """

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self.folder = folder
        self.columns = list(columns)
        self._file: TextIO | None = None

    def belong_to(self, owner: str) -> None:
        """Say what the rows are made with, or compare it with what an interrupted evaluation said.

        Args:
            owner: a digest of the model and the data.

        Raises:
            InputError: the folder holds rows of another owner.
        """
        # In the name of an empty file: there is no moment, on any rank, at which half of it is written.
        own = self.folder / f"owner-{owner}"
        self.folder.mkdir(parents=True, exist_ok=True)
        others = set(self.folder.glob("owner-*")) - {own}
        if others and any(self.folder.glob("rank-*.csv")):
            raise InputError(
                f"{self.folder}: rows of an interrupted test of another model or data; delete it or take another --run"
            )
        own.touch()
        for other in others:
            other.unlink(missing_ok=True)

    def append(self, rows: Iterable[Sequence[Any]], rank: int) -> int:
        """Write a batch's rows and an empty line, and flush them: they outlive the process, whole or not at all.

        Args:
            rows: values in the order of the columns.
            rank: whose part they go to.

        Returns:
            How many rows they were.

        Raises:
            OSError: they cannot be written; the error names the folder.
        """
        lines = [[_text(value) for value in row] for row in rows]
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A new name every time: process numbers come again, and nobody goes on where a kill cut a file.
            handle, _ = tempfile.mkstemp(prefix=f"rank-{rank}-", suffix=".csv", dir=self.folder)
            self._file = os.fdopen(handle, "w", newline="")
        writer = csv.writer(self._file, lineterminator="\n")
        try:
            writer.writerows(lines)
            self._file.write("\n")
            self._file.flush()
        except OSError as error:  # of an open file the system tells no name
            raise OSError(error.errno, error.strerror, str(self.folder)) from error
        return len(lines)

    def close(self) -> None:
        """Close this rank's part."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> dict[int, list[str]]:
        """Every mixture's rows, as lines, by index; a batch that a kill cut short has no empty line and is left out.

        Raises:
            InputError: a part does not hold rows of these columns.
        """
        # A rank that outlived a killed evaluation may have gone on with what others did again: the first part's rows.
        mixtures: dict[int, list[str]] = {}
        for part in sorted(self.folder.glob("rank-*.csv")):
            own: dict[int, list[str]] = {}
            try:
                with part.open(newline="\n", encoding="utf-8") as file:
                    for batch in _complete_batches(file):
                        for line, row in zip(batch, csv.reader(batch), strict=True):
                            if len(row) != len(self.columns):
                                raise ValueError(line)
                            own.setdefault(_index(row[0]), []).append(line)
            except (OSError, ValueError, csv.Error):
                raise InputError(f"{part}: damaged; delete it, its mixtures are then evaluated again") from None
            for index, lines in own.items():
                mixtures.setdefault(index, lines)
        return dict(sorted(mixtures.items()))

    def merge(self, path: Path, count: int, patience: float = 60) -> None:
        """Write all rows to one file; the parts stay until `remove`, for what is made of it may be interrupted too.

        Args:
            path: the file.
            count: how many rows there are.
            patience: how long to look for them, in seconds: a network file system shows what other nodes wrote late.

        Raises:
            InputError: there are not so many, or more.
        """
        deadline = time.monotonic() + patience
        while (found := sum(map(len, (mixtures := self.read()).values()))) < count and time.monotonic() < deadline:
            time.sleep(1)
        if found != count:
            raise InputError(
                f"{self.folder}: {found} rows are there, {count} were written by this evaluation; give a folder "
                f"that all ranks share and no other evaluation writes to"
            )
        with atomic_file(path) as partial, partial.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(self.columns)
            for lines in mixtures.values():
                file.writelines(lines)

    def remove(self) -> None:
        """Remove the parts, where nothing is left to be made of their rows."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _complete_batches(file: TextIO) -> Iterator[list[str]]:
    """The lines of each batch behind which an empty line stands."""
    batch = []
    for line in file:
        if line != "\n":
            batch.append(line)
        else:
            yield batch
            batch = []


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, as a whole or not at all: readers see the old file or the new one."""
    with atomic_file(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in row] for row in rows)


def each_row(path: Path, columns: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    """The rows of a CSV file by column name, one at a time: whoever keeps numbers alone keeps no text of a long file.

    Args:
        path: the file.
        columns: that it must have.

    Raises:
        InputError: it is missing, not CSV, lacks a column, or a row has more or fewer values than the header.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            for column in columns:
                if column not in header:
                    found = " ".join(", ".join(header).split()) or "none"  # a header may have lines of its own
                    raise InputError(f"{path}: no column {column!r}, found {found}; evaluate again")
            for number, row in enumerate(filter(None, reader), 1):
                if len(row) != len(header):
                    raise InputError(f"{path}, row {number}: not {len(header)} values as in the header; evaluate again")
                yield dict(zip(header, row, strict=True))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; evaluate first") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not readable as CSV in UTF-8 ({error}); evaluate again") from None


def read_rows(path: Path, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a CSV file, all at once, as `each_row` reads them."""
    return list(each_row(path, columns))


# In dB, of what double precision can tell apart; beyond it even a mean or a square may not be finite.
LARGEST_SI_SDR = 1000.0


def value_of(path: Path, row: dict[str, str], column: str) -> float:
    """The number in a row's column; NaN and infinities are numbers too.

    Raises:
        InputError: it is none.
    """
    try:
        return float(row[column])
    except ValueError:
        raise InputError(f"{path}: {column} {row[column]!r} is not a number; evaluate again") from None


def index_of(path: Path, row: dict[str, str], column: str) -> int:
    """The whole number from 0 on in a row's column.

    Raises:
        InputError: it is none.
    """
    try:
        return _index(row[column])
    except ValueError:
        raise InputError(f"{path}: {column} {row[column]!r} is not a whole number; evaluate again") from None


def _index(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # of 64 bits
        raise ValueError(text)
    return int(text)


def _text(value: Any) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)
