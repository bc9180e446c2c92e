"""The most confident deep clustering model of a recording, whose clusters are the whole recording's."""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.deep_clustering.clustering import loudest
from lightning_modules.deep_clustering.confidence import Confidence
from lightning_modules.deep_clustering.level_features import LevelStatistics
from lightning_modules.deep_clustering.module import DeepClustering, Embedded
from lightning_modules.deep_clustering.selection import ModelSelection, confidences
from lightning_modules.recordings.recording import Recording


class Judgement(NamedTuple):
    """What the models say of a recording, or of one segment of it.

    Attributes:
        start: in seconds.
        stop: in seconds.
        confidences: in each model's separation, by the model's name.
        picked: name of the model whose sources are taken.
    """

    start: float
    stop: float
    confidences: dict[str, Confidence]
    picked: str


class Clustered(NamedTuple):
    """A model's clusters of a recording.

    Attributes:
        model: that they are of.
        statistics: of the recording, which normalise the model's features.
        centres: [1, Q, D].
        confidence: in them.
    """

    model: DeepClustering
    statistics: LevelStatistics
    centres: Tensor
    confidence: Confidence

    def masks(self, magnitude: Tensor) -> Tensor:
        """Masks of a window, [1, Q, bins, F], from its magnitude, [1, bins, F]."""
        embedding = self.model.embedding(self.model.input_features(magnitude, self.statistics))
        return self.model.masks(embedding, self.centres)


def select(selection: ModelSelection, recording: Recording) -> tuple[Judgement, Clustered]:
    """What the models say of a recording, and the most confident one's clusters.

    The whole recording is the mixture: frames drawn from all of its windows are embedded window by window, and then
    clustered at once. Those of a recording of one window are all its frames: it is separated as `ModelSelection` does.
    """
    models = selection.deep_clustering_models
    drawn = {geometry: recording.drawn_magnitude(geometry) for geometry in {model.geometry for model in models}}
    found = [_cluster(selection, model, recording, drawn[model.geometry]) for model in models]
    # The first of equals, as in ModelSelection.
    picked = max(range(len(models)), key=lambda number: float(found[number].confidence.confidence))
    plain = [Confidence(*(measure.cpu() for measure in clustered.confidence)) for clustered in found]
    start, stop = recording.windows[0].start / recording.rate, recording.windows[-1].stop / recording.rate
    by_name = dict(zip(selection.names, plain, strict=True))
    return Judgement(start, stop, by_name, selection.names[picked]), found[picked]


def _cluster(selection: ModelSelection, model: DeepClustering, recording: Recording, magnitude: Tensor) -> Clustered:
    """The clusters of the frames that stand for all, of their magnitude, [1, bins, F]."""
    statistics, frames = model.input_statistics(magnitude), []
    for spectrogram in recording.spectrograms(model.geometry, share=1 / (1 + len(selection.models))):
        embedding = model.embedding(model.input_features(spectrogram.magnitude, statistics))
        frames.append(embedding.unflatten(1, (-1, model.geometry.bins))[:, spectrogram.drawn])
    levels = magnitude.mT.flatten(1)
    embedded = Embedded(magnitude, levels, loudest(levels, model.clustered_share), torch.cat(frames, 1).flatten(1, 2))
    identity = torch.zeros(1, dtype=torch.int64, device=magnitude.device)
    centres = model.cluster(embedded, identity)
    *_, refit, masks = confidences(model, embedded, centres, identity)
    return Clustered(model, statistics, centres, refit if selection.confidence_clusters == "refit" else masks)
