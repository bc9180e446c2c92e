"""A folder of the user's own: its layout is recognised, and its recordings are dealt into training and evaluation."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from datamodules.corpora.corpus import Clip, Corpus, Fold
from datamodules.corpora.esc50 import ESC50
from datamodules.corpora.file_corpus import FileCorpus
from datamodules.corpora.flat_folder import FlatFolder
from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.corpora.fsd50k import FSD50K
from datamodules.corpora.layout import audio_files_below, existing_folder, folders_in
from datamodules.corpora.librispeech import LibriSpeech
from datamodules.corpora.musdb18 import MUSDB18
from datamodules.corpora.urbansound8k import UrbanSound8K
from lightning_modules.batch import Split
from lightning_modules.errors import InputError

# Readers of data sets, by a file that only their layout has.
LAYOUTS: dict[str, type[FileCorpus | MUSDB18]] = {
    "metadata/UrbanSound8K.csv": UrbanSound8K,
    "UrbanSound8K.csv": UrbanSound8K,
    "meta/esc50.csv": ESC50,
    "FSD50K.ground_truth/dev.csv": FSD50K,
    "[td][re][asv]*-[co][lt]*/[0-9]*/[0-9]*/*-*-*.*": LibriSpeech,  # {train,dev,test}-{clean,other}...
    "train/*/vocals.*": MUSDB18,
}
SHARES: dict[Split, float] = {"train": 0.7, "validation": 0.15, "test": 0.15}
FEWEST = 2  # recordings of a part: a mixture of a pair needs so many


def reader_of(root: str | os.PathLike[str], follow_links: bool = False) -> type[FileCorpus | MUSDB18]:
    """The reader of a folder: of a data set's layout, of a folder for each class, or of one without any order.

    Raises:
        InputError: there is no such folder, or it is one of data sets.
    """
    folder = existing_folder(Path(root), "recordings")
    if reader := _data_set(folder):
        return reader
    if corpora := [name for name in folders_in(folder) if _data_set(folder / name)]:
        raise InputError(f"{folder}: holds corpora ({', '.join(corpora)}), not classes; give one of them")
    first = next(audio_files_below(folder, folder, follow_links), "/")
    below = (audio_files_below(folder, folder / name, follow_links) for name in folders_in(folder))
    return FlatFolder if "/" not in first and not any(next(files, "") for files in below) else FolderPerClass


def _data_set(folder: Path) -> type[FileCorpus | MUSDB18] | None:
    """The reader of the data set whose layout a folder has."""
    return next((reader for pattern, reader in LAYOUTS.items() if next(folder.glob(pattern), None)), None)


class OwnRecordings(Corpus):
    """A folder of recordings: one folder for each class, one without any order, or a data set in its layout.

    The folds are "train", "validation" and "test". Where the folder itself is not divided into them, 70, 15 and 15 % of
    each label's recordings are, and at least one for each, if there are three. Which ones depends on nothing but the
    names of the recordings that are there. Clips of one recording stay together.

    Args:
        root: the folder.
        recording_separator: clips whose file names agree up to its first occurrence come from one recording, as in
            `FolderPerClass`; the table of a data set says it otherwise.
        follow_links: read files and folders that links lead to, wherever they lie; links that lead out of the folder
            are refused unless given.
    """

    name = "own_recordings"

    def __init__(
        self, root: str | os.PathLike[str], recording_separator: str | None = None, follow_links: bool = False
    ) -> None:
        self.root = Path(root)
        self.recording_separator = recording_separator
        self.follow_links = follow_links

    @cached_property
    def reader(self) -> Corpus:
        """What reads the folder."""
        reader = reader_of(self.root, self.follow_links)
        if issubclass(reader, FolderPerClass):
            return reader(self.root, recording_separator=self.recording_separator, follow_links=self.follow_links)
        return reader(self.root, follow_links=self.follow_links)

    def clips(self) -> list[Clip]:
        return self.labelled(None)

    def labelled(self, labels: Collection[str] | None) -> list[Clip]:
        every = self.reader.clips()
        there = {clip.fold for clip in every}
        parts: dict[str, Split] = {}
        if there == {"train", "test"}:
            parts = dealt([clip for clip in every if clip.fold == "train"], ("train", "validation"))
        elif there != set(SHARES):
            parts = dealt(every, tuple(SHARES))
        return [clip._replace(fold=parts.get(clip.recording, clip.fold)) for clip in self.reader.labelled(labels)]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        return self.reader.read(clip)

    def fingerprint(self, clips: list[Clip]) -> str:
        return self.reader.fingerprint(clips)


def dealt(clips: Collection[Clip], parts: tuple[Split, ...]) -> dict[str, Split]:
    """The part of each recording, such that every label of as many recordings as there are parts occurs in each.

    Rare labels come first, and a recording goes where its label still lacks most (iterative stratification: Sechidis,
    Tsoumakas, Vlahavas, ECML PKDD 2011); the order within a label is that of SHA-256. A recording that several labels
    share counts for each of them.

    Args:
        clips: of whatever folds.
        parts: those of `SHARES` that are wanted; the first one gets what the others leave.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    recordings: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        labels[clip.recording].add(clip.label)
        recordings[clip.label].add(clip.recording)
    lacking = {label: _wanted(len(of), parts, 1) for label, of in recordings.items()}
    in_all, part_of = _wanted(len(labels), parts, FEWEST), dict[str, Split]()
    for label in sorted(recordings, key=lambda label: (len(recordings[label]), _hash(label))):
        for recording in sorted(recordings[label] - part_of.keys(), key=_hash):
            part = max(parts, key=lambda part: (lacking[label][part], in_all[part]))
            part_of[recording] = part
            for counts in (in_all, *(lacking[of] for of in labels[recording])):
                counts[part] -= 1
    return part_of


def counted_recordings(clips: Iterable[Clip], splits: Mapping[Split, Collection[Fold]]) -> dict[str, dict[Split, int]]:
    """How many recordings of each label are in the folds of each split, labels in the order of their names."""
    found: dict[str, dict[Split, set[str]]] = defaultdict(lambda: {split: set() for split in splits})
    for clip in clips:
        for split, folds in splits.items():
            found[clip.label][split] |= {clip.recording} if clip.fold in folds else set()
    return {label: {split: len(of) for split, of in found[label].items()} for label in sorted(found)}


def _wanted(count: int, parts: tuple[Split, ...], least: int) -> dict[Split, int]:
    """How many of so many recordings each part wants; none where they are too few for all parts."""
    if count < least * len(parts):
        return dict.fromkeys(parts, 0)
    wanted = {part: max(least, round(SHARES[part] * count)) for part in parts[1:]}
    return {parts[0]: count - sum(wanted.values()), **wanted}


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
