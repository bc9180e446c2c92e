"""The embedding network of deep clustering: a vector, as a rule of unit norm, for every time-frequency bin."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lightning_modules.deep_clustering.unit_sigmoid import unit_sigmoid
from lightning_modules.recurrent import BidirectionalLSTM, LSTMStart

InputFloor = Literal["relative", "absolute"]

ABSOLUTE_FLOOR = 1e-8  # on the power, in the authors' scaling
SMALLEST_DEVIATION = 1e-3


class LevelStatistics(NamedTuple):
    """What the features of a mixture's part need to know of the whole, [B, 1, 1] each.

    Attributes:
        loudest: the largest magnitude.
        deviation: of the levels.
        mean: of the levels.
    """

    loudest: Tensor
    deviation: Tensor
    mean: Tensor


def level(magnitude: Tensor, loudest: Tensor, floor: InputFloor = "relative", floor_db: float = 80.0) -> Tensor:
    """Log-magnitude in dB above a floor, [B, bins, frames].

    Args:
        magnitude: [B, bins, frames].
        loudest: the largest magnitude of the mixture, [B, 1, 1].
        floor: `relative` to the loudest bin, or `absolute`: 10⁻⁸ added to the power.
        floor_db: how far below the loudest bin the relative floor lies.
    """
    if floor == "relative":
        loudest = loudest.clamp_min(torch.finfo(magnitude.dtype).tiny)
        return 20 * (magnitude / loudest).clamp_min(10 ** (-floor_db / 20)).log10()
    return 10 * (magnitude.square() + ABSOLUTE_FLOOR).log10()


def level_features(
    magnitude: Tensor,
    floor: InputFloor = "relative",
    floor_db: float = 80.0,
    statistics: LevelStatistics | None = None,
) -> Tensor:
    """Log-magnitude in dB, normalised to mean 0 and variance 1 over each mixture's bins.

    With the `relative` floor a mixture's level does not matter. A deviation below 10⁻³ dB
    counts as 10⁻³: the features of a silent mixture are 0.

    Args:
        magnitude: [B, bins, frames].
        floor: `relative` to the loudest bin, or `absolute`: 10⁻⁸ added to the power.
        floor_db: how far below the loudest bin the relative floor lies.
        statistics: of the whole mixture, where `magnitude` is a part of it; of `magnitude` itself unless given.

    Returns:
        [B, bins, frames].
    """
    loudest = magnitude.amax((1, 2), keepdim=True) if statistics is None else statistics.loudest
    levels = level(magnitude, loudest, floor, floor_db)
    deviation, mean = torch.std_mean(levels, (1, 2), keepdim=True) if statistics is None else statistics[1:]
    return (levels - mean) / deviation.clamp_min(SMALLEST_DEVIATION)


class EmbeddingNetwork(nn.Module):
    """Bidirectional LSTM -> linear -> sigmoid -> unit norm (Hershey et al. 2016; sizes of Liu et al. 2020).

    The linear layer starts wide, so that bins differ from the first step on: from torch's own start, the embeddings of
    all bins are nearly the same vector, and training lingers there. LSTM states are about ±0.2 at the start; from a
    spread of 8, logits reach ±1.6, where the sigmoid is not yet flat.

    Args:
        bins: frequency bins of a frame.
        dimensions: of the embedding, D.
        units: LSTM units a direction.
        layers: LSTM layers.
        dropout: between layers, while training.
        lstm_start: of the LSTM's weights, `open_gate` or `uniform` (BidirectionalLSTM).
        embedding_start: standard deviation of the linear layer's initial weights, times √fan-in; of torch's 1/√3.
        activation: of every bin's logits, [..., D] -> [..., D], at least float32.
    """

    def __init__(
        self,
        bins: int,
        dimensions: int = 20,
        units: int = 300,
        layers: int = 2,
        dropout: float = 0.3,
        lstm_start: LSTMStart = "open_gate",
        embedding_start: float = 8.0,
        activation: Callable[[Tensor], Tensor] = unit_sigmoid,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.activation = activation
        self.recurrent = BidirectionalLSTM(bins, units, layers, dropout, lstm_start)
        self.embedding = nn.Linear(self.recurrent.outputs, bins * dimensions)
        nn.init.normal_(self.embedding.weight, std=embedding_start / self.recurrent.outputs**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings of all bins, frame after frame: [B, bins, frames] -> [B, frames·bins, D], float32."""
        logits = self.embedding(self.recurrent(features)).unflatten(-1, (-1, self.dimensions))
        return self.activation(logits).flatten(1, 2)
