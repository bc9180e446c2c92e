"""Noise as a corpus: files that anybody can make, as long as the recordings that the systems are for."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import soundfile

from datamodules.corpora.audio_file import read_audio
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.source_pairs import SourcePairs
from datamodules.urban_scenes import UrbanScenes
from lightning_modules.batch import Split

CLIPS_PER_CLASS = 20
SECONDS = 4


class NoiseFiles(Corpus):
    """WAV files of 4 s of noise in one fold; for benchmarks alone.

    Args:
        folder: where they are written.
        rate: of the files, in Hz.
        classes: number of labels.
    """

    name = "noise"

    def __init__(self, folder: Path, rate: int = 16000, classes: int = 5) -> None:
        self.folder = folder
        self.labels = [f"class{number}" for number in range(classes)]
        folder.mkdir(parents=True, exist_ok=True)
        for number, clip in enumerate(self.clips()):
            noise = 0.1 * np.random.default_rng(number).standard_normal(SECONDS * rate, np.float32)
            soundfile.write(folder / clip.name, noise, rate)

    def clips(self) -> list[Clip]:
        """As many for each class."""
        numbers = range(CLIPS_PER_CLASS)
        return [Clip(f"{label}-{n}.wav", label, 1, f"{label}-{n}") for label in self.labels for n in numbers]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """The file."""
        return read_audio(self.folder / clip.name)

    def fingerprint(self, clips: list[Clip]) -> str:
        """Its folder is as short-lived as the corpus."""
        return str(self.folder)


@contextlib.contextmanager
def scenes(
    mixtures: int, split: Split = "train", rate: int = 16000, classes: int = 5, **settings: Any
) -> Iterator[UrbanScenes]:
    """Scenes of noise by the published rules, their bank built: one split of so many mixtures."""
    with tempfile.TemporaryDirectory() as name:
        corpus = NoiseFiles(Path(name) / "files", rate, classes)
        data = UrbanScenes(corpus, f"{name}/banks", corpus.labels, **_only(split, mixtures), **settings)
        data.build()
        yield data


@contextlib.contextmanager
def pairs(mixtures: int, split: Split = "train", **settings: Any) -> Iterator[SourcePairs]:
    """Pairs of noises by the published rules, their bank built: one split of so many mixtures."""
    with tempfile.TemporaryDirectory() as name:
        corpus = NoiseFiles(Path(name) / "files")
        data = SourcePairs(corpus, "noise", bank_folder=f"{name}/banks", **_only(split, mixtures), **settings)
        data.build()
        yield data


def _only(split: Split, mixtures: int) -> dict[str, Any]:
    folds = {f"{name}_folds": [1] if name == split else [] for name in get_args(Split)}
    return {**folds, f"{split}_mixtures": mixtures}
