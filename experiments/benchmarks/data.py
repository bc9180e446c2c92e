"""Sound banks and mixtures of noise rendered from them, against plain loops over the files."""

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, get_args

import numpy as np
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.corpora.audio_file import resample
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.inspection import integrated_loudness
from datamodules.mixtures import MixtureDataModule
from datamodules.rendering import render
from datamodules.sound_bank import build_sound_bank
from datamodules.urban_scenes import URBAN_CLASSES, UrbanScenes
from experiments.benchmarks.comparison import Comparison
from lightning_modules.batch import Batch, Split

RATE, EVENTS, BATCH, WORKERS, CLIPS_PER_CLASS = 16000, 3, 16, 2, 20
MIXTURES, REFERENCE_MIXTURES = 1024, 32
FILES = "decoding, resampling and measuring the files of each mixture (soundfile, torchaudio, pyloudnorm)"
Data = TypeVar("Data", bound=MixtureDataModule)


def benchmark_rendering(device: torch.device) -> Iterator[Comparison]:
    """Labelled mixtures of three events with their isolated sources, in one process and through a loader's workers."""
    for rate in (16000, 44100):
        with noise_mixtures(UrbanScenes, 20 * MIXTURES, rate=rate) as data:
            ours, theirs = data.dataset("train"), MixturesFromFiles(data)
            of_few = (index for index in range(len(ours)) if len(ours.recipes(index).clips) == EVENTS)
            indices = list(itertools.islice(of_few, MIXTURES))
            for mine, other in zip(ours[indices[0]], theirs[indices[0]], strict=True):
                torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)
            work = f"mixtures of {EVENTS} events from {rate / 1000:g}-kHz files, with labels and sources; one process"
            batches = [indices[begin : begin + BATCH] for begin in range(0, MIXTURES, BATCH)]
            rendered = partial(exhaust, batches, ours.batch)
            from_files = partial(exhaust, indices[:REFERENCE_MIXTURES], theirs.__getitem__)
            yield Comparison(work, rendered, from_files, FILES, MIXTURES, REFERENCE_MIXTURES, wanted=20)
    with noise_mixtures(UrbanScenes, MIXTURES, batch_size=BATCH, workers=WORKERS) as data:
        first, loader = range(REFERENCE_MIXTURES), data.train_dataloader()
        plain = DataLoader(MixturesFromFiles(data), BATCH, sampler=first, num_workers=WORKERS, persistent_workers=True)
        work = f"mixtures of 5 events in the mean, through a loader with {WORKERS} workers"
        ways = partial(exhaust, loader), partial(exhaust, plain)
        yield Comparison(work, *ways, f"{FILES}, by as many workers", MIXTURES, REFERENCE_MIXTURES)


def benchmark_bank(device: torch.device) -> Iterator[Comparison]:
    """Clips decoded, resampled, measured and written; both ways end with the same samples and loudness."""
    with tempfile.TemporaryDirectory() as name:
        folder, number = Path(name), itertools.count()
        corpus = noise_corpus(folder / "files", 44100)
        clips = corpus.clips()

        def ours() -> tuple[np.ndarray, np.ndarray]:
            bank = build_sound_bank(corpus, clips, RATE, folder / f"bank-{next(number)}", progress=False)
            return bank.samples, bank.loudness

        def plain() -> tuple[np.ndarray, np.ndarray]:
            audio, loudness = zip(*(_read_and_measure(corpus, clip) for clip in clips), strict=True)
            samples = np.concatenate(audio)
            np.save(folder / "plain.npy", samples)
            return samples, np.array(loudness)

        np.testing.assert_array_equal(np.concatenate(ours()), np.concatenate(plain()))
        work = "sound bank of 4-s clips, 44.1 to 16 kHz, with loudness; a thread a core"
        loop = "a plain loop over the files (soundfile, torchaudio, pyloudnorm, numpy.save)"
        yield Comparison(work, ours, plain, loop, len(clips))


class MixturesFromFiles(Dataset[Batch]):
    """The training mixtures of a data set, each made of its audio files when it is asked for."""

    def __init__(self, data: UrbanScenes) -> None:
        self.corpus, self.mixtures = data.corpus, data.dataset("train")

    def __getitem__(self, index: int) -> Batch:
        mixtures, recipe = self.mixtures, self.mixtures.recipes(index)
        read = [_read_and_measure(self.corpus, mixtures.bank.clips[number]) for number in recipe.clips]
        audio, loudness = zip(*read, strict=True)
        lengths = np.array([len(samples) for samples in audio])
        # As much of a bank as rendering asks for.
        bank: Any = SimpleNamespace(
            sample_rate=RATE, lengths=lengths, loudness=np.array(loudness), clip=audio.__getitem__
        )
        recipe = recipe._replace(clips=np.arange(len(audio)))
        batch = render([recipe], [index], bank, mixtures.geometry, mixtures.samples, mixtures.classes)
        return Batch(*(field[0] for field in batch))


def noise_corpus(root: Path, rate: int) -> FolderPerClass:
    """Write WAV files of 4 s of noise, all of them in one fold."""
    for number in range(CLIPS_PER_CLASS * len(URBAN_CLASSES)):
        path = root / URBAN_CLASSES[number % len(URBAN_CLASSES)] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.random.default_rng(number).standard_normal(4 * rate, np.float32), rate)
    return FolderPerClass(root, folds=1)


@contextlib.contextmanager
def noise_mixtures(
    kind: type[Data], mixtures: int, split: Split = "train", rate: int = RATE, **settings: Any
) -> Iterator[Data]:
    """Mixtures of noise by the published rules, their bank built: one split of so many."""
    with tempfile.TemporaryDirectory() as name:
        corpus = noise_corpus(Path(name) / "files", rate)
        settings |= {f"{each}_folds": [1] if each == split else [] for each in get_args(Split)}
        settings |= {f"{split}_mixtures": mixtures, "bank_folder": f"{name}/banks"}
        data = kind(corpus, **settings)
        data.build()
        yield data


def exhaust(parts: Iterable[Any], make: Callable[[Any], Any] = id) -> None:
    """Go through all parts, or make something of each."""
    for part in parts:
        make(part)


def _read_and_measure(corpus: Corpus, clip: Clip) -> tuple[np.ndarray, float]:
    """What a bank does once for every clip: decode, resample, measure."""
    samples = resample(*corpus.read(clip), RATE)
    return samples, integrated_loudness(samples, RATE)
