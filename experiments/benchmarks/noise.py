"""Mixtures of noise: files that anybody can make, as long as the recordings that the systems are for."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
import soundfile

from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.mixtures import MixtureDataModule
from datamodules.urban_scenes import URBAN_CLASSES
from lightning_modules.batch import Split

CLIPS_PER_CLASS = 20
Data = TypeVar("Data", bound=MixtureDataModule)


def noise_corpus(root: Path, rate: int = 16000, labels: Sequence[str] = URBAN_CLASSES) -> FolderPerClass:
    """Write WAV files of 4 s of noise, all of them in one fold."""
    for number in range(CLIPS_PER_CLASS * len(labels)):
        path = root / labels[number % len(labels)] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(4 * rate, np.float32), rate)
    return FolderPerClass(root, folds=1)


@contextlib.contextmanager
def noise_mixtures(
    kind: type[Data],
    mixtures: int,
    split: Split = "train",
    rate: int = 16000,
    labels: Sequence[str] = URBAN_CLASSES,
    **settings: Any,
) -> Iterator[Data]:
    """Mixtures by the published rules, their bank built: one split of so many."""
    with tempfile.TemporaryDirectory() as name:
        corpus = noise_corpus(Path(name) / "files", rate, labels)
        settings |= {f"{each}_folds": [1] if each == split else [] for each in get_args(Split)}
        settings |= {f"{split}_mixtures": mixtures, "bank_folder": f"{name}/banks"}
        data = kind(corpus, **settings)
        data.build()
        yield data
