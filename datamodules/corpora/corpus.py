"""What a corpus is to the rest of the project: a list of labelled clips and a way to read each of them."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import NamedTuple

import numpy as np

Fold = int | str


class Clip(NamedTuple):
    """One labelled recording, or one cut from a recording.

    Attributes:
        name: unique within its corpus; for corpora on disk the path relative to the corpus root, with forward slashes.
        label: sound class.
        fold: which part of the corpus's official partition it belongs to, by number or by name.
        recording: what it was cut from: a recording, a song, or all that one speaker said; splits must never share one.
        salience: 1 foreground, 2 background; 1 where the corpus does not say.
        section: which part of the recording; clips with the same recording and section sounded together.
    """

    name: str
    label: str
    fold: Fold
    recording: str
    salience: int = 1
    section: int = 0


class Corpus(ABC):
    """A readable corpus, for readers to extend. Several threads call `read` at a time.

    Attributes:
        name: one word, for banks and messages.
    """

    name: str

    @abstractmethod
    def clips(self) -> list[Clip]:
        """Every clip, in a fixed order; audio is not decoded.

        Raises:
            InputError: the corpus is not there, or not in its layout.
        """

    def labelled(self, labels: Collection[str] | None) -> list[Clip]:
        """The clips of these labels alone, all of them for None.

        A corpus whose clips have several labels decides here which of them counts.
        """
        return [clip for clip in self.clips() if labels is None or clip.label in labels]

    def freesound_id(self, clip: Clip) -> str | None:
        """Which recording on freesound.org a clip is of, where the corpus knows; several corpora are made of these."""
        return None

    @abstractmethod
    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """Decode one clip, which its name alone identifies: mono float32 samples [T] and their rate in Hz.

        Raises:
            InputError: the clip is missing, broken, or a link that leads out of the corpus.
        """

    @abstractmethod
    def fingerprint(self, clips: list[Clip]) -> str:
        """A digest that changes when the table or any of these clips' audio changes; missing files count as such."""
