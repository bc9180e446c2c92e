"""Random numbers that are functions of a mixture's index: the same on every device, in any batch and order."""

from enum import IntEnum

import torch
from torch import Tensor


class Stream(IntEnum):
    """What random numbers are for: each purpose has a stream of its own."""

    STARTS = 0
    COMPETITION = 1
    POINTS = 2
    NORMAL = 3
    EXCERPTS = 4


# splitmix64 (Steele, Lea, Flood 2014), its constants as the signed integers that have their bits.
_GOLDEN, _FIRST, _SECOND = (c - 2**64 for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def uniform(mixture_ids: Tensor, count: int, stream: int) -> Tensor:
    """The first numbers of a stream for each mixture, int64, [B]: uniform in [0, 1), float64, [B, count]."""
    return uniform_at(mixture_ids, torch.arange(count, device=mixture_ids.device).unsqueeze(0), stream)


def uniform_at(mixture_ids: Tensor, place: Tensor, stream: int) -> Tensor:
    """Those of the numbers `uniform` gives that stand at some places of the sequence: places [B, n], numbers [B, n]."""
    key = _mix(_mix(mixture_ids) + stream)
    return _shift(_mix(key.unsqueeze(-1) + (place + 1) * _GOLDEN), 11).double() * 2.0**-53


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _FIRST
    z = (z ^ _shift(z, 27)) * _SECOND
    return z ^ _shift(z, 31)


def _shift(z: Tensor, places: int) -> Tensor:
    # int64 >> repeats the sign.
    return (z >> places) & (2 ** (64 - places) - 1)
