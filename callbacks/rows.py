"""Rows of scores on disk: one part per rank while an evaluation runs, one file sorted by index at its end.

Numbers are written with `repr`, which float() reads back exactly, so that rows compare byte for byte.
"""

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
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

    def append(self, rows: Iterable[Sequence[Any]], rank: int) -> None:
        """Write a batch's rows and an empty line, and flush them: they outlive the process, whole or not at all."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A new name every time: process numbers come again, and nobody goes on where a kill cut a file.
            handle, _ = tempfile.mkstemp(prefix=f"rank-{rank}-", suffix=".csv", dir=self.folder)
            self._file = os.fdopen(handle, "w", newline="")
        writer = csv.writer(self._file, lineterminator="\n")
        try:
            writer.writerows([[_text(value) for value in row] for row in rows])
            self._file.write("\n")
            self._file.flush()
        except OSError as error:  # of an open file the system tells no name
            raise OSError(error.errno, error.strerror, str(self.folder)) from error

    def close(self) -> None:
        """Close this rank's part."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> list[list[str]]:
        """All rows of all parts, sorted by index; a batch that a kill cut short has no empty line and is left out."""
        rows: list[list[str]] = []
        for part in sorted(self.folder.glob("rank-*.csv")):
            text = part.read_text()
            complete = text[: text.rfind("\n\n") + 1]
            rows += [row for row in csv.reader(complete.splitlines()) if row]
        return sorted(rows, key=lambda row: int(row[0]))  # stable: a mixture's rows keep their order

    def merge(self, path: Path) -> None:
        """Write all rows to one file; the parts stay until `remove`, for what is made of it may be interrupted too."""
        write_rows(path, self.columns, self.read())

    def remove(self) -> None:
        """Remove the parts, where nothing is left to be made of their rows."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, as a whole or not at all: readers see the old file or the new one."""
    with atomic_file(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[_text(value) for value in row] for row in rows])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column name."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _text(value: Any) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)
