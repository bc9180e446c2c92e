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
    refit,
    score_clusters,
)
from lightning_modules.deep_clustering.module import Analysed, DeepClustering, Embedded
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_agreement
from lightning_modules.trained_module import load_module

ConfidenceClusters = Literal["refit", "masks"]


class Selection(TypedDict):
    """What every model makes of a batch, and which of them is picked."""

    estimates: Tensor  # [M, B, Q, T]
    refit: Confidence  # each model's confidence, its clusters fitted anew, [M, B] each
    masks: Confidence  # each model's confidence in the clusters of its masks, [M, B] each
    points: list[LoudPoints]  # each model's, M of them
    labels: list[Tensor]  # of the drawn points in the clusters fitted anew, M of them, [B, m]
    scores: Tensor  # each model's selection score, float64, [M, B]
    picked: Tensor  # number of the model with the highest score, the first of equals, int64, [B]


class ModelOutput(NamedTuple):
    """What one model makes of a batch.

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
    """Separates every mixture with each model and keeps the output of the one with the highest selection score.

    Args:
        checkpoints: of DeepClustering models, any number.
        confidence_clusters: `refit`, clusters fitted anew to the loudest bins, or `masks`, those that made the masks.

    Raises:
        InputError: there are no checkpoints, their models cannot be compared, or a subclass's own score has no name.
    """

    permutation_invariant = True
    learns = False
    # What `selection_score` returns: a subclass's own is a column of this name in the rows.
    score_name = "confidence"

    def __init__(self, checkpoints: Sequence[str], confidence_clusters: ConfidenceClusters = "refit") -> None:
        if not checkpoints:
            raise InputError("checkpoints: none; give those of the models to select from")
        own = type(self).selection_score is not ModelSelection.selection_score
        if own and self.score_name == ModelSelection.score_name:
            raise InputError(f"{type(self).__name__}: has a selection score of its own; name it, `score_name = ...`")
        models = [load_module(path, DeepClustering) for path in checkpoints]
        _require_comparable(checkpoints, models)
        first = models[0]
        super().__init__(first.geometry.sample_rate, first.geometry.window, first.geometry.hop)
        # Where the checkpoints lie is no part of what they are.
        self.save_hyperparameters(
            {
                "score_name": self.score_name,
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

    def signature(self) -> dict[str, Any]:
        """Rate and number of sources: each model has a geometry of its own."""
        return {"sample_rate": self.geometry.sample_rate, "sources": self.sources}

    def selection_score(self, output: ModelOutput) -> Tensor:
        """The selection score of one model for each mixture: its confidence. A subclass may return another.

        Args:
            output: what the model makes of the mixtures. Its estimates add up to them.

        Returns:
            The higher, the more; NaN is never picked unless all are, [B].
        """
        return (output.refit if self.confidence_clusters == "refit" else output.masks).confidence

    def select(self, mixture: Tensor, mixture_ids: Tensor) -> Selection:
        """Separate mixtures, [B, T], with every model, and pick.

        Args:
            mixture: samples.
            mixture_ids: decide what the confidence draws and where k-means starts, int64, [B].
        """
        # Models of one geometry, as a rule all of them, analyse a mixture alike.
        analysed: dict[tuple[Any, ...], Analysed] = {}
        outputs = []
        for model in self.deep_clustering_models:
            if model.input_settings not in analysed:
                analysed[model.input_settings] = model.analyse(mixture)
            outputs.append(_output(model, analysed[model.input_settings], mixture_ids, mixture.shape[-1]))
        estimates, points, labels, refits, masks = zip(*outputs, strict=True)
        scores = torch.stack([self.selection_score(each).double() for each in outputs])
        return Selection(
            estimates=torch.stack(estimates),
            refit=stacked(refits),
            masks=stacked(masks),
            points=list(points),
            labels=list(labels),
            scores=scores,
            picked=scores.nan_to_num(nan=-torch.inf).argmax(0),
        )

    def forward(self, mixture: Tensor, mixture_ids: Tensor | None = None) -> Tensor:
        """The most confident model's estimates, in any order: [B, T] -> [B, Q, T].

        Args:
            mixture: samples.
            mixture_ids: int64, [B]; the same for all unless given. They decide the draws: without them the confidence,
                and the pick between models that are almost as sure, may differ from an evaluation's row.
        """
        if mixture_ids is None:
            mixture_ids = torch.zeros(len(mixture), dtype=torch.int64, device=mixture.device)
        return _picked(self.select(mixture, mixture_ids))

    def test_step(self, batch: Batch, batch_index: int) -> Selection:
        """Every model's estimates and confidence, for the callbacks."""
        return self.select(batch.mixture, batch.indices)

    validation_step = test_step

    def log_test_scores(self, outputs: Selection, batch: Batch) -> None:
        super().log_test_scores(_picked(outputs), batch)

    def predict_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The picked estimates, [B, Q, T]."""
        return self(batch.mixture, batch.indices)


def _picked(selection: Selection) -> Tensor:
    picked = selection["picked"]
    return selection["estimates"][picked, torch.arange(len(picked), device=picked.device)]


def _output(model: DeepClustering, analysed: Analysed, mixture_ids: Tensor, samples: int) -> ModelOutput:
    """Separate mixtures with one model, of whose embedding, by far the largest, nothing but the points stays."""
    embedded = model.embed_analysed(analysed)
    separated = model.separate(embedded, mixture_ids, samples)
    return ModelOutput(separated.estimates, *confidences(embedded, separated.centres, mixture_ids))


def confidences(
    embedded: Embedded, centres: Tensor, mixture_ids: Tensor
) -> tuple[LoudPoints, Tensor, Confidence, Confidence]:
    """A model's loud points, their labels and its two confidences, as `ModelOutput` has them.

    Of mixtures that the model has embedded, whose spectrum does not matter; `centres` are of the masks, [B, Q, D].
    """
    with torch.autocast(mixture_ids.device.type, enabled=False):
        points = loud_points(embedded.embedding, embedded.magnitude, mixture_ids, among=embedded.loudest)
        anew = refit(points, mixture_ids, centres.shape[1])
        of_masks = score_clusters(points, mask_clusters(points, centres))
        return points, anew.labels, score_clusters(points, anew), of_masks


def _require_comparable(checkpoints: Sequence[str], models: Sequence[DeepClustering]) -> None:
    """Refuse models of another rate, number of sources or activation (without unit norm confidences differ in size)."""

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


def stacked(confidences: Sequence[Confidence]) -> Confidence:
    """Confidences of several separations, [B] each, as one, [M, B]."""
    return Confidence(*(torch.stack(values) for values in zip(*confidences, strict=True)))
