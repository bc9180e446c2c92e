"""LibriSpeech (Panayotov, Chen, Povey, Khudanpur 2015): read English speech, in subsets that share no speaker."""

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from datamodules.corpora.corpus import Clip
from datamodules.corpora.file_corpus import FileCorpus
from datamodules.corpora.layout import audio_files_below, contents, existing_folder
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_whole

FEWEST_TRAIN_SPEAKERS = 2


class LibriSpeech(FileCorpus):
    """The data set as its authors ship it: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac.

    A clip is an utterance; its label and its recording are the speaker; its fold is "train", "validation" or "test".
    Utterances may be there as WAV, or another format, in place of FLAC; other files and hidden ones are ignored.
    Nothing is read before `clips`, `read` or `fingerprint`.

    Args:
        root: the folder that holds the subsets, or the folder that holds it as LibriSpeech/.
        train_subsets: subsets whose speakers train, but for `validation_speakers` of them.
        validation_subsets: subsets all of whose speakers validate.
        test_subsets: subsets all of whose speakers test.
        validation_speakers: how many speakers of the train subsets validate instead. Which ones depends on nothing but
            the speakers that are there: those whose identifiers have the lowest SHA-256.
        follow_links: read files and folders that links lead to, wherever they lie; links that lead out of the corpus
            are refused unless given.
    """

    name = "librispeech"
    way_out = "fetch the utterance again or remove it"

    def __init__(
        self,
        root: str | os.PathLike[str],
        train_subsets: Sequence[str] = ("train-clean-100",),
        validation_subsets: Sequence[str] = (),
        test_subsets: Sequence[str] = ("test-other",),
        validation_speakers: int = 45,
        follow_links: bool = False,
    ) -> None:
        super().__init__(root, follow_links)
        self.validation_speakers = validation_speakers
        self._split_of_subset: dict[str, str] = {}
        for split, subsets in (("train", train_subsets), ("validation", validation_subsets), ("test", test_subsets)):
            for subset in subsets:
                if subset in ("", ".", "..") or "/" in subset or "\\" in subset:
                    raise InputError(f"{split}_subsets: {subset!r} is not a folder name; name subsets as test-other")
                if subset in self._split_of_subset:
                    other = self._split_of_subset[subset]
                    raise InputError(f"{split}_subsets: {subset} is in {other}_subsets already; name it once")
                self._split_of_subset[subset] = split
        if not self._split_of_subset:
            raise InputError("train_subsets, validation_subsets, test_subsets: all empty; name a subset at least")
        require_whole(0, 1_000_000, validation_speakers=validation_speakers)

    @cached_property
    def folder(self) -> Path:
        """The folder that holds the subsets."""
        root = existing_folder(self.root, "LibriSpeech")
        candidates = (root, root / "LibriSpeech")
        # The one with most of the subsets, so that an error lists what is beside the others.
        folder = max(
            candidates, key=lambda folder: sum(os.path.isdir(folder / subset) for subset in self._split_of_subset)
        )
        for subset, split in self._split_of_subset.items():
            if not os.path.isdir(folder / subset):
                raise InputError(
                    f"{folder}: no subset {subset}, found {contents(folder)}; "
                    f"fetch it or leave it out of {split}_subsets"
                )
        return folder

    def clips(self) -> list[Clip]:
        names = [name for subset in self._split_of_subset for name in self._utterances(subset)]
        splits = self._split_of_speaker(names)
        clips = [Clip(name, _speaker(name), splits[_speaker(name)], _speaker(name)) for name in sorted(names)]
        for before, after in pairwise(clips):
            if os.path.splitext(before.name)[0] == os.path.splitext(after.name)[0]:
                raise InputError(f"{self.folder}: {before.name} is there as {after.name} too; remove one of them")
        return clips

    def _utterances(self, subset: str) -> list[str]:
        files = audio_files_below(self.folder, self.folder / subset, self.follow_links)
        utterances = [f"{subset}/{file}" for file in files if file.count("/") == 2]
        if not utterances:
            raise InputError(
                f"{self.folder / subset}: no utterances, expected SPEAKER/CHAPTER/*.flac; fetch the subset again"
            )
        return utterances

    def _split_of_speaker(self, utterances: list[str]) -> dict[str, str]:
        subsets: dict[str, str] = {}
        for name in utterances:
            subset, speaker = name.split("/", 1)[0], _speaker(name)
            other = subsets.setdefault(speaker, subset)
            if (split := self._split_of_subset[subset]) != (other_split := self._split_of_subset[other]):
                raise InputError(
                    f"{self.folder}: speaker {speaker} of {subset} ({split}) is in {other} ({other_split}) too; "
                    "splits must not share speakers, name both subsets for the same split"
                )
        splits = {speaker: self._split_of_subset[subset] for speaker, subset in subsets.items()}
        train = sorted((s for s in splits if splits[s] == "train"), key=lambda s: hashlib.sha256(s.encode()).digest())
        if "train" in self._split_of_subset.values() and len(train) < self.validation_speakers + FEWEST_TRAIN_SPEAKERS:
            raise InputError(
                f"validation_speakers: {self.validation_speakers} of the {len(train)} speakers in train_subsets leave "
                f"fewer than {FEWEST_TRAIN_SPEAKERS} to train with; lower it or add subsets"
            )
        return splits | dict.fromkeys(train[: self.validation_speakers], "validation")


def _speaker(name: str) -> str:
    return name.split("/")[1]
