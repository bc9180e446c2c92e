"""The mixtures of one split as a torch data set."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Dataset

from datamodules.label_levels import LabelLevels
from datamodules.recipes import Recipes
from datamodules.rendering import render, render_labels
from datamodules.sound_bank import SoundBank
from lightning_modules.batch import Batch
from lightning_modules.spectrogram import Geometry


@dataclass(eq=False, repr=False)
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
        levels: what the labels of a hierarchy's nodes are, and how many nodes; those of the classes unless given.
    """

    recipes: Recipes
    mixtures: int
    bank: SoundBank
    geometry: Geometry
    samples: int
    classes: int
    with_sources: bool = True
    with_residual: bool = False
    levels: LabelLevels | None = None

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
        recipes, sources = [self.recipes(index) for index in indices], (self.with_sources, self.with_residual)
        batch = render(recipes, indices, self.bank, self.geometry, self.samples, self.classes, *sources)
        if self.levels is None:
            return batch
        # At every pass through augmented mixtures the same of them are labelled to a level.
        labels = self.levels(batch.frame_labels, [index % self.mixtures for index in indices])
        return batch._replace(frame_labels=labels, clip_labels=labels.amax(-1))

    def recordings(self, index: int, source: int | None = None) -> list[str]:
        """The different recordings that a mixture is made of, or one of its sources, in the order of its events."""
        recipe = self.recipes(index)
        clips = recipe.clips if source is None else recipe.clips[recipe.classes == source]
        return list(dict.fromkeys(self.bank.clips[clip].recording for clip in clips))

    def active_frames(self, rank: int = 0, ranks: int = 1) -> torch.Tensor:
        """In how many frames each class, or node, is active, and in how many that is known, int64 [2, C].

        Counted over one of several equal shares of the mixtures.
        """
        counts = torch.zeros(2, self.classes if self.levels is None else len(self.levels.tree.names), dtype=torch.int64)
        indices = range(rank, self.mixtures, ranks)
        for begin in range(0, len(indices), 100):
            chosen = indices[begin : begin + 100]
            recipes = [self.recipes(index) for index in chosen]
            labels = torch.from_numpy(render_labels(recipes, self.bank, self.geometry, self.samples, self.classes))
            labels = labels if self.levels is None else self.levels(labels, chosen)
            counts += torch.stack(((labels == 1).sum((0, 2)), (~labels.isnan()).sum((0, 2))))
        return counts
