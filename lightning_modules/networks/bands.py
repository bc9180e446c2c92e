"""What networks on frequency bands share: bands of bins become vectors, layers mix them, decoders make bins of them."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.batch_invariance import one_by_one
from lightning_modules.errors import InputError
from lightning_modules.networks.blstm import MOST_LAYERS, MOST_UNITS
from lightning_modules.setting_checks import require_positive, require_whole


class BandNetwork(nn.Module):
    """Band split, alternating layers over time and over bands, one decoder a band (Luo and Yu, 2023).

    A band's bins become one vector by a linear layer of its own; a decoder, of the band's own as well, is a layer norm
    and a perceptron with one hidden layer of 4·features and tanh.

    The settings are those of BandSplit; `mixer` makes a layer, [B, S, L, features] -> the same shape, which takes each
    of S sequences of L vectors by itself.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        mixer: Callable[[], nn.Module],
        bands: int | Sequence[int],
        features: int,
        layers: int,
        output_init_scale: float | None,
        merged_frames: int,
        gated: bool = False,
    ) -> None:
        super().__init__()
        require_whole(1, MOST_UNITS, features=features)
        require_whole(1, MOST_LAYERS, layers=layers, merged_frames=merged_frames)
        self.widths = band_widths(inputs, bands)
        self.merged_frames = merged_frames
        # Normalised, a band of one bin would say nothing, one of two a sign, and none how loud it is.
        self.encoders = nn.ModuleList(nn.Linear(merged_frames * width, features) for width in self.widths)
        self.over_time = nn.ModuleList(mixer() for _ in range(layers))
        self.over_bands = nn.ModuleList(mixer() for _ in range(layers))
        self.maps = outputs // inputs if outputs % inputs == 0 else None
        sizes = [len(self.widths) * features] if self.maps is None else [features] * len(self.widths)
        numbers = [outputs] if self.maps is None else [width * self.maps for width in self.widths]
        self.decoders = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(size),
                nn.Linear(size, 4 * features),
                nn.Tanh(),
                nn.Linear(4 * features, (2 if gated else 1) * merged_frames * number),
                *([nn.GLU()] if gated else []),
            )
            for size, number in zip(sizes, numbers, strict=True)
        )
        if output_init_scale is not None:
            require_positive(output_init_scale=output_init_scale)
            for decoder in self.decoders:
                last: nn.Linear = decoder[3]  # type: ignore[index]
                nn.init.normal_(last.weight, std=output_init_scale / (4 * features) ** 0.5)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, F] -> maps, [B, outputs // inputs, inputs, F], or [B, outputs, F]."""
        return one_by_one(self._decoded, features)

    def _decoded(self, features: Tensor) -> Tensor:
        frames, merged = features.shape[-1], self.merged_frames
        steps = -(-frames // merged)
        padded = functional.pad(features, (0, steps * merged - frames)).mT
        # [B, F', merged, width] of each band, F' steps of so many frames
        bands = padded.unflatten(1, (steps, merged)).split(self.widths, -1)
        hidden = torch.stack([encode(band.flatten(2)) for encode, band in zip(self.encoders, bands, strict=True)], 1)
        for over_time, over_bands in zip(self.over_time, self.over_bands, strict=True):
            hidden = over_time(hidden)  # [B, K, F', features]
            hidden = over_bands(hidden.transpose(1, 2)).transpose(1, 2)
        read = [hidden.transpose(1, 2).flatten(2)] if self.maps is None else hidden.unbind(1)
        decoded = [
            decode(each).unflatten(-1, (merged, self.maps or 1, -1))
            for decode, each in zip(self.decoders, read, strict=True)
        ]
        # Cut by padding: a slice, of all frames or of some, would make a program of torch.export one of the two cases.
        maps = functional.pad(torch.cat(decoded, -1).flatten(1, 2), (0, 0, 0, 0, 0, frames - steps * merged))
        return maps.permute(0, 2, 3, 1) if self.maps else maps.squeeze(2).mT


def band_widths(bins: int, bands: int | Sequence[int]) -> list[int]:
    """Widths of bands that cover all bins, one bin at least each, in proportion to frequency above the narrow ones.

    Widths that are given instead of a number are checked.
    """
    if isinstance(bands, Sequence):
        for width in bands:
            require_whole(1, MOST_UNITS, bands=width)
        if sum(bands) != bins:
            raise InputError(f"bands: {sum(bands)} bins in all; widths that add up to the {bins} of a frame are needed")
        return list(bands)
    require_whole(1, MOST_UNITS, bands=bands)
    if bands > bins:
        raise InputError(f"bands: {bands}; at most the {bins} frequency bins of a frame are possible")
    # Edges e^(3k/K) - 1: linear below a tenth of the range, logarithmic above. Plain numbers: a network may be made on
    # torch's meta device, where tensors have none.
    edges = [round(math.expm1(3 * band / bands) / math.expm1(3) * bins) for band in range(bands + 1)]
    widths = [max(1, upper - lower) for lower, upper in pairwise(edges)]
    # Bands that had no bin of their own took one: the widest give them back.
    while sum(widths) > bins:
        widths[widths.index(max(widths))] -= 1
    return widths
