"""Any collection of recordings sorted into one folder for each class of sound."""

import hashlib
import os
from functools import cached_property

from datamodules.corpora.audio_file import SUFFIXES
from datamodules.corpora.corpus import Clip, Fold
from datamodules.corpora.file_corpus import FileCorpus
from datamodules.corpora.layout import audio_files_below, contents, existing_folder, folders_in
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_whole

SPLITS = ("train", "validation", "test")


class FolderPerClass(FileCorpus):
    """Recordings as CLASS/**/*.{wav,flac,mp3,ogg,...}, or the same within train/, validation/ and test/.

    Where the root holds both a train and a test folder, the folds are "train", "validation" (where it is there too)
    and "test", and its other folders are ignored. Otherwise every folder of the root with recordings at any depth is a
    class, and the fold of a recording is a number from 1 to `folds` that depends on nothing but the recording's
    identifier. Other files and hidden ones are ignored. Nothing is read before `clips`, `read` or `fingerprint`.

    Args:
        root: the folder that holds the classes, or train/ and test/.
        folds: how many folds the recordings are dealt into, where the root does not say.
        recording_separator: where given, clips whose file names agree up to its first occurrence come from one
            recording, such as 7061-6-0-0.wav and 7061-6-1-0.wav with "-". Otherwise clips of the same path within
            their class folders do, extensions aside: one file under two classes stays in one fold. That does not hold
            across train, validation and test, each of which may number its files from one.
        follow_links: read files and folders that links lead to, wherever they lie; links that lead out of the corpus
            are refused unless given.
    """

    name = "folder_per_class"
    way_out = "replace the file or remove it"

    def __init__(
        self,
        root: str | os.PathLike[str],
        folds: int = 10,
        recording_separator: str | None = None,
        follow_links: bool = False,
    ) -> None:
        super().__init__(root, follow_links)
        require_whole(1, 1_000_000, folds=folds)
        if recording_separator == "":
            raise InputError("recording_separator: empty; give a character such as - or leave it out")
        self.folds = folds
        self.recording_separator = recording_separator

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Those of train, validation and test that the root is divided into; none where it is not."""
        there = folders_in(existing_folder(self.root, "a folder for each class"))
        return tuple(split for split in SPLITS if split in there) if {"train", "test"} <= set(there) else ()

    def clips(self) -> list[Clip]:
        clips = [clip for split in self.splits or ("",) for clip in self._clips_in(split)]
        folds: dict[str, Fold] = {}
        for clip in clips:
            if (fold := folds.setdefault(clip.recording, clip.fold)) != clip.fold:
                raise InputError(
                    f"{self.root / clip.name}: recording {clip.recording} is in {fold} too; "
                    "splits must not share recordings, move its clips into one"
                )
        return sorted(clips)

    def _clips_in(self, split: str) -> list[Clip]:
        folder = self.root / split
        clips = []
        for label in folders_in(folder):
            for path in audio_files_below(self.root, folder / label, self.follow_links):
                recording = self._recording(path, split)
                name = f"{split}/{label}/{path}" if split else f"{label}/{path}"
                clips.append(Clip(name, label, split or fold_of(recording, self.folds), recording))
        if not clips:
            raise InputError(
                f"{folder}: no recordings in class folders, found {contents(folder)}; "
                f"expected CLASS/*{' or CLASS/*'.join(SUFFIXES[:2])} in it"
            )
        return clips

    def _recording(self, path: str, split: str) -> str:
        if self.recording_separator is not None:
            return os.path.splitext(os.path.basename(path))[0].split(self.recording_separator, 1)[0]
        stem = os.path.splitext(path)[0]
        return f"{split}/{stem}" if split else stem


def fold_of(recording: str, folds: int) -> int:
    """The fold of a recording, 1 to `folds`: the same on every machine and whatever else is there."""
    return int.from_bytes(hashlib.sha256(recording.encode()).digest()) % folds + 1
