"""From recipes and a sound bank to mixtures, isolated sources and labels. Touches no audio file."""

from collections.abc import Sequence

import numpy as np
import torch

from datamodules.augmentation import play, played_lengths
from datamodules.recipes import Recipe, Variants
from datamodules.sound_bank import SoundBank
from lightning_modules.batch import Batch
from lightning_modules.spectrogram import Geometry


def event_interval(bank: SoundBank, recipe: Recipe, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Onset and offset of every event in samples, [E]: its length or the rest of its clip, cut at the mixture's end."""
    onsets = np.rint(recipe.onsets * bank.sample_rate).astype(np.int64)
    lengths = bank.lengths[recipe.clips] - event_starts(bank, recipe)
    if recipe.lengths is not None:
        lengths = np.minimum(np.rint(recipe.lengths * bank.sample_rate).astype(np.int64), lengths)
    if recipe.variants is not None:
        lengths = played_lengths(lengths, recipe.variants.speeds)
    return onsets, np.minimum(onsets + lengths, samples)


def event_starts(bank: SoundBank, recipe: Recipe) -> np.ndarray:
    """Where in its clip every event begins, in samples, [E]."""
    return np.rint(recipe.starts * bank.sample_rate).astype(np.int64)


def events_of(recipes: Sequence[Recipe]) -> tuple[np.ndarray, Recipe]:
    """The events of all these mixtures as one list, and the place of each event's mixture among the recipes, [ΣE]."""
    mixtures = np.repeat(np.arange(len(recipes)), [len(recipe.clips) for recipe in recipes])
    *columns, variants, lengths = zip(*recipes, strict=True)
    joined = None if variants[0] is None else Variants(*map(np.concatenate, zip(*variants, strict=True)))
    given = None if lengths[0] is None else np.concatenate(lengths)
    return mixtures, Recipe._make((*map(np.concatenate, columns), joined, given))


def render_labels(
    recipes: Sequence[Recipe], bank: SoundBank, geometry: Geometry, samples: int, classes: int
) -> np.ndarray:
    """Frame labels from the event lists, never from an energy threshold, float32, [B, C, F].

    A frame is 1 where the event's [onset, offset) meets the window of the spectrogram's frame. Events of no class have
    no labels.
    """
    labels = np.zeros((len(recipes), classes, geometry.frames(samples)), np.float32)
    mixtures, events = events_of(recipes)
    first, stop = geometry.frames_overlapping(*event_interval(bank, events, samples))
    for mixture, class_index, begin, end in zip(
        mixtures.tolist(), events.classes.tolist(), first.tolist(), stop.tolist(), strict=True
    ):
        if class_index < classes:
            labels[mixture, class_index, begin:end] = 1
    return labels


def render(
    recipes: Sequence[Recipe],
    indices: Sequence[int],
    bank: SoundBank,
    geometry: Geometry,
    samples: int,
    classes: int,
    with_sources: bool = True,
    with_residual: bool = False,
) -> Batch:
    """Render a batch of scenes.

    Args:
        recipes: one for each mixture, at least one.
        indices: of the mixtures in their split.
        bank: decoded clips with their loudness.
        geometry: whose frames the labels follow.
        samples: length of a mixture.
        classes: number of classes.
        with_sources: whether the isolated sources are kept; the mixture is the same either way.
        with_residual: whether the sum of the events of no class is one of them, the last.

    Returns:
        The batch. Where a class has several events its source is their sum.
    """
    count = len(recipes)
    tracks = np.zeros((count, classes + with_residual if with_sources else 0, samples), np.float32)
    mixture = np.zeros((count, samples), np.float32)
    scaled = np.empty(samples, np.float32)
    begun = set()
    numbers, events = events_of(recipes)
    onsets, offsets = event_interval(bank, events, samples)
    # LUFS is a decibel scale: the gain moves the whole clip's loudness to the one asked for.
    gains = (10 ** ((events.loudness - bank.loudness[events.clips]) / 20)).astype(np.float32)
    variants = events.variants
    if variants is not None:
        gains *= variants.signs.astype(np.float32)
    columns = numbers, events.classes, events.clips, event_starts(bank, events), onsets, offsets, gains
    for place, (number, class_index, clip, start, onset, offset, gain) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        played, length = bank.clip(clip)[start:], offset - onset
        if variants is None:
            played = played[:length]
        else:
            played = play(played, length, variants.speeds[place], variants.tilts[place], bank.sample_rate)
        # Memory traffic is what rendering costs: the first event of a track is written where it belongs, no copy made.
        first = with_sources and (number, class_index) not in begun
        event = tracks[number, class_index, onset:offset] if first else scaled[:length]
        np.multiply(played, gain, out=event)
        mixture[number, onset:offset] += event
        if first:
            begun.add((number, class_index))
        elif with_sources:
            tracks[number, class_index, onset:offset] += event
    frame_labels = torch.from_numpy(render_labels(recipes, bank, geometry, samples, classes))
    return Batch(
        mixture=torch.from_numpy(mixture),
        sources=torch.from_numpy(tracks),
        frame_labels=frame_labels,
        clip_labels=frame_labels.amax(-1),
        indices=torch.tensor(indices, dtype=torch.int64),
    )
