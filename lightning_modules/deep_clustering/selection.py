"""Model selection: several trained separators, one answer per mixture (Liu et al. 2020)."""

import hashlib
import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from lightning_modules.base_module import SeparatrixModule, require_inherited
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
from lightning_modules.exported_model import weights_digest
from lightning_modules.run_files import RunFiles, evaluated_weights
from lightning_modules.scores.expected_si_sdr import ExpectedSiSdr
from lightning_modules.scores.selection_rows import SIGNAL_FEATURES, read_evaluated
from lightning_modules.separation_scores import require_estimates
from lightning_modules.setting_checks import require_agreement
from lightning_modules.signal_features import signal_features
from lightning_modules.trained_module import load_module, path_list

ConfidenceClusters = Literal["refit", "masks"]


class Selection(TypedDict):
    """What every model makes of a batch, and which of them is picked."""

    estimates: Tensor  # [M, B, Q, T]
    refit: Confidence  # each model's confidence, its clusters fitted anew, [M, B] each; NaN without embeddings
    masks: Confidence  # each model's confidence in the clusters of its masks, [M, B] each; NaN without embeddings
    points: list[LoudPoints | None]  # each model's, M of them; none without embeddings
    labels: list[Tensor | None]  # of the drawn points in the clusters fitted anew, M of them, [B, m]
    features: Tensor | None  # SIGNAL_FEATURES of each model's estimates, float64, [M, B, K]; only where asked for
    scores: Tensor  # each model's selection score, float64, [M, B]
    picked: Tensor  # number of the model with the highest score, the first of equals, int64, [B]


class ModelOutput(NamedTuple):
    """What one model makes of a batch.

    Attributes:
        estimates: [B, Q, T].
        points: loud points; none of a model without embeddings.
        labels: of the drawn points in the clusters fitted anew, [B, m]; none of a model without embeddings.
        refit: confidence, the clusters fitted anew, [B] each; NaN without embeddings.
        masks: confidence in the clusters of the masks, [B] each; NaN without embeddings.
        model: its name.
        features: SIGNAL_FEATURES, float64, [B, K]; none unless the selection has them.
    """

    estimates: Tensor
    points: LoudPoints | None
    labels: Tensor | None
    refit: Confidence
    masks: Confidence
    model: str = ""
    features: Tensor | None = None


class ModelSelection(SeparatrixModule):
    """Separates every mixture with each model and keeps the output of the one with the highest selection score.

    A model without embeddings, a separator of any other class, has no confidence: by confidence it is picked only where
    no other has any. `signal_features` are of all models. Confidences of models with different heads lie on different
    scales: a warning says so, and of an evaluation's rows only the calibrated ones compare them.

    Args:
        checkpoints: of DeepClustering models, or of any separators of as many sources, any number.
        confidence_clusters: `refit`, clusters fitted anew to the loudest bins, or `masks`, those that made the masks.
        signal_features: whether rows of evaluations have features of mixture and estimates.

    Raises:
        InputError: there are no checkpoints, their models cannot be compared, or a subclass's own score has no name.
    """

    permutation_invariant = True
    learns = False
    # What `selection_score` returns: a subclass's own is a column of this name in the rows.
    score_name = "confidence"

    def __init__(
        self,
        checkpoints: Sequence[str],
        confidence_clusters: ConfidenceClusters = "refit",
        signal_features: bool = False,
    ) -> None:
        checkpoints = path_list("checkpoints", checkpoints)
        if not checkpoints:
            raise InputError("checkpoints: none; give those of the models to select from")
        own = type(self).selection_score is not ModelSelection.selection_score
        if own and self.score_name == ModelSelection.score_name:
            raise InputError(f"{type(self).__name__}: has a selection score of its own; name it, `score_name = ...`")
        models = [_separator(path) for path in checkpoints]
        _require_comparable(checkpoints, models)
        heads = dict.fromkeys(model.head for model in models if isinstance(model, DeepClustering))
        if not own and len(heads) > 1:
            told = "their confidences lie on different scales, and compare only calibrated"
            different = f"{type(self).__name__}: models of different heads ({', '.join(heads)})"
            warnings.warn(f"{different}; {told}", stacklevel=2)
        first = models[0]
        super().__init__(first.geometry.sample_rate, first.geometry.window, first.geometry.hop)
        # Where the checkpoints lie is no part of what they are.
        settings = {
            "score_name": self.score_name,
            "confidence_clusters": confidence_clusters,
            "models": [dict(model.hparams) for model in models],
        }
        self.save_hyperparameters(settings | ({"signal_features": True} if signal_features else {}))
        self.confidence_clusters: ConfidenceClusters = confidence_clusters
        self.signal_features = signal_features
        self.models = nn.ModuleList(models).requires_grad_(False).eval()
        self.sources = _sources(first)
        self.names = _names(models)

    @property
    def deep_clustering_models(self) -> list[DeepClustering]:
        """Those of the models that have embeddings, by their type."""
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
            output: what the model makes of the mixtures. A deep clustering model's estimates add up to them.

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
        for name, model in zip(self.names, self.models, strict=True):
            if isinstance(model, DeepClustering):
                if model.input_settings not in analysed:
                    analysed[model.input_settings] = model.analyse(mixture)
                output = _output(model, analysed[model.input_settings], mixture_ids, mixture.shape[-1])
            else:
                output = _without_confidence(name, model(mixture), mixture, self.sources)
            features = signal_features(mixture, output.estimates, self.geometry) if self.signal_features else None
            outputs.append(output._replace(model=name, features=features))
        estimates, points, labels, refits, masks, _, features_of_models = zip(*outputs, strict=True)
        scores = torch.stack([self.selection_score(each).double() for each in outputs])
        return Selection(
            estimates=torch.stack(estimates),
            refit=stacked(refits),
            masks=stacked(masks),
            points=list(points),
            labels=list(labels),
            features=torch.stack(features_of_models) if self.signal_features else None,
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
        return picked_estimates(self.select(mixture, mixture_ids))

    def test_step(self, batch: Batch, batch_index: int) -> Selection:
        """Every model's estimates and confidence, for the callbacks."""
        return self.select(batch.mixture, batch.indices)

    validation_step = test_step

    def log_test_scores(self, outputs: Selection, batch: Batch) -> None:
        super().log_test_scores(picked_estimates(outputs), batch)

    def predict_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The picked estimates, [B, Q, T]."""
        return self(batch.mixture, batch.indices)


class LearntSelection(ModelSelection):
    """Picks the model of highest SI-SDR as the signals let expect it, learnt from validation mixtures.

    It needs neither embeddings nor a true source: any separators can be selected from.

    Args:
        checkpoints: of any separators of as many sources.
        validation_scores: rows of validations with the same models, of all domains, by a ModelSelection that has
            `signal_features`.

    Raises:
        InputError: as of ModelSelection, or the rows lack the features or a model.
    """

    score_name = "expected_si_sdr_db"

    def __init__(self, checkpoints: Sequence[str], validation_scores: Sequence[str]) -> None:
        super().__init__(checkpoints, signal_features=True)
        paths = [Path(path) for path in path_list("validation_scores", validation_scores)]
        if not paths:
            raise InputError("validation_scores: none; give the rows of a validation with these models")
        validation = read_evaluated(paths)
        if not validation.scores.keys() >= {*SIGNAL_FEATURES}:
            raise InputError(f"{paths[0]}: rows without features; validate with --model.signal_features true")
        for path in paths:
            validated = evaluated_weights(RunFiles(path.parent).validated)
            if validated not in (None, weights_digest(self.state_dict())):
                raise InputError(f"{path}: rows of other models, or in another order; validate these in their order")
        rows = b"".join(path.read_bytes() for path in paths)
        self.save_hyperparameters(dict(self.hparams) | {"learnt_from": hashlib.sha256(rows).hexdigest()})
        self._learnt = ExpectedSiSdr.fit(validation, SIGNAL_FEATURES)
        if missing := [name for name in self.names if name not in self._learnt.forests]:
            raise InputError(f"{paths[0]}: no rows of the {missing[0]} model to learn from; validate all the models")

    def selection_score(self, output: ModelOutput) -> Tensor:
        """Expected SI-SDR in dB, [B]."""
        features: Any = output.features  # always there
        expected = self._learnt.of_model(output.model, features.cpu().numpy())
        return torch.from_numpy(expected).to(features)


def picked_estimates(selection: Selection) -> Tensor:
    """Those of the model that is picked for each mixture, [B, Q, T]."""
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


def _without_confidence(model: str, estimates: Tensor, mixture: Tensor, sources: int) -> ModelOutput:
    """What a model without embeddings makes of mixtures, [B, Q, T]."""
    require_estimates(model, estimates, mixture, sources)
    unknown = Confidence(*[estimates.new_full((len(estimates),), torch.nan, dtype=torch.float64)] * 4)
    return ModelOutput(estimates.float(), None, None, unknown, unknown)


def _separator(checkpoint: str) -> SeparatrixModule:
    """The model of a checkpoint; InputError where it makes no estimates."""
    model: SeparatrixModule = load_module(checkpoint, SeparatrixModule)
    if isinstance(model, DeepClustering):
        require_inherited(model, DeepClustering, ("forward", "embed"), "which a selection passes over")
    if model.separates and not _sources(model):
        raise InputError(f"{checkpoint}: a {type(model).__name__} has no `classes`, names of the sources; give it some")
    if not model.separates:
        raise InputError(
            f"{checkpoint}: a checkpoint of {type(model).__name__}, which makes no estimates; leave it out"
        )
    return model


def _sources(model: SeparatrixModule) -> int:
    return len(getattr(model, "classes", ()))


def _require_comparable(checkpoints: Sequence[str], models: Sequence[SeparatrixModule]) -> None:
    """Refuse models of another rate, number of sources or activation (without unit norm confidences differ in size)."""
    known: dict[str, tuple[Any, str]] = {}  # of each setting the first model's value, and that model
    for checkpoint, model in zip(checkpoints, models, strict=True):
        kind: dict[str, Any] = {"sample_rate": model.geometry.sample_rate, "sources": _sources(model)}
        kind |= {"activation": model.activation} if isinstance(model, DeepClustering) else {}
        for name, value in kind.items():
            first, by = known.setdefault(name, (value, checkpoint))
            require_agreement({name: first}, {name: value}, checkpoint, by=by)


def _names(models: Sequence[SeparatrixModule]) -> list[str]:
    """Their domains, or else classes; the second model of a domain is `DOMAIN-2`."""
    names: list[str] = []
    for model in models:
        base = str(getattr(model, "domain", type(model).__name__))
        numbered = (f"{base}-{number}" for number in itertools.count(2))
        names.append(next(name for name in itertools.chain([base], numbered) if name not in names))
    return names


def stacked(confidences: Sequence[Confidence]) -> Confidence:
    """Confidences of several separations, [B] each, as one, [M, B]."""
    return Confidence(*(torch.stack(values) for values in zip(*confidences, strict=True)))
