"""Rendering labelled mixtures from a built bank, against making each from its audio files."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from datamodules.corpora.audio_file import resample
from datamodules.mixture_dataset import WholeBatches, as_batch
from datamodules.recipes import Recipe
from datamodules.rendering import render
from datamodules.sound_bank import SoundBank, integrated_loudness
from datamodules.urban_scenes import UrbanScenes
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.noise_corpus import scenes
from lightning_modules.batch import Batch

EVENTS = 3
BATCH = 16
MIXTURES, REFERENCE_MIXTURES = 1024, 32
WORKERS = 2
FILES = "decoding, resampling and measuring the files of each mixture (soundfile, torchaudio, pyloudnorm)"


class _ClipsFromFiles:
    """Stands in for a bank, and does at every event what the bank did once: decode, resample, measure."""

    def __init__(self, data: UrbanScenes, recipe: Recipe) -> None:
        bank = data.bank
        self.sample_rate = bank.sample_rate
        self._audio = {}
        self.lengths, self.loudness = np.zeros_like(bank.lengths), np.zeros_like(bank.loudness)
        for number in recipe.clips.tolist():
            samples, rate = data.corpus.read(bank.clips[number])
            self._audio[number] = resample(samples, rate, self.sample_rate)
            self.lengths[number] = len(self._audio[number])
            self.loudness[number] = integrated_loudness(self._audio[number], self.sample_rate)

    def clip(self, number: int) -> np.ndarray:
        return self._audio[number]


class MixturesFromFiles(Dataset[Batch]):
    """The mixtures of a data set, each made of its audio files when it is asked for.

    Args:
        data: where the corpus, its bank and the recipes come from.
    """

    def __init__(self, data: UrbanScenes) -> None:
        self.data = data
        self.mixtures = data.dataset("train")

    def __getitem__(self, index: int) -> Batch:
        dataset, recipe = self.mixtures, self.mixtures.recipes(index)
        clips = cast(SoundBank, _ClipsFromFiles(self.data, recipe))  # as much of a bank as rendering asks for
        batch = render([recipe], [index], clips, dataset.geometry, dataset.samples, dataset.classes)
        return Batch(*(field[0] for field in batch))


def benchmark_rendering(device: torch.device) -> Iterator[Comparison]:
    """Labelled mixtures of three events with their isolated sources, in one process and through a loader's workers."""
    for rate in (16000, 44100):
        with scenes(20 * MIXTURES, rate=rate) as data:
            ours, theirs = data.dataset("train"), MixturesFromFiles(data)
            of_few = (index for index in range(len(ours)) if len(ours.recipes(index).clips) == EVENTS)
            indices = list(islice(of_few, MIXTURES))
            for mine, other in zip(ours[indices[0]], theirs[indices[0]], strict=True):
                np.testing.assert_allclose(mine.numpy(), other.numpy(), atol=1e-6)
            batches = [indices[first : first + BATCH] for first in range(0, MIXTURES, BATCH)]
            yield Comparison(
                f"mixtures of {EVENTS} events from {rate / 1000:g}-kHz files, with labels and sources; one process",
                partial(_exhaust, ours.batch, batches),
                partial(_exhaust, theirs.__getitem__, indices[:REFERENCE_MIXTURES]),
                FILES,
                MIXTURES,
                REFERENCE_MIXTURES,
                wanted=20,
            )
    with scenes(MIXTURES) as data:
        yield Comparison(
            f"mixtures of 5 events in the mean, through a loader with {WORKERS} workers",
            partial(_exhaust, as_batch, _loader(WholeBatches(data.dataset("train")), MIXTURES, as_batch)),
            partial(_exhaust, as_batch, _loader(MixturesFromFiles(data), REFERENCE_MIXTURES, default_collate)),
            f"{FILES}, by as many workers",
            MIXTURES,
            REFERENCE_MIXTURES,
        )


def _exhaust(make: Callable[[Any], Any], parts: Iterable[Any]) -> None:
    for part in parts:
        make(part)


def _loader(dataset: Dataset[Batch], mixtures: int, collate: Callable[[Any], Any]) -> DataLoader[Batch]:
    return DataLoader(
        dataset,
        BATCH,
        sampler=range(mixtures),
        num_workers=WORKERS,
        collate_fn=collate,
        persistent_workers=True,
    )
