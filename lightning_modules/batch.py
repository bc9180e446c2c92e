"""The batch: the one thing that data modules and models exchange."""

from typing import Literal, NamedTuple

from torch import Tensor

Split = Literal["train", "validation", "test"]


class Batch(NamedTuple):
    """B mixtures of T samples with F frames and C classes (or sources).

    Attributes:
        mixture: samples, float32, [B, T].
        sources: isolated sources as they are in the mixture, float32, [B, C, T]; [B, C + 1, T] where mixtures may hold
            sounds of no class, whose sum is the last; zero channels, [B, 0, T], where the supervision at hand does not
            need them.
        frame_labels: 1 where a class's event meets the frame's window, float32, [B, C, F]; [B, N, F] where classes have
            parents, which follow them, and NaN where a mixture's labels do not reach down to a class.
        clip_labels: 1 where the class occurs at all, float32, [B, C], or [B, N] likewise.
        indices: which mixtures of the split these are, int64, [B].
    """

    mixture: Tensor
    sources: Tensor
    frame_labels: Tensor
    clip_labels: Tensor
    indices: Tensor
