"""How far down a hierarchy of classes each mixture is labelled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nan

from datamodules.recipes import generator_for
from lightning_modules.batch import Split
from lightning_modules.class_tree import ClassTree


@dataclass(frozen=True)
class LabelLevels:
    """From the classes' labels to those of all nodes of a tree: NaN below the level that a mixture is labelled to.

    Args:
        tree: of the classes.
        shares: of the mixtures that are labelled to each depth, from the top on, adding up to 1. Test mixtures are all
            labelled to the lowest, for their scores.
        seed: of the data set.
        split: its part.
    """

    tree: ClassTree
    shares: Sequence[float]
    seed: int
    split: Split

    def __call__(self, labels: Tensor, indices: Sequence[int]) -> Tensor:
        """Labels of classes, [B, C, F], of these mixtures to those of nodes, [B, N, F]."""
        labels = self.tree.sums(labels).clamp(max=1)
        for place, index in enumerate(indices if self.split != "test" else ()):
            chance = generator_for(self.seed, self.split, "labels", index).random()
            level = np.searchsorted(np.cumsum(self.shares[:-1]), chance, side="right")
            labels[place, self.tree.depths > level] = nan
        return labels
