"""The files of a set of mixtures: audio, isolated sources and events, annotations."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from scipy.io import wavfile
from torch import Tensor

from datamodules.annotations import event_file, jams, sound_events, without_overlaps
from datamodules.mixture_dataset import MixtureDataset
from datamodules.mixtures import MixtureDataModule
from datamodules.recipes import Recipe
from datamodules.rendering import render
from lightning_modules.batch import Batch, Split
from lightning_modules.errors import InputError
from lightning_modules.scores import RESIDUAL

AudioFormat = Literal["wav", "flac"]
STRONG_LABELS, WEAK_LABELS = "labels.tsv", "weak_labels.tsv"
STRONG_COLUMNS = ("filename", "onset", "offset", "event_label")
WEAK_COLUMNS = ("filename", "event_labels")
# FLAC ends at ±1, which every fourth mixture of short, loud events exceeds: up to 2.5 in UrbanSound8K's.
SCALE: dict[AudioFormat, float] = {"wav": 1.0, "flac": 0.125}


def write_mixtures(
    folder: Path,
    data: MixtureDataModule,
    split: Split,
    indices: Iterable[int],
    audio_format: AudioFormat,
    isolated_events: bool,
    merge_overlaps: bool,
) -> None:
    """Write mixtures, their sources and JAMS, and the strong and weak labels of all of them as DCASE's tables.

    Events of no class are in no annotation; their sum is the source `residual`. With `isolated_events` every other
    event is written by itself too, as Scaper does; with `merge_overlaps` the strong labels have overlapping events of
    one class as a single one. InputError where a label cannot stand in DCASE's tables, or samples do not fit into FLAC.
    """
    dataset = data.dataset(split)
    bank, rate, duration = dataset.bank, dataset.geometry.sample_rate, dataset.samples / dataset.geometry.sample_rate
    there = {bank.clips[number].label for number in data.clip_numbers(split)}
    labels = sorted(there if data.labels is None else there & data.labels)
    for label in labels:
        if "," in label:
            raise InputError(f"label {label!r}: a comma separates labels in DCASE's tables; rename it in the corpus")
    strong: list[tuple[str, ...]] = [STRONG_COLUMNS]
    weak: list[tuple[str, ...]] = [WEAK_COLUMNS]
    beside = folder / "mixtures"
    for index in indices:
        mixture, recipe = Batch(*(field[0] for field in dataset.batch([index]))), dataset.recipes(index)
        name = f"{split}-{index:06d}"
        audio_file = f"{name}.{audio_format}"
        write_audio(beside / audio_file, mixture.mixture.numpy(), rate, audio_format)
        heard = (*mixture.clip_labels[: len(data.classes)], True)  # 1 or, where it is for nobody to know, NaN, too
        for number, (label, source) in enumerate(zip((*data.classes, RESIDUAL), mixture.sources, strict=False)):
            if heard[number] and number in recipe.classes:
                path = folder / "sources" / name / f"{label}.{audio_format}"
                write_audio(path, source.numpy(), rate, audio_format)
        events = sound_events(recipe, bank, dataset.samples)
        events = [event for event in events if recipe.classes[event.number] < len(data.classes)]
        if isolated_events:
            tracks = _isolated(dataset, recipe)
            for number, event in enumerate(events):
                path = beside / event_file(audio_file, number, event.clip.label)
                write_audio(path, tracks[event.number].numpy(), rate, audio_format)
        annotations = jams(events, duration, rate, audio_file, data.corpus.name, labels, isolated_events)
        (beside / f"{name}.jams").write_text(json.dumps(annotations, indent=1) + "\n")
        intervals = [(event.onset, event.offset, event.clip.label) for event in events]
        intervals = without_overlaps(intervals) if merge_overlaps else intervals
        # Seconds to the microsecond, finer than any usual rate.
        strong += [(audio_file, f"{onset:.6f}", f"{offset:.6f}", label) for onset, offset, label in intervals]
        weak.append((audio_file, ",".join(sorted({event.clip.label for event in events}))))
    for table, rows in ((STRONG_LABELS, strong), (WEAK_LABELS, weak)):
        with open(folder / table, "w", newline="") as file:
            csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)


def _isolated(dataset: MixtureDataset, recipe: Recipe) -> Tensor:
    """Every event of a mixture by itself, in the recipe's order, [E, T]."""
    events = len(recipe.clips)
    each_its_own = recipe._replace(classes=np.arange(events))
    return render([each_its_own], [0], dataset.bank, dataset.geometry, dataset.samples, events).sources[0]


def write_audio(path: Path, samples: np.ndarray, sample_rate: int, audio_format: AudioFormat) -> None:
    """Write mono float32 samples [T]: WAV holds them as they are, FLAC holds an eighth of them, rounded to 24 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
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
