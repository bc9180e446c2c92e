"""The growing row files of an evaluation: a part of each rank while it runs, one file sorted by index at its end."""

import csv
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from lightning_modules.atomic_file import atomic_file
from lightning_modules.errors import InputError
from lightning_modules.scores.rows import as_csv


class RowParts:
    """The row files of one evaluation, in a folder of their own; the first column is the mixture's index."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        if folder.is_symlink():
            raise InputError(f"{folder}: is a link, and rows would be written through it; remove it")
        self.folder = folder
        self.columns = list(columns)
        self._file: IO[str] | None = None

    def belong_to(self, owner: str) -> None:
        """Note of which model and data (a digest) the rows are; InputError where the folder holds those of another."""
        # In the name of an empty file: there is no moment, on any rank, at which half of it is written.
        own = self.folder / f"owner-{owner}"
        self.folder.mkdir(parents=True, exist_ok=True)
        others = set(self.folder.glob("owner-*")) - {own}
        if others and any(self.folder.glob("rank-*.csv")):
            raise InputError(
                f"{self.folder}: rows of an interrupted test of another model or data; delete it or take another folder"
            )
        own.touch()
        for other in others:
            other.unlink(missing_ok=True)

    def append(self, rows: Iterable[Sequence[Any]], rank: int) -> int:
        """Write a batch's rows to the part of a rank, and return their number.

        An empty line follows, and both are flushed: they outlive the process, whole or not at all.
        """
        text = as_csv(self.columns, rows, header=False)
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A new name every time: process numbers come again, and nobody appends where a kill cut a file.
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115
                "w", prefix=f"rank-{rank}-", suffix=".csv", dir=self.folder, delete=False, newline="", encoding="utf-8"
            )
        try:
            self._file.write(f"{text}\n")
            self._file.flush()
        except OSError as error:  # of an open file the system tells no name
            raise OSError(error.errno, error.strerror, str(self.folder)) from error
        return text.count("\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> dict[int, list[str]]:
        """Every mixture's rows, as lines, by index; a batch that a kill cut short has no empty line and is left out."""
        # A rank that outlived a kill may have written mixtures that others did again: the first part counts.
        mixtures: dict[int, list[str]] = {}
        for part in sorted(self.folder.glob("rank-*.csv")):
            own: dict[int, list[str]] = {}
            try:
                complete = part.read_bytes().decode().rpartition("\n\n")[0]
                lines = [line for line in complete.split("\n") if line]
                for line, row in zip(lines, csv.reader(lines), strict=True):
                    if len(row) != len(self.columns) or not (row[0].isascii() and row[0].isdecimal()):
                        raise ValueError(line)
                    own.setdefault(int(row[0]), []).append(f"{line}\n")
            except (OSError, ValueError, csv.Error):
                told = "damaged, or of a test with other columns; delete it, its mixtures are then evaluated again"
                raise InputError(f"{part}: {told}") from None
            mixtures = own | mixtures
        return dict(sorted(mixtures.items()))

    def merge(self, path: Path, count: int, patience: float = 60) -> None:
        """Write all rows, so many, to one file; the parts stay until `remove`.

        A network file system shows late what other nodes wrote: missing rows are awaited for `patience` seconds.
        """
        deadline = time.monotonic() + patience
        while (found := sum(map(len, (mixtures := self.read()).values()))) < count and time.monotonic() < deadline:
            time.sleep(1)
        if found != count:
            raise InputError(
                f"{self.folder}: {found} rows are there, {count} were written by this evaluation; give a folder "
                f"that all ranks share and no other evaluation writes to"
            )
        with atomic_file(path) as file:
            file.write(as_csv(self.columns, []).encode())
            for lines in mixtures.values():
                file.writelines(line.encode() for line in lines)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
