"""Several corpora as one, such as UrbanSound8K and a folder with a class that it does not have."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.layout import digest
from lightning_modules.errors import InputError


class JoinedCorpora(Corpus):
    """The clips of several corpora, one corpus after the other.

    Folds are those of the corpora: fold 1 of all of them is fold 1. Names and recordings get the corpus's number in
    front, `1/`, `2/`, ...: what has the same name in two of them is not the same. Recordings of Freesound, of which
    UrbanSound8K, ESC-50 and FSD50K are made, are taken from the first corpus that has them: splits must not share one.

    Args:
        corpora: in this order.
        labels: other names of labels: `{dog: dog_bark}` makes one class of one corpus's dogs and another's dog barks.
            All other labels are those of the corpora.
        follow_links: as if each of the corpora was given it.
    """

    name = "joined"

    def __init__(
        self, corpora: Sequence[Corpus], labels: Mapping[str, str] | None = None, follow_links: bool = False
    ) -> None:
        if not corpora:
            raise InputError("corpora: none; give one at least")
        self.corpora = list(corpora)
        for corpus in self.corpora:
            if follow_links and hasattr(corpus, "follow_links"):
                corpus.follow_links = True
        self.labels = dict(labels or {})

    def clips(self) -> list[Clip]:
        return self.labelled(None)

    def labelled(self, labels: Collection[str] | None) -> list[Clip]:
        renamed = {own for own, label in self.labels.items() if labels is None or label in labels}
        wanted = None if labels is None else renamed | {*labels} - self.labels.keys()
        clips: list[tuple[int, Clip]] = []
        first: dict[str, int] = {}
        found: set[str] = set()
        for number, corpus in enumerate(self.corpora, 1):
            for clip in corpus.labelled(wanted):
                found.add(clip.label)
                recording = corpus.freesound_id(clip)
                if recording is None or first.setdefault(recording, number) == number:
                    clips.append((number, clip))
        if missing := sorted(renamed - found):
            raise InputError(f"labels: no clip of {', '.join(missing)} in the corpora; correct the name")
        return [
            clip._replace(
                name=f"{number}/{clip.name}",
                label=self.labels.get(clip.label, clip.label),
                recording=f"{number}/{clip.recording}",
            )
            for number, clip in clips
        ]

    def freesound_id(self, clip: Clip) -> str | None:
        number, own = _origin(clip)
        return self.corpora[number - 1].freesound_id(own)

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
