"""MUSDB18 (Rafii, Liutkus, Stöter, Mimilakis, Bittner 2017): songs as stems."""

import os
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from datamodules.corpora.audio_file import SUFFIXES, audio_length, read_audio
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.layout import corpus_folder, digest, folders_in, refuse_outside, size_and_time
from lightning_modules.errors import InputError

STEMS = ("drums", "bass", "other", "vocals")
# The authors' choice among the train tracks; copies of the data set differ in case.
VALIDATION_TRACKS = frozenset(
    track.casefold()
    for track in (
        "Actions - One Minute Smile",
        "Alexander Ross - Goodbye Bolero",
        "ANiMAL - Rockshow",
        "Clara Berry And Wooldog - Waltz For My Victims",
        "Fergessen - Nos Palpitants",
        "James May - On The Line",
        "Johnny Lokke - Promises & Lies",
        "Leaf - Summerghost",
        "Meaxic - Take A Step",
        "Patrick Talbot - A Reason To Leave",
        "Skelpolu - Human Mistakes",
        "Traffic Experiment - Sirens",
        "Triviul - Angelsaint",
        "Young Griffo - Pennies",
    )
)
_WAY_OUT = "fetch the track again or remove its folder"


class MUSDB18(Corpus):
    """The data set in the layout of MUSDB18-HQ: {train,test}/TRACK/{drums,bass,other,vocals}.wav.

    Tracks are cut into consecutive sections. Every section is two clips that sounded together: "vocals", and
    "accompaniment", the sum of the other stems; or a clip for each of the four. The recording is the track; the fold is
    "train", "test", or "validation" for the 14 train tracks that the authors name. Stems may be there as FLAC, or
    another format, in place of WAV; other files, `mixture` among them, are ignored. Nothing is read before `clips`,
    `read` or `fingerprint`.

    Args:
        root: the folder that holds train/ and test/, or a folder that holds it, under whatever name.
        section_seconds: duration of a section. A rest shorter than half of it belongs to the section before; a track
            shorter than it is one section.
        follow_links: read files and folders that links lead to, wherever they lie; links that lead out of the corpus
            are refused unless given.
        accompaniment: sum drums, bass and other into one clip.
    """

    name = "musdb18"

    def __init__(
        self,
        root: str | os.PathLike[str],
        section_seconds: float = 10.0,
        follow_links: bool = False,
        accompaniment: bool = True,
    ) -> None:
        if not 0 < section_seconds < float("inf"):
            raise InputError(f"section_seconds: {section_seconds}; a positive number is needed")
        self.root = Path(root)
        self.section_seconds = section_seconds
        pair = {"vocals": STEMS[3:], "accompaniment": STEMS[:3]}
        self.stems = pair if accompaniment else {stem: (stem,) for stem in STEMS}
        self.follow_links = follow_links

    @cached_property
    def folder(self) -> Path:
        """The folder that holds train/ and test/."""
        return corpus_folder(self.root, "MUSDB18", _holds_tracks, "train/TRACK/vocals.wav as in MUSDB18-HQ")

    def clips(self) -> list[Clip]:
        """The clips of every section; of the audio, only the headers of the vocals are looked at."""
        clips = []
        split_of_track: dict[str, str] = {}
        for split in ("train", "test"):
            for track in folders_in(self.folder / split):
                if track in split_of_track:
                    raise InputError(f"{self.folder}: {track} is in both train and test; remove one of them")
                split_of_track[track] = split
                fold = "validation" if split == "train" and track.casefold() in VALIDATION_TRACKS else split
                for stem in STEMS[:3]:
                    self._file(f"{split}/{track}", stem)
                for section in range(len(self._sections(f"{split}/{track}"))):
                    for label in self.stems:
                        clips.append(Clip(f"{split}/{track}/{label}@{section}", label, fold, track, section=section))
        return clips

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        track, _, part = clip.name.rpartition("/")
        label, _, section = part.partition("@")
        start, stop = self._sections(track)[int(section)]
        vocals = self._length_and_rate(track, "vocals")
        parts = []
        for stem in self.stems[label]:
            length, rate = self._length_and_rate(track, stem)
            if (length, rate) != vocals:
                raise InputError(
                    f"{track}/{stem}: {length} samples at {rate} Hz, expected {vocals[0]} at {vocals[1]} Hz "
                    f"as its vocals; {_WAY_OUT}"
                )
            parts.append(read_audio(self._file(track, stem), f"{track}/{stem}", _WAY_OUT, start, stop)[0])
        return np.sum(np.stack(parts), axis=0), vocals[1]

    def fingerprint(self, clips: list[Clip]) -> str:
        """A digest of the cut, these clips' rows and their stems; all stems of a track count for each of its clips."""

        @cache
        def stems_of(track: str) -> tuple[int, ...]:
            return tuple(
                value for stem in STEMS[3:] + STEMS[:3] for value in size_and_time(*self._candidates(track, stem))
            )

        return digest((self.section_seconds, *clip, *stems_of(clip.name.rpartition("/")[0])) for clip in clips)

    def _candidates(self, track: str, stem: str) -> Iterator[str]:
        return (f"{self.folder}/{track}/{stem}{suffix}" for suffix in SUFFIXES)

    def _file(self, track: str, stem: str) -> str:
        for path in self._candidates(track, stem):
            if os.path.exists(path):
                if not self.follow_links:
                    refuse_outside(self.folder, path, f"{track}/{stem}")
                return path
        raise InputError(f"{self.folder}/{track}: no {stem}.wav or {stem}.flac; {_WAY_OUT}")

    def _length_and_rate(self, track: str, stem: str) -> tuple[int, int]:
        return audio_length(self._file(track, stem), f"{track}/{stem}", _WAY_OUT)

    def _sections(self, track: str) -> list[tuple[int, int]]:
        length, rate = self._length_and_rate(track, "vocals")
        return section_bounds(length, max(round(self.section_seconds * rate), 1))


def section_bounds(length: int, section: int) -> list[tuple[int, int]]:
    """First sample of each section and the one after its last; a rest below half a section joins the one before."""
    count = max((2 * length + section) // (2 * section), 1)
    return [(i * section, (i + 1) * section if i < count - 1 else length) for i in range(count)]


def _holds_tracks(folder: Path) -> bool:
    train, test = folder / "train", folder / "test"
    if not (os.path.isdir(train) and os.path.isdir(test)):
        return False
    return any(os.path.exists(f"{train}/{track}/vocals{suffix}") for track in folders_in(train) for suffix in SUFFIXES)
