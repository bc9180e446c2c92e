"""The most confident deep clustering model of a recording, whose clusters are the whole recording's."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.deep_clustering.clustering import loudest
from lightning_modules.deep_clustering.confidence import Confidence
from lightning_modules.deep_clustering.module import DeepClustering, Embedded
from lightning_modules.deep_clustering.selection import ModelSelection, confidences
from lightning_modules.recordings.recording import Masks, Recording


class SelectedModel(NamedTuple):
    """The confidences of all models in a recording, or in one segment of it, and the model that is picked."""

    start: float  # in seconds
    stop: float
    confidences: dict[str, Confidence]  # in each model's separation, by the model's name; none in silence
    picked: str | None  # none in silence


def select(
    selection: ModelSelection, recording: Recording, counts: Sequence[int] | None
) -> tuple[SelectedModel, DeepClustering, Masks]:
    """What the models say of a recording, the most confident one, and its masks of any window.

    The whole recording is the mixture: frames drawn from all of its windows are embedded window by window, and then
    clustered at once. Those of a recording of one window are all its frames: it is separated as `ModelSelection` does.
    Of several `counts`, numbers of sources, each is tried with every model; without any a model separates into its own.
    """
    models = selection.deep_clustering_models
    start, stop = recording.windows[0].start / recording.rate, recording.windows[-1].stop / recording.rate
    if recording.silent:
        nothing, sources = SelectedModel(start, stop, {}, None), counts[0] if counts else selection.sources
        return nothing, models[0], lambda part: part.unsqueeze(1).expand(-1, sources, -1, -1)
    drawn = {geometry: recording.drawn_magnitude(geometry) for geometry in {model.geometry for model in models}}
    found = {
        f"{name}, {count} sources" if counts and len(counts) > 1 else name: (confidence, model, masks)
        for name, model in zip(selection.names, models, strict=True)
        for count, confidence, masks in _cluster(selection, model, recording, drawn[model.geometry], counts or [None])
    }
    # The first of equals, as in ModelSelection.
    picked = max(found, key=lambda name: float(found[name][0].confidence))
    confidences = {name: confidence for name, (confidence, _, _) in found.items()}
    return SelectedModel(start, stop, confidences, picked), *found[picked][1:]


def _cluster(
    selection: ModelSelection,
    model: DeepClustering,
    recording: Recording,
    magnitude: Tensor,
    counts: Sequence[int | None],
) -> Iterator[tuple[int | None, Confidence, Masks]]:
    """Clusters of the frames that stand for all, from their magnitude, [1, bins, F], for each number of sources."""
    statistics, frames = model.input_statistics(magnitude), []

    def heads(part: Tensor) -> tuple[Tensor, Tensor | None]:
        return model.heads(model.input_features(part, statistics))

    for spectrogram in recording.spectrograms(model.geometry, share=1 / (1 + len(selection.models))):
        embedding = heads(spectrogram.magnitude)[0].unflatten(1, (-1, model.geometry.bins))
        frames.append(embedding[:, spectrogram.drawn].clone())  # a view would keep the rest, too
    bins = magnitude.mT.flatten(1)
    embedded = Embedded(magnitude, bins, loudest(bins, model.clustered_share), torch.cat(frames, 1).flatten(1, 2))
    mixture_id = torch.zeros(1, dtype=torch.int64, device=magnitude.device)
    for count in counts:
        centres = model.cluster(embedded, mixture_id, count)
        *_, refit, of_masks = confidences(embedded, centres, mixture_id)
        confidence = refit if selection.confidence_clusters == "refit" else of_masks

        def masks(part: Tensor, count: int | None = count, centres: Tensor = centres) -> Tensor:
            embedding, of_head = heads(part)
            return model.masks(embedding, centres, of_head if count is None else None)

        yield count, Confidence(*(value.cpu() for value in confidence)), masks
