"""Deep clustering models on a recording: the most confident one is picked, its clusters are the whole recording's."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_modules.deep_clustering.clustering import loudest, points_at, soft_masks
from lightning_modules.deep_clustering.confidence import Confidence, draw_points, mask_clusters, measure, refit
from lightning_modules.deep_clustering.k_means import k_means
from lightning_modules.deep_clustering.level_features import LevelStatistics, level, level_features
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.recordings.analysis import Spectrogram, hear, mask
from lightning_modules.recordings.running_moments import RunningMoments
from lightning_modules.recordings.windows import Excerpt, Window, WindowedRecording

# In a longer recording (40 s at the published hop) so many frames, evenly chosen, stand for all of them, in clusters
# and confidences: memory does not grow.
MOST_FRAMES = 5000
CONFIDENT_SHARE = 0.01  # of the bins, the loudest: what a confidence looks at


class Sampled(NamedTuple):
    """What models of one `hearing` know of a recording before they hear it.

    Attributes:
        frames: of the recording.
        magnitude: in the frames that stand for all, frame after frame, [1, N].
        statistics: for the features; None for a single window, which is normalised by itself.
    """

    frames: int
    magnitude: Tensor
    statistics: LevelStatistics | None


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


class Judged(NamedTuple):
    """What one model makes of a recording.

    Attributes:
        centres: of its clusters, float64, [1, Q, D].
        confidence: in them.
    """

    centres: Tensor
    confidence: Confidence


class Clustering:
    """The sources of the most confident model, in the same clusters from the first window to the last.

    The whole recording is the mixture: its loudest bin and its levels normalise the features, its loudest bins are
    clustered, and the confidence is in these. A recording of one window is separated as `ModelSelection` does it.

    Args:
        selection: of the models, one or several.
        recording: read several times.
        heard: is called with every window that a network has heard: by each model, then by the picked one again.
    """

    def __init__(
        self, selection: ModelSelection, recording: WindowedRecording, heard: Callable[[Window], None]
    ) -> None:
        self._names = selection.names
        self._recording = recording
        self._heard = heard
        models = selection.deep_clustering_models
        sampled = {model.hearing: _sample(model, recording) for model in models}
        judged = [self._judge(selection, model, sampled[model.hearing]) for model in models]
        self._confidences = [one.confidence for one in judged]
        # The first of equals, as ModelSelection picks.
        self._picked = max(range(len(models)), key=lambda number: float(judged[number].confidence.confidence))
        self._model, self._centres = models[self._picked], judged[self._picked].centres
        self._statistics = sampled[self._model.hearing].statistics

    def judgement(self, start: float, stop: float) -> Judgement:
        """The confidences, of what lies between these seconds."""
        plain = [Confidence(*(measure.cpu() for measure in one)) for one in self._confidences]
        return Judgement(start, stop, dict(zip(self._names, plain, strict=True)), self._names[self._picked])

    def estimates(self, excerpt: Excerpt) -> Tensor:
        """The sources in a window, [Q, channels, n]."""
        model, spectrogram = self._model, hear(excerpt, self._model.geometry)
        embedding = self._embed(model, spectrogram, self._statistics)
        (masks,) = soft_masks(embedding, self._centres, model.mask_sharpness)
        self._heard(excerpt.window)
        return mask(masks.unflatten(-1, (-1, model.geometry.bins)).mT, spectrogram, model.geometry)

    @staticmethod
    def _embed(model: DeepClustering, spectrogram: Spectrogram, statistics: LevelStatistics | None) -> Tensor:
        """Of all bins of a window, frame after frame, [1, N, D]."""
        return model.embedding(level_features(spectrogram.magnitude, model.input_floor, model.floor_db, statistics))

    def _judge(self, selection: ModelSelection, model: DeepClustering, sampled: Sampled) -> Judged:
        identity = torch.zeros(1, dtype=torch.int64, device=sampled.magnitude.device)
        bins = loudest(sampled.magnitude, max(model.clustered_share, CONFIDENT_SHARE))
        points = self._points(model, sampled, bins)
        audible = sampled.magnitude.gather(1, bins) > 0

        def among(share: float) -> tuple[Tensor, Tensor, Tensor]:
            """The loudest bins of that share, their embeddings and which of them count."""
            chosen = loudest(sampled.magnitude, share, among=bins)
            place = torch.searchsorted(bins, chosen)
            return chosen, points_at(points, place), audible.gather(1, place)

        _, clustered, valid = among(model.clustered_share)
        centres = k_means(clustered, model.sources, identity, valid).centres
        chosen, loud, valid = among(CONFIDENT_SHARE)
        drawn = draw_points(loud, chosen, valid, identity)
        anew = selection.confidence_clusters == "refit"
        clusters = refit(drawn, identity, model.sources) if anew else mask_clusters(drawn, centres)
        return Judged(centres, measure(drawn, clusters))

    def _points(self, model: DeepClustering, sampled: Sampled, bins: Tensor) -> Tensor:
        """The embeddings of bins of the frames that stand for all, [1, n] -> [1, n, D]."""
        points, first = [], 0
        for excerpt in self._recording:
            spectrogram = hear(excerpt, model.geometry)
            embedding = self._embed(model, spectrogram, sampled.statistics).unflatten(1, (-1, model.geometry.bins))
            own = embedding[:, spectrogram.own][:, _standing_for_all(spectrogram, sampled.frames)].flatten(1, 2)
            here = bins[(bins >= first) & (bins < first + own.shape[1])]
            points.append(own[:, here - first])
            first += own.shape[1]
            self._heard(excerpt.window)
        return torch.cat(points, 1)


def _sample(model: DeepClustering, recording: WindowedRecording) -> Sampled:
    """Pass over a recording once, and over one of several windows again: the levels lie above a floor to be known."""
    frames = model.geometry.frames(recording.samples)
    parts, peaks = [], []
    for excerpt in recording:
        spectrogram = hear(excerpt, model.geometry)
        parts.append(spectrogram.own_magnitude[..., _standing_for_all(spectrogram, frames)])
        peaks.append(spectrogram.own_magnitude.amax((1, 2), keepdim=True))
    magnitude = torch.cat(parts, -1).mT.flatten(1)
    if len(recording) == 1:
        return Sampled(frames, magnitude, None)
    loudest, moments = torch.cat(peaks).amax(0, keepdim=True), RunningMoments()
    for excerpt in recording:
        moments.add(level(hear(excerpt, model.geometry).own_magnitude, loudest, model.input_floor, model.floor_db))
    deviation, mean = (value.to(loudest) for value in moments.deviation_and_mean())
    return Sampled(frames, magnitude, LevelStatistics(loudest, deviation, mean))


def _standing_for_all(spectrogram: Spectrogram, frames: int) -> Tensor:
    """Which of a window's own frames do, of so many in the recording, bool, [n]."""
    magnitude, chosen = spectrogram.own_magnitude, min(frames, MOST_FRAMES)
    frame = spectrogram.first + torch.arange(magnitude.shape[-1], device=magnitude.device)
    return (frame + 1) * chosen // frames > frame * chosen // frames
