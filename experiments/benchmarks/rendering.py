"""Rendering labelled mixtures from a built bank, against making each from its audio files."""

import tempfile
from pathlib import Path
from typing import cast

import numpy as np
import soundfile

from datamodules.batch import Batch
from datamodules.corpora.audio_file import read_audio, resample
from datamodules.corpora.corpus import Clip
from datamodules.mixture_dataset import MixtureDataset
from datamodules.recipes import Recipe
from datamodules.rendering import render
from datamodules.sound_bank import SoundBank, integrated_loudness
from datamodules.urban_scenes import UrbanScenes
from experiments.benchmarks.measure import Measurement, alternate

CLASSES = [f"class{number}" for number in range(5)]
CLIPS_PER_CLASS = 20
FILE_RATE = 22050
BATCH = 16
MIXTURES, REFERENCE_MIXTURES = 1024, 16


class NoiseFiles:
    """A corpus for the benchmark alone: WAV files of 4 s of noise, as long as UrbanSound8K's clips get."""

    name = "noise"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for number, clip in enumerate(self.clips()):
            noise = 0.1 * np.random.default_rng(number).standard_normal(4 * FILE_RATE, np.float32)
            soundfile.write(folder / clip.name, noise, FILE_RATE)

    def clips(self) -> list[Clip]:
        """As many for each class."""
        return [Clip(f"{c}-{n}.wav", c, 1, f"{c}-{n}") for c in CLASSES for n in range(CLIPS_PER_CLASS)]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """The file."""
        return read_audio(self.folder / clip.name)

    def fingerprint(self, clips: list[Clip]) -> str:
        """Its folder is as short-lived as the corpus."""
        return str(self.folder)


class _ClipsFromFiles:
    """Stands in for a bank, and does at every event what the bank did once: decode, resample, measure."""

    def __init__(self, corpus: NoiseFiles, dataset: MixtureDataset, recipe: Recipe) -> None:
        bank = dataset.bank
        self.sample_rate = bank.sample_rate
        self._audio = {}
        self.lengths, self.loudness = np.zeros_like(bank.lengths), np.zeros_like(bank.loudness)
        for number in recipe.clips.tolist():
            samples, rate = corpus.read(bank.clips[number])
            self._audio[number] = resample(samples, rate, self.sample_rate)
            self.lengths[number] = len(self._audio[number])
            self.loudness[number] = integrated_loudness(self._audio[number], self.sample_rate)

    def clip(self, number: int) -> np.ndarray:
        return self._audio[number]


def benchmark_rendering() -> list[Measurement]:
    """Mixtures of five 4-s source tracks with frame and clip labels and loudness; both ways give the same samples."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = NoiseFiles(folder)
        data = UrbanScenes(
            corpus,
            bank_folder=str(folder / "banks"),
            classes=CLASSES,
            train_folds=[1],
            validation_folds=[],
            test_folds=[],
            train_mixtures=MIXTURES,
        )
        data.build()
        dataset = data.dataset("train")

        def from_files(index: int) -> Batch:
            recipe = dataset.recipes(index)
            clips = _ClipsFromFiles(corpus, dataset, recipe)
            bank = cast(SoundBank, clips)  # as much of one as rendering asks for
            return render([recipe], [index], bank, dataset.geometry, dataset.samples, dataset.classes)

        for ours, reference in zip(dataset.__getitems__([3]), from_files(3), strict=True):
            np.testing.assert_allclose(ours.numpy(), reference.numpy(), atol=1e-6)
        return [
            alternate(
                "labelled mixtures of five 4-s tracks",
                lambda: [dataset.__getitems__(range(i, i + BATCH)) for i in range(0, MIXTURES, BATCH)],
                lambda: [from_files(index) for index in range(REFERENCE_MIXTURES)],
                "decoding, resampling and measuring the files of each mixture (soundfile, torchaudio, pyloudnorm)",
                MIXTURES,
                REFERENCE_MIXTURES,
            )
        ]
