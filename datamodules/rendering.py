"""From recipes and a sound bank to mixtures, isolated sources and labels. Touches no audio file."""

from collections.abc import Sequence

import numpy as np
import torch

from datamodules.batch import Batch
from datamodules.recipes import Recipe
from datamodules.sound_bank import SoundBank
from lightning_modules.spectrogram import Geometry


def event_interval(bank: SoundBank, recipe: Recipe, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Onset and offset of every event in samples, [E] each: what is left of its clip, cut at the end of the mixture."""
    onsets = np.rint(recipe.onsets * bank.sample_rate).astype(np.int64)
    return onsets, np.minimum(onsets + bank.lengths[recipe.clips] - event_starts(bank, recipe), samples)


def event_starts(bank: SoundBank, recipe: Recipe) -> np.ndarray:
    """Where in its clip every event begins, in samples, [E]."""
    return np.rint(recipe.starts * bank.sample_rate).astype(np.int64)


def render_labels(
    recipes: Sequence[Recipe], bank: SoundBank, geometry: Geometry, samples: int, classes: int
) -> np.ndarray:
    """Frame labels from the event lists, never from an energy threshold, float32, [B, C, F].

    A frame is 1 where the event's [onset, offset) meets the window of the spectrogram's frame.
    """
    labels = np.zeros((len(recipes), classes, geometry.frames(samples)), np.float32)
    for row, recipe in zip(labels, recipes, strict=True):
        first, stop = geometry.frames_met(*event_interval(bank, recipe, samples))
        for class_index, begin, end in zip(recipe.classes.tolist(), first.tolist(), stop.tolist(), strict=True):
            row[class_index, begin:end] = 1
    return labels


def render(
    recipes: Sequence[Recipe],
    indices: Sequence[int],
    bank: SoundBank,
    geometry: Geometry,
    samples: int,
    classes: int,
    with_sources: bool = True,
) -> Batch:
    """Render a batch of scenes.

    Args:
        recipes: one for each mixture.
        indices: of the mixtures in their split.
        bank: decoded clips with their loudness.
        geometry: whose frames the labels follow.
        samples: length of a mixture.
        classes: number of classes.
        with_sources: whether the isolated sources are kept; the mixture is the same either way.

    Returns:
        The batch. Where a class has several events its source is their sum.
    """
    count = len(recipes)
    tracks = np.zeros((count, classes if with_sources else 0, samples), np.float32)
    mixture = np.zeros((count, samples), np.float32)
    for number, recipe in enumerate(recipes):
        onsets, offsets = event_interval(bank, recipe, samples)
        # LUFS is a decibel scale: the gain moves the whole clip's loudness to the one asked for.
        gains = 10 ** ((recipe.loudness - bank.loudness[recipe.clips]) / 20)
        for clip, class_index, onset, offset, start, gain in zip(
            recipe.clips.tolist(),
            recipe.classes.tolist(),
            onsets.tolist(),
            offsets.tolist(),
            event_starts(bank, recipe).tolist(),
            gains,
            strict=True,
        ):
            event = bank.clip(clip)[start : start + offset - onset] * np.float32(gain)
            mixture[number, onset:offset] += event
            if with_sources:
                tracks[number, class_index, onset:offset] += event
    frame_labels = torch.from_numpy(render_labels(recipes, bank, geometry, samples, classes))
    return Batch(
        mixture=torch.from_numpy(mixture),
        sources=torch.from_numpy(tracks),
        frame_labels=frame_labels,
        clip_labels=frame_labels.amax(-1),
        indices=torch.tensor(indices, dtype=torch.int64),
    )
