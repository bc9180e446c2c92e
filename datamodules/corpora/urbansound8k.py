"""UrbanSound8K (Salamon, Jacoby, Bello 2014): 8,732 labelled excerpts of field recordings in ten official folds."""

import csv
import math
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.layout import digest, existing_folder, read_inside, size_and_time
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import LONGEST_NAME

TABLE = "metadata/UrbanSound8K.csv"
COLUMNS = ("slice_file_name", "fsID", "salience", "fold", "class")


class UrbanSound8K(Corpus):
    """The data set as its authors ship it: metadata/UrbanSound8K.csv and audio/fold{1..10}/*.wav.

    A clip may be there as FLAC in place of WAV (same stem). Nothing is read before `clips`, `read` or `fingerprint`.

    Args:
        root: the folder that holds metadata/ and audio/, or the folder that holds it as UrbanSound8K/.
    """

    name = "urbansound8k"

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    @cached_property
    def folder(self) -> Path:
        """The folder that holds metadata/ and audio/."""
        root = existing_folder(self.root, "UrbanSound8K")
        for folder in (root, root / "UrbanSound8K"):
            if (folder / TABLE).is_file() and (folder / "audio").is_dir():
                return folder
        raise InputError(f"{self.root}: not UrbanSound8K; expected {TABLE} and audio/fold1 to audio/fold10 in it")

    def clips(self) -> list[Clip]:
        return [clip for clip, _ in listed_clips(self.folder / TABLE)]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        path = f"{self.folder}/{clip.name}"
        if not os.path.exists(path) and os.path.exists(flac := _as_flac(path)):
            path = flac
        return read_inside(self.folder, path, clip.name, f"remove it from {TABLE} or fetch the clip again")

    def fingerprint(self, clips: list[Clip]) -> str:
        folder = os.fspath(self.folder)
        files = (f"{folder}/{clip.name}" for clip in clips)
        return digest(
            (clip.name, clip.label, clip.fold, clip.recording, clip.salience, *size_and_time(file, _as_flac(file)))
            for clip, file in zip(clips, files, strict=True)
        )


def listed_clips(table: Path, *further: str) -> list[tuple[Clip, list[float]]]:
    """Every clip that a table lists, in its order, and the numbers in further columns of its row."""
    lines: dict[str, int] = {}
    clips = []
    for line, (file_name, recording, salience, fold, label, *others) in _rows(table, (*COLUMNS, *further)):
        where = f"{table}, line {line}"
        if file_name in ("", ".", "..") or "/" in file_name or "\\" in file_name or not file_name.isprintable():
            raise InputError(f"{where}: slice_file_name {file_name!r} is not a plain file name; correct the row")
        if not (fold.isascii() and fold.isdigit() and len(fold) < 10 and int(fold) > 0):
            raise InputError(f"{where}: fold {fold!r} is not a positive integer; correct the row")
        if salience not in ("1", "2"):
            raise InputError(f"{where}: salience {salience!r} is neither 1 nor 2; correct the row")
        for column, value in (("fsID", recording), ("class", label)):
            if not value or not value.isprintable() or len(value) > LONGEST_NAME:
                raise InputError(f"{where}: {column} {value[:LONGEST_NAME]!r} is no printable name; correct the row")
        for column, value in zip(further, others, strict=True):
            if not _is_number(value):
                raise InputError(f"{where}: {column} {value[:LONGEST_NAME]!r} is not a number; correct the row")
        # The stem, whatever the fold: one clip in two folds would be trained on and tested with.
        first = lines.setdefault(os.path.splitext(file_name)[0], line)
        if first != line:
            raise InputError(f"{where}: {file_name} was already listed on line {first}; remove one of the rows")
        clip = Clip(f"audio/fold{int(fold)}/{file_name}", label, int(fold), recording, int(salience))
        clips.append((clip, list(map(float, others))))
    if not clips:
        raise InputError(f"{table}: lists no clips; fetch the table again")
    return clips


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped values of these columns for every row of the table."""
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [column.strip() for column in next(reader, [])]
            for column in columns:
                if column not in header:
                    raise InputError(f"{table}: no column {column!r}, expected {', '.join(columns)}; fetch it again")
            for row in reader:
                if len(row) == len(header):
                    yield reader.line_num, [row[header.index(column)].strip() for column in columns]
                elif row:
                    raise InputError(
                        f"{table}, line {reader.line_num}: {len(row)} values, expected {len(header)}; correct the row"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: not readable as CSV in UTF-8 ({error}); fetch the table again") from None


def _as_flac(path: str) -> str:
    return f"{os.path.splitext(path)[0]}.flac"
