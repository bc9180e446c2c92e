"""Model selection: several trained deep clustering models, one answer per mixture (Liu et al. 2020)."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.confidence import (
    Confidence,
    LoudPoints,
    loud_points,
    mask_clusters,
    measure,
    refit,
)
from lightning_modules.deep_clustering.module import Analysed, DeepClustering, Embedded
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_agreement
from lightning_modules.trained_module import load_module

ConfidenceClusters = Literal["refit", "masks"]


class Selection(TypedDict):
    """What every model makes of a batch, and which of them is trusted.

    Attributes:
        estimates: [M, B, Q, T].
        refit: each model's confidence, its clusters fitted anew, [M, B] each.
        masks: each model's confidence in the clusters of its masks, [M, B] each.
        points: each model's loud points, M of them.
        labels: of the drawn points in the clusters fitted anew, M of them, [B, m].
        trust: in each model, float64, [M, B].
        picked: number of the most trusted model, the first of equals, int64, [B].
    """

    estimates: Tensor
    refit: Confidence
    masks: Confidence
    points: list[LoudPoints]
    labels: list[Tensor]
    trust: Tensor
    picked: Tensor


class Judged(NamedTuple):
    """What one model makes of a batch, and how far it trusts it.

    Attributes:
        estimates: [B, Q, T].
        points: loud points.
        labels: of the drawn points in the clusters fitted anew, [B, m].
        refit: confidence, the clusters fitted anew, [B] each.
        masks: confidence in the clusters of the masks, [B] each.
    """

    estimates: Tensor
    points: LoudPoints
    labels: Tensor
    refit: Confidence
    masks: Confidence


class ModelSelection(SeparatrixModule):
    """Separates every mixture with each model and keeps the output of the one to be trusted most.

    Args:
        checkpoints: of DeepClustering models, any number.
        confidence_clusters: `refit`, clusters fitted anew to the loudest bins, or `masks`, those that made the masks.

    Raises:
        InputError: there are no checkpoints, their models cannot be compared, or a subclass's own `trust` has no name.
    """

    permutation_invariant = True
    learns = False
    # What `trust` returns: a subclass's own is a column of this name in the rows.
    measure = "confidence"

    def __init__(self, checkpoints: Sequence[str], confidence_clusters: ConfidenceClusters = "refit") -> None:
        if not checkpoints:
            raise InputError("checkpoints: none; give those of the models to select from")
        if type(self).trust is not ModelSelection.trust and self.measure == ModelSelection.measure:
            raise InputError(f"{type(self).__name__}: trusts by a measure of its own; name it, `measure = ...`")
        models = [load_module(path, DeepClustering) for path in checkpoints]
        _require_comparable(checkpoints, models)
        first = models[0]
        super().__init__(first.geometry.sample_rate, first.geometry.window, first.geometry.hop)
        # Where the checkpoints lie is no part of what they are.
        self.save_hyperparameters(
            {
                "measure": self.measure,
                "confidence_clusters": confidence_clusters,
                "models": [dict(model.hparams) for model in models],
            }
        )
        self.confidence_clusters: ConfidenceClusters = confidence_clusters
        self.models = nn.ModuleList(models).requires_grad_(False).eval()
        self.sources = first.sources
        self.names = _names(models)

    @property
    def deep_clustering_models(self) -> list[DeepClustering]:
        """The models, by their type."""
        return [model for model in self.models if isinstance(model, DeepClustering)]

    @property
    def classes(self) -> list[str]:
        """Names of the sources, in the order of the truth's."""
        return [f"source_{number}" for number in range(1, self.sources + 1)]

    def identity(self) -> dict[str, Any]:
        """Rate and number of sources: each model has a geometry of its own."""
        return {"sample_rate": self.geometry.sample_rate, "sources": self.sources}

    def trust(self, judged: Judged) -> Tensor:
        """How far one model is to be trusted with each mixture. A subclass may return another measure than confidence.

        Args:
            judged: what the model makes of the mixtures. Its estimates add up to them.

        Returns:
            The higher, the more; NaN is never picked unless all are, [B].
        """
        return (judged.refit if self.confidence_clusters == "refit" else judged.masks).confidence

    def select(self, mixture: Tensor, identity: Tensor) -> Selection:
        """Separate mixtures, [B, T], with every model, and pick.

        Args:
            mixture: samples.
            identity: of each mixture; it decides what the confidence draws and where k-means starts, int64, [B].
        """
        # Models of one geometry, as a rule all of them, hear the same.
        analysed: dict[tuple[Any, ...], Analysed] = {}
        judged = []
        for model in self.deep_clustering_models:
            if model.hearing not in analysed:
                analysed[model.hearing] = model.analyse(mixture)
            judged.append(_judge(model, analysed[model.hearing], identity, mixture.shape[-1]))
        estimates, points, labels, refits, masks = zip(*judged, strict=True)
        trust = torch.stack([self.trust(each).double() for each in judged])
        return Selection(
            estimates=torch.stack(estimates),
            refit=_stacked(refits),
            masks=_stacked(masks),
            points=list(points),
            labels=list(labels),
            trust=trust,
            picked=trust.nan_to_num(nan=-torch.inf).argmax(0),
        )

    def forward(self, mixture: Tensor, identity: Tensor | None = None) -> Tensor:
        """The most confident model's estimates, in any order: [B, T] -> [B, Q, T].

        Args:
            mixture: samples.
            identity: of each mixture, int64, [B]; the same for all unless given. It decides the draws: without it the
                confidence, and the pick between models that are almost as sure, may differ from an evaluation's row.
        """
        if identity is None:
            identity = torch.zeros(len(mixture), dtype=torch.int64, device=mixture.device)
        selection = self.select(mixture, identity)
        return selection["estimates"][selection["picked"], torch.arange(len(mixture), device=mixture.device)]

    def test_step(self, batch: Batch, batch_index: int) -> Selection:
        """Every model's estimates and confidence, for the callbacks."""
        return self.select(batch.mixture, batch.indices)

    validation_step = test_step

    def log_test_scores(self, outputs: Selection, batch: Batch) -> None:
        """Log the scores of what was picked."""
        mixtures = torch.arange(len(batch.indices), device=self.device)
        super().log_test_scores(outputs["estimates"][outputs["picked"], mixtures], batch)

    def predict_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The picked estimates, [B, Q, T]."""
        return self(batch.mixture, batch.indices)


def _judge(model: DeepClustering, analysed: Analysed, identity: Tensor, samples: int) -> Judged:
    """Separate mixtures with one model, of whose embedding, by far the largest, nothing but the points stays."""
    embedded = model.embed_analysed(analysed)
    separated = model.separate(embedded, identity, samples)
    return Judged(separated.estimates, *confidences(model, embedded, separated.centres, identity))


def confidences(
    model: DeepClustering, embedded: Embedded, centres: Tensor, identity: Tensor
) -> tuple[LoudPoints, Tensor, Confidence, Confidence]:
    """A model's loud points, their labels and its two confidences, as `Judged` has them.

    Args:
        model: that has embedded the mixtures.
        embedded: B mixtures; their spectrum does not matter.
        centres: of the clusters that make the masks, [B, Q, D].
        identity: of each mixture, which decides what is drawn, int64, [B].
    """
    with torch.autocast(identity.device.type, enabled=False):
        points = loud_points(embedded.embedding, embedded.magnitude, identity, among=embedded.loudest)
        anew = refit(points, identity, model.sources)
        of_masks = measure(points, mask_clusters(points, centres))
        return points, anew.labels, measure(points, anew), of_masks


def _require_comparable(checkpoints: Sequence[str], models: Sequence[DeepClustering]) -> None:
    """Refuse models whose estimates are not of the same kind.

    Raises:
        InputError: they differ in sample rate, number of sources or activation (distances, and so confidences, are of
            another size without unit norm); the message names both checkpoints.
    """

    def kind(model: DeepClustering) -> dict[str, Any]:
        rate = model.geometry.sample_rate
        return {"sample_rate": rate, "sources": model.sources, "activation": model.activation}

    for checkpoint, model in zip(checkpoints[1:], models[1:], strict=True):
        require_agreement(kind(models[0]), kind(model), checkpoint, by=checkpoints[0])


def _names(models: Sequence[DeepClustering]) -> list[str]:
    """Their domains; the second model of a domain is `DOMAIN-2`."""
    names: list[str] = []
    for model in models:
        numbered = (f"{model.domain}-{number}" for number in itertools.count(2))
        names.append(next(name for name in itertools.chain([model.domain], numbered) if name not in names))
    return names


def _stacked(confidences: Sequence[Confidence]) -> Confidence:
    return Confidence(*(torch.stack(measure) for measure in zip(*confidences, strict=True)))
