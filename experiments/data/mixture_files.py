"""The files of a set of mixtures: audio, isolated sources and events, annotations."""

import csv
import json
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from scipy.io import wavfile
from torch import Tensor

from datamodules.annotations import (
    STRONG_COLUMNS,
    WEAK_COLUMNS,
    event_file,
    jams,
    require_separable,
    sound_events,
    strong_rows,
    weak_row,
)
from datamodules.mixtures import MixtureDataModule
from datamodules.recipes import Recipe
from datamodules.rendering import render
from lightning_modules.batch import Batch, Split
from lightning_modules.errors import InputError

AudioFormat = Literal["wav", "flac"]
STRONG_LABELS, WEAK_LABELS = "labels.tsv", "weak_labels.tsv"
# FLAC ends at ±1, which every fourth mixture of short, loud events exceeds: up to 2.5 in UrbanSound8K's.
SCALE: dict[AudioFormat, float] = {"wav": 1.0, "flac": 0.125}


def write_audio(path: Path, samples: np.ndarray, sample_rate: int, audio_format: AudioFormat) -> None:
    """Write mono float32 samples [T]: WAV holds them as they are, FLAC holds an eighth of them, rounded to 24 bits.

    Raises:
        InputError: samples that FLAC cannot hold even so.
    """
    if audio_format == "wav":
        # Not by libsndfile, which writes the time of writing into float WAV: files would never be the same twice.
        wavfile.write(path, sample_rate, samples)
        return
    scaled = samples * SCALE["flac"]
    if np.abs(scaled).max() > 1 - 2**-23:
        raise InputError(
            f"{path.stem}: peak {np.abs(samples).max():.2f} does not fit into FLAC; use --audio_format wav"
        )
    soundfile.write(path, scaled, sample_rate, subtype="PCM_24", format="FLAC")


class MixtureFiles:
    """The files of one set of mixtures, written one mixture after the other.

    Args:
        folder: to write into.
        data: whose mixtures they are.
        split: part of the data.
        audio_format: of mixtures and sources.
        isolated_events: whether every event is written by itself too, as Scaper does.

    Raises:
        InputError: a label cannot stand in DCASE's tables.
    """

    def __init__(
        self, folder: Path, data: MixtureDataModule, split: Split, audio_format: AudioFormat, isolated_events: bool
    ) -> None:
        self.folder = folder
        self.data = data
        self.split = split
        self.audio_format = audio_format
        self.isolated_events = isolated_events
        self.dataset = data.dataset(split)
        self.labels = sorted({self.dataset.bank.clips[number].label for number in data.clip_numbers(split)})
        require_separable(self.labels)
        self._strong: list[tuple[str, ...]] = [STRONG_COLUMNS]
        self._weak: list[tuple[str, ...]] = [WEAK_COLUMNS]
        for kind in ("mixtures", "sources"):
            (folder / kind).mkdir()

    def write(self, indices: range) -> None:
        """Render these mixtures and write their audio and their JAMS."""
        batch = self.dataset.batch(indices)
        for number, index in enumerate(indices):
            self._write_one(index, Batch(*(field[number] for field in batch)))

    def _write_one(self, index: int, mixture: Batch) -> None:
        name = f"{self.split}-{index:06d}"
        audio_file = f"{name}.{self.audio_format}"
        beside = self.folder / "mixtures"
        self._write_audio(beside / audio_file, mixture.mixture)
        for label, source, present in zip(self.data.classes, mixture.sources, mixture.clip_labels, strict=True):
            if present:
                self._write_audio(self.folder / "sources" / name / f"{label}.{self.audio_format}", source)
        recipe, dataset = self.dataset.recipes(index), self.dataset
        events = sound_events(recipe, dataset.bank, dataset.samples)
        if self.isolated_events:
            tracks = self._tracks(recipe)
            for number, event in enumerate(events):
                self._write_audio(beside / event_file(audio_file, number, event.label), tracks[event.number])
        annotations = jams(
            events,
            dataset.samples,
            dataset.geometry.sample_rate,
            audio_file,
            self.data.corpus.name,
            self.labels,
            self.isolated_events,
        )
        (beside / f"{name}.jams").write_text(json.dumps(annotations, indent=1) + "\n")
        self._strong += strong_rows(audio_file, events)
        self._weak.append(weak_row(audio_file, events))

    def _tracks(self, recipe: Recipe) -> Tensor:
        """Every event of a mixture by itself, in the recipe's order, [E, T]."""
        dataset, events = self.dataset, len(recipe.clips)
        each_its_own = recipe._replace(classes=np.arange(events))
        return render([each_its_own], [0], dataset.bank, dataset.geometry, dataset.samples, events).sources[0]

    def _write_audio(self, path: Path, samples: Tensor) -> None:
        path.parent.mkdir(exist_ok=True)
        write_audio(path, samples.numpy(), self.dataset.geometry.sample_rate, self.audio_format)

    def write_labels(self) -> None:
        """Write the strong and the weak labels of all mixtures as one table each."""
        for table, rows in ((STRONG_LABELS, self._strong), (WEAK_LABELS, self._weak)):
            with open(self.folder / table, "w", newline="") as file:
                csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)
