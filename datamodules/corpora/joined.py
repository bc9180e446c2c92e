"""Several corpora as one, such as UrbanSound8K and a folder with a class that it does not have."""

from collections.abc import Sequence

import numpy as np

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.layout import digest
from lightning_modules.errors import InputError


class JoinedCorpora(Corpus):
    """The clips of several corpora, one corpus after the other.

    Labels and folds are those of the corpora: fold 1 of all of them is fold 1. Names and recordings get the corpus's
    number in front, `1/`, `2/`, ...: what has the same name in two of them is not the same.

    Args:
        corpora: in this order.
    """

    name = "joined"

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        if not corpora:
            raise InputError("corpora: none; give one at least")
        self.corpora = list(corpora)

    def clips(self) -> list[Clip]:
        return [
            clip._replace(name=f"{number}/{clip.name}", recording=f"{number}/{clip.recording}")
            for number, corpus in enumerate(self.corpora, 1)
            for clip in corpus.clips()
        ]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        number, own = _origin(clip)
        return self.corpora[number - 1].read(own)

    def fingerprint(self, clips: list[Clip]) -> str:
        origins = [_origin(clip) for clip in clips]
        return digest(
            (corpus.name, corpus.fingerprint([own for of, own in origins if of == number]))
            for number, corpus in enumerate(self.corpora, 1)
        )


def _origin(clip: Clip) -> tuple[int, Clip]:
    """The number of a clip's corpus, and the clip as that one knows it."""
    number, name = clip.name.split("/", 1)
    return int(number), clip._replace(name=name, recording=clip.recording.split("/", 1)[1])
