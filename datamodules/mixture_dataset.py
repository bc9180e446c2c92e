"""The mixtures of one split as a torch data set."""

import operator
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules.recipes import Recipes
from datamodules.rendering import render, render_labels
from datamodules.sound_bank import SoundBank
from lightning_modules.batch import Batch
from lightning_modules.spectrogram import Geometry


class MixtureDataset(Dataset[Batch]):
    """The mixtures of one split, rendered on demand: a plain torch data set.

    Torch's loader takes it as it is, shuffled or not, on any number of workers; it is pickled without its samples,
    which each process maps from the sound bank.

    Args:
        recipes: of the split.
        mixtures: number of mixtures.
        bank: decoded clips.
        geometry: of the frame labels.
        samples: length of a mixture.
        classes: number of classes or sources.
        with_sources: whether isolated sources are rendered.
        with_residual: whether events of no class may be in the mixtures; their sum is then the last of the sources.
    """

    def __init__(
        self,
        recipes: Recipes,
        mixtures: int,
        bank: SoundBank,
        geometry: Geometry,
        samples: int,
        classes: int,
        with_sources: bool = True,
        with_residual: bool = False,
    ) -> None:
        self.recipes = recipes
        self.mixtures = mixtures
        self.bank = bank
        self.geometry = geometry
        self.samples = samples
        self.classes = classes
        self.with_sources = with_sources
        self.with_residual = with_residual

    def __len__(self) -> int:
        return self.mixtures

    def __getitem__(self, index: int) -> Batch:
        """One mixture: the batch's fields without their first axis."""
        index = operator.index(index)
        if not 0 <= index < self.mixtures:
            raise IndexError(f"mixture {index} of {self.mixtures}")
        return Batch(*(field[0] for field in self.batch([index])))

    def batch(self, indices: Sequence[int]) -> Batch:
        """Several mixtures, rendered at once."""
        return render(
            [self.recipes(index) for index in indices],
            indices,
            self.bank,
            self.geometry,
            self.samples,
            self.classes,
            self.with_sources,
            self.with_residual,
        )

    def recordings(self, index: int, source: int | None = None) -> list[str]:
        """The different recordings that a mixture is made of, or one of its sources, in the order of its events."""
        recipe = self.recipes(index)
        clips = recipe.clips if source is None else recipe.clips[recipe.classes == source]
        return list(dict.fromkeys(self.bank.clips[clip].recording for clip in clips))

    def active_frames(self, rank: int = 0, ranks: int = 1) -> torch.Tensor:
        """In how many frames each class is active, over one of several equal shares of the mixtures, int64 [C]."""
        active = np.zeros(self.classes)
        indices = range(rank, self.mixtures, ranks)
        for begin in range(0, len(indices), 100):
            recipes = [self.recipes(index) for index in indices[begin : begin + 100]]
            labels = render_labels(recipes, self.bank, self.geometry, self.samples, self.classes)
            active += labels.sum((0, 2), dtype=np.float64)
        return torch.from_numpy(active.astype(np.int64))
