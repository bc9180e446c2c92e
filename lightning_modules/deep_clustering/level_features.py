"""The input of deep clustering's network: levels of time-frequency bins, normalised over a mixture."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

InputFloor = Literal["relative", "absolute"]

ABSOLUTE_FLOOR = 1e-8  # on the power, in the authors' scaling
SMALLEST_DEVIATION = 1e-3


class LevelStatistics(NamedTuple):
    """What the features of a mixture's part need to know of the whole, [B, 1, 1] each."""

    loudest: Tensor  # magnitude
    deviation: Tensor  # of the levels
    mean: Tensor


def level(magnitude: Tensor, loudest: Tensor, floor: InputFloor = "relative", floor_db: float = 80.0) -> Tensor:
    """Log-magnitude in dB above a floor, [B, bins, frames], of a mixture whose loudest magnitude is [B, 1, 1]."""
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
