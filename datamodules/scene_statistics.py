"""Statistics of scenes, from recipes and clip lengths alone: no audio is looked at."""

from collections.abc import Iterable
from itertools import islice
from math import comb
from typing import NamedTuple

import numpy as np

from datamodules.recipes import Recipe
from datamodules.rendering import render_labels
from datamodules.sound_bank import SoundBank
from lightning_modules.spectrogram import Geometry


class SceneStatistics(NamedTuple):
    """Shares over mixtures or over frames, all float64.

    Attributes:
        mixtures: number of mixtures they are of.
        distinct: share of mixtures with 1..C distinct classes, [C].
        active: share of frames with 0..C active classes, [C + 1].
        prior: share of frames in which each class is active, [C].
    """

    mixtures: int
    distinct: np.ndarray
    active: np.ndarray
    prior: np.ndarray


def scene_statistics(
    recipes: Iterable[Recipe], bank: SoundBank, geometry: Geometry, samples: int, classes: int
) -> SceneStatistics:
    """Statistics of these mixtures, counted exactly.

    Args:
        recipes: of the mixtures, at least one; taken a few at a time.
        bank: whose clip lengths count.
        geometry: whose frames are counted.
        samples: length of a mixture.
        classes: number of classes, C.
    """
    distinct, active, prior = np.zeros(classes + 1), np.zeros(classes + 1), np.zeros(classes)
    remaining = iter(recipes)
    while some := list(islice(remaining, 500)):
        labels = render_labels(some, bank, geometry, samples, classes)
        distinct += np.bincount(labels.any(-1).sum(-1), minlength=classes + 1)
        active += np.bincount(labels.sum(1).astype(int).ravel(), minlength=classes + 1)
        prior += labels.sum((0, 2))
    mixtures, frames = int(distinct.sum()), active.sum()
    return SceneStatistics(mixtures, distinct[1:] / mixtures, active / frames, prior / frames)


def distinct_classes_law(classes: int, event_rate: float) -> np.ndarray:
    """Probability of 1..C distinct classes in a scene, [C].

    The events of a Poisson number that fall on one of C equally likely classes are Poisson too, and independent between
    classes: each class is there with probability 1 - exp(-rate / C). Scenes without any event do not count.
    """
    present = -np.expm1(-event_rate / classes)
    binomial = [comb(classes, n) * present**n * (1 - present) ** (classes - n) for n in range(1, classes + 1)]
    return np.array(binomial) / -np.expm1(-event_rate)
