"""What the corpora have in common whose clips are files of their own."""

import contextlib
import inspect
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.layout import digest, read_inside, size_and_time, with_any_ending
from lightning_modules.plain_values import is_plain


class FileCorpus(Corpus):
    """A corpus on disk of which every clip is a file: the clip's name is its path in the corpus's folder.

    A file may have the ending of another format: FLAC in place of WAV. Readers add `name` and `clips`.

    Args:
        root: the folder of the corpus.
        follow_links: read files and folders that links lead to, wherever they lie; links that lead out of the corpus
            are refused unless given.
    """

    way_out = "fetch the file again or remove it"  # what the message says of a clip that cannot be read

    def __init__(self, root: str | os.PathLike[str], follow_links: bool = False) -> None:
        self.root = Path(root)
        self.follow_links = follow_links

    @property
    def folder(self) -> Path:
        """The folder in which the clips are."""
        return self.root

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        candidates = with_any_ending(f"{self.folder}/{clip.name}")
        path = next(filter(os.path.exists, candidates), candidates[0])
        return read_inside(self.folder, path, clip.name, self.way_out, self.follow_links)

    def fingerprint(self, clips: list[Clip]) -> str:
        folder = os.fspath(self.folder)
        of_clips = ((*clip, *size_and_time(*with_any_ending(f"{folder}/{clip.name}"))) for clip in clips)
        return digest(chain(_own_reading(self), of_clips))


def _own_reading(corpus: FileCorpus) -> Iterator[tuple[object, ...]]:
    """What a `read` of one's own depends on: its source, and the attributes of the corpus that are plain and public."""
    if type(corpus).read is not FileCorpus.read:
        with contextlib.suppress(OSError):  # typed at a prompt
            yield (inspect.getsource(type(corpus).read),)
        for name, value in sorted(vars(corpus).items()):
            if not name.startswith("_") and name not in ("root", "follow_links") and is_plain(value):
                yield name, value
