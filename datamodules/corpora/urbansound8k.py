"""UrbanSound8K (Salamon, Jacoby, Bello 2014): 8,732 labelled excerpts of field recordings in ten official folds."""

import math
import os
from functools import cached_property
from pathlib import Path

from datamodules.corpora.corpus import Clip
from datamodules.corpora.file_corpus import FileCorpus
from datamodules.corpora.layout import corpus_folder, digest, size_and_time, with_any_ending
from datamodules.corpora.table import fold_number, require_file_name, require_name, table_rows
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import LONGEST_NAME

TABLES = ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv")
COLUMNS = ("slice_file_name", "fsID", "salience", "fold", "class")


class UrbanSound8K(FileCorpus):
    """The data set as its authors ship it, metadata/UrbanSound8K.csv and audio/fold{1..10}/*.wav.

    Or as Kaggle does: UrbanSound8K.csv and fold{1..10}/*.wav. A clip may be there as FLAC in place of WAV (same stem).
    Nothing is read before `clips`, `read` or `fingerprint`.

    Args:
        root: the folder that holds metadata/ and audio/, or the folder that holds it as UrbanSound8K/.
        follow_links: read files and folders that links lead to, wherever they lie; links that lead out of the corpus
            are refused unless given.
    """

    name = "urbansound8k"
    way_out = "remove it from the table or fetch the clip again"

    @cached_property
    def folder(self) -> Path:
        """The folder that holds the table and the folds."""
        expected = f"{TABLES[0]} and audio/fold1 to audio/fold10 in it, or {TABLES[1]} and fold1 to fold10"
        return corpus_folder(
            self.root, "UrbanSound8K", lambda folder: bool(_table(folder) and _audio(folder)), expected
        )

    def clips(self) -> list[Clip]:
        return [clip for clip, _ in listed_clips(self.folder / _table(self.folder), audio=_audio(self.folder))]

    def freesound_id(self, clip: Clip) -> str | None:
        return clip.recording

    def fingerprint(self, clips: list[Clip]) -> str:
        # Not the whole clip, as other corpora have it: banks of earlier versions stay valid.
        folder = os.fspath(self.folder)
        return digest((*clip[:5], *size_and_time(*with_any_ending(f"{folder}/{clip.name}"))) for clip in clips)


def listed_clips(table: Path, *further: str, audio: str = "audio/fold") -> list[tuple[Clip, list[float]]]:
    """Every clip that a table lists, in its order, and the numbers in further columns of its row.

    `audio` and a fold's number are the folder of the fold.
    """
    lines: dict[str, str] = {}
    clips = []
    for where, (file_name, recording, salience, fold, label, *others) in table_rows(table, (*COLUMNS, *further)):
        require_file_name(where, "slice_file_name", file_name)
        number = fold_number(where, fold)
        if salience not in ("1", "2"):
            raise InputError(f"{where}: salience {salience!r} is neither 1 nor 2; correct the row")
        require_name(where, **{"fsID": recording, "class": label})
        for column, value in zip(further, others, strict=True):
            if not _is_number(value):
                raise InputError(f"{where}: {column} {value[:LONGEST_NAME]!r} is not a number; correct the row")
        # The stem, whatever the fold: one clip in two folds would be trained on and tested with.
        first = lines.setdefault(os.path.splitext(file_name)[0], where)
        if first != where:
            line = first.rpartition(" ")[2]
            raise InputError(f"{where}: {file_name} was already listed on line {line}; remove one of the rows")
        clip = Clip(f"{audio}{number}/{file_name}", label, number, recording, int(salience))
        clips.append((clip, list(map(float, others))))
    if not clips:
        raise InputError(f"{table}: lists no clips; fetch the table again")
    return clips


def _table(folder: Path) -> str:
    """The table's path within the folder; empty where there is none."""
    return next((table for table in TABLES if (folder / table).is_file()), "")


def _audio(folder: Path) -> str:
    """What the path of a fold begins with; empty where there is no fold."""
    if (folder / "audio").is_dir():
        return "audio/fold"
    return "fold" if any((folder / f"fold{number}").is_dir() for number in range(1, 11)) else ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
