"""Sound banks and mixtures rendered from them, against plain loops over the corpus's files."""

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.corpora.audio_file import resample
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.inspection import integrated_loudness
from datamodules.rendering import render
from datamodules.sound_bank import build_sound_bank
from datamodules.urban_scenes import UrbanScenes
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.noise import noise_corpus, noise_mixtures
from lightning_modules.batch import Batch

RATE, EVENTS, BATCH, WORKERS = 16000, 3, 16, 2
MIXTURES, REFERENCE_MIXTURES = 1024, 32
FILES = "decoding, resampling and measuring the files of each mixture (soundfile, torchaudio, pyloudnorm)"


def benchmark_rendering(device: torch.device) -> Iterator[Comparison]:
    """Labelled mixtures of three events with their isolated sources, in one process and through a loader's workers."""
    for rate in (16000, 44100):
        with noise_mixtures(UrbanScenes, 20 * MIXTURES, rate=rate) as data:
            ours, theirs = data.dataset("train"), MixturesFromFiles(data)
            of_few = (index for index in range(len(ours)) if len(ours.recipes(index).clips) == EVENTS)
            indices = list(itertools.islice(of_few, MIXTURES))
            batches = [indices[first : first + BATCH] for first in range(0, MIXTURES, BATCH)]
            for mine, other in zip(ours[indices[0]], theirs[indices[0]], strict=True):
                torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)
            work = f"mixtures of {EVENTS} events from {rate / 1000:g}-kHz files, with labels and sources; one process"
            rendered = partial(_exhaust, ours.batch, batches)
            from_files = partial(_exhaust, theirs.__getitem__, indices[:REFERENCE_MIXTURES])
            yield Comparison(work, rendered, from_files, FILES, MIXTURES, REFERENCE_MIXTURES, wanted=20)
    with noise_mixtures(UrbanScenes, MIXTURES, batch_size=BATCH, workers=WORKERS) as data:
        first = range(REFERENCE_MIXTURES)
        plain = DataLoader(MixturesFromFiles(data), BATCH, sampler=first, num_workers=WORKERS, persistent_workers=True)
        work = f"mixtures of 5 events in the mean, through a loader with {WORKERS} workers"
        rendered, from_files = partial(_exhaust, id, data.train_dataloader()), partial(_exhaust, id, plain)
        yield Comparison(work, rendered, from_files, f"{FILES}, by as many workers", MIXTURES, REFERENCE_MIXTURES)


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


def _read_and_measure(corpus: Corpus, clip: Clip) -> tuple[np.ndarray, float]:
    """What a bank does once for every clip: decode, resample, measure."""
    samples = resample(*corpus.read(clip), RATE)
    return samples, integrated_loudness(samples, RATE)


def _exhaust(make: Callable[[Any], Any], parts: Iterable[Any]) -> None:
    for part in parts:
        make(part)
