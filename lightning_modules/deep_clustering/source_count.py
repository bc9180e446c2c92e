"""How many sources a mixture holds: a model clusters for several numbers, and the most confident one holds."""

from collections.abc import Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor

from lightning_modules.base_module import SeparatrixModule, require_inherited
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.confidence import Confidence
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import confidences, stacked
from lightning_modules.errors import InputError
from lightning_modules.mixture_mean import MixtureMean
from lightning_modules.setting_checks import MOST_SOURCES, require_whole
from lightning_modules.trained_module import load_module

COUNTS = (2, 3, 4, 5)


class Counted(TypedDict):
    """What a model makes of a batch for each of K numbers of sources, and which number is the most confident."""

    estimates: list[Tensor]  # for a number Q, [B, Q, T]
    confidence: Confidence  # [K, B] each
    count: Tensor  # the number of highest confidence, the lowest of equals, int64, [B]


class SourceCount(SeparatrixModule):
    """Separates every mixture into each of several numbers of sources; the number of highest confidence is picked.

    The confidence S·P of Liu et al. (DCASE 2020) is of any number of clusters: P is 0 where all of them are as near,
    and 1 at most. A deep clustering model may be given another number of clusters than it was trained with.

    Args:
        checkpoint: of a DeepClustering model.
        counts: the numbers of sources to choose from.

    Raises:
        InputError: the checkpoint is none of a DeepClustering model, or a number is impossible.
    """

    permutation_invariant = True
    learns = False

    def __init__(self, checkpoint: str, counts: Sequence[int] = COUNTS) -> None:
        model = load_module(checkpoint, DeepClustering)
        model.require_embeddings(f"checkpoint: {checkpoint}")
        require_inherited(model, DeepClustering, ["forward"], "which a search for the number passes over")
        super().__init__(model.geometry.sample_rate, model.geometry.window, model.geometry.hop)
        if not counts:
            raise InputError("counts: none; give the numbers of sources to choose from")
        for count in counts:
            require_whole(2, MOST_SOURCES, counts=count)
        self.counts = sorted(set(counts))
        # Where the checkpoint lies is no part of what it is.
        self.save_hyperparameters({"counts": self.counts, "model": dict(model.hparams)})
        self.model = model.requires_grad_(False).eval()
        self.right = MixtureMean()

    def signature(self) -> dict[str, Any]:
        """The rate: geometry and number of sources are the model's own."""
        return {"sample_rate": self.geometry.sample_rate}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        most: int = getattr(data, "sources", self.counts[0])
        true = range(getattr(data, "fewest_sources", None) or most, most + 1)
        if missing := set(true) - {*self.counts}:
            raise InputError(f"counts: {self.counts}; mixtures of the data have {min(missing)} sources: add it")

    def separate(self, mixture: Tensor, mixture_ids: Tensor) -> Counted:
        """Separate mixtures, [B, T], into every number of sources, and pick one.

        Args:
            mixture: samples.
            mixture_ids: decide what the confidence draws and where k-means starts, int64, [B].
        """
        embedded, estimates, found = self.model.embed(mixture), [], []
        for count in self.counts:
            separated = self.model.separate(embedded, mixture_ids, mixture.shape[-1], count)
            _, _, confidence, _ = confidences(embedded, separated.centres, mixture_ids)
            estimates.append(separated.estimates)
            found.append(confidence)
        confidence = stacked(found)
        best = confidence.confidence.argmax(0)
        return Counted(
            estimates=estimates, confidence=confidence, count=torch.tensor(self.counts, device=best.device)[best]
        )

    def forward(self, mixture: Tensor, mixture_ids: Tensor | None = None) -> list[Tensor]:
        """The estimates of the picked number of sources, [B, T] -> B times [Q, T], in any order.

        Args:
            mixture: samples.
            mixture_ids: int64, [B]; the same for all unless given.
        """
        if mixture_ids is None:
            mixture_ids = torch.zeros(len(mixture), dtype=torch.int64, device=mixture.device)
        counted = self.separate(mixture, mixture_ids)
        picks = map(self.counts.index, counted["count"].tolist())
        return [counted["estimates"][pick][place] for place, pick in enumerate(picks)]

    def test_step(self, batch: Batch, batch_index: int) -> Counted:
        """The estimates and confidence of every number, for the callbacks."""
        return self.separate(batch.mixture, batch.indices)

    validation_step = test_step

    def log_test_scores(self, outputs: Counted, batch: Batch) -> None:
        """Log the share of mixtures whose number was picked."""
        self.right.update((outputs["count"] == batch.clip_labels.sum(-1)).float())
        self.log("test_count_accuracy", self.right, on_epoch=True, batch_size=len(batch.indices))
