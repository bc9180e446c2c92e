"""Band-split recurrent network: sequences over time within each frequency band, and over bands within each frame."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from lightning_modules.errors import InputError
from lightning_modules.networks.blstm import MOST_LAYERS, MOST_UNITS, BidirectionalLSTM
from lightning_modules.setting_checks import require_positive, require_whole


class BandSplit(nn.Module):
    """Band split, alternating time and band LSTMs, one decoder a band (Luo and Yu, 2023, section III).

    A band's bins become one vector; residual layers exchange information over time and over bands in turn. Bands are
    narrow at low frequencies and grow in proportion to frequency. Here the features are real, bands are not normalised
    before they are encoded, and the decoders have no gated linear unit.

    Args:
        inputs: frequency bins of a frame.
        outputs: numbers a frame. A multiple of the inputs becomes so many maps over all bins; any other number, such
            as a classifier's, is read from all bands together.
        bands: their number, at most that of the bins.
        features: size of a band's vector.
        units: LSTM units a direction.
        layers: pairs of a time and a band LSTM.
        output_init_scale: standard deviation of the decoders' last weights at first, times √fan-in (BLSTM); torch's
            own, 1/√3, unless given.
        merged_frames: so many frames after each other are one step of the LSTMs.

    Raises:
        InputError: a size that is not possible.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bands: int = 20,
        features: int = 48,
        units: int = 48,
        layers: int = 3,
        output_init_scale: float | None = None,
        merged_frames: int = 1,
    ) -> None:
        super().__init__()
        require_whole(1, MOST_UNITS, bands=bands, features=features, units=units)
        require_whole(1, MOST_LAYERS, layers=layers, merged_frames=merged_frames)
        if bands > inputs:
            raise InputError(f"bands: {bands}; at most the {inputs} frequency bins of a frame are possible")
        self.widths = band_widths(inputs, bands)
        # Normalised, a band of one bin would say nothing, one of two a sign, and none how loud it is.
        self.merged_frames = merged_frames
        self.encoders = nn.ModuleList(nn.Linear(merged_frames * width, features) for width in self.widths)
        self.over_time = nn.ModuleList(_ResidualLSTM(features, units) for _ in range(layers))
        self.over_bands = nn.ModuleList(_ResidualLSTM(features, units) for _ in range(layers))
        self.maps = outputs // inputs if outputs % inputs == 0 else None
        sizes = [bands * features] if self.maps is None else [features] * bands
        numbers = [outputs] if self.maps is None else [width * self.maps for width in self.widths]
        self.decoders = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(size),
                nn.Linear(size, 4 * features),
                nn.Tanh(),
                nn.Linear(4 * features, merged_frames * number),
            )
            for size, number in zip(sizes, numbers, strict=True)
        )
        if output_init_scale is not None:
            require_positive(output_init_scale=output_init_scale)
            for decoder in self.decoders:
                last: nn.Linear = decoder[-1]  # type: ignore[index]
                nn.init.normal_(last.weight, std=output_init_scale / (4 * features) ** 0.5)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, F] -> maps, [B, outputs // inputs, inputs, F], or [B, outputs, F]."""
        frames, merged = features.shape[-1], self.merged_frames
        padded = nn.functional.pad(features, (0, -frames % merged))
        # [B, F', merged, width] of each band, F' steps of so many frames
        bands = padded.mT.unflatten(1, (-1, merged)).split(self.widths, -1)
        hidden = torch.stack([encode(band.flatten(2)) for encode, band in zip(self.encoders, bands, strict=True)], 1)
        for over_time, over_bands in zip(self.over_time, self.over_bands, strict=True):
            hidden = over_time(hidden)  # [B, K, F', features]
            hidden = over_bands(hidden.transpose(1, 2)).transpose(1, 2)
        if self.maps is None:
            decoded = self.decoders[0](hidden.transpose(1, 2).flatten(2)).unflatten(-1, (merged, -1))
            return decoded.flatten(1, 2)[:, :frames].mT
        maps = [
            decode(band).unflatten(-1, (merged, self.maps, -1))
            for decode, band in zip(self.decoders, hidden.unbind(1), strict=True)
        ]
        return torch.cat(maps, -1).flatten(1, 2)[:, :frames].permute(0, 2, 3, 1)


class _ResidualLSTM(nn.Module):
    """Normalised vectors -> bidirectional LSTM over the last but one dimension -> linear, added to what came in."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.recurrent = BidirectionalLSTM(features, units, layers=1)
        self.output = nn.Linear(self.recurrent.outputs, features)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, S, F, features] -> the same shape; every one of the S sequences by itself."""
        states = self.recurrent(self.norm(vectors).flatten(0, 1).mT)
        return vectors + self.output(states).unflatten(0, vectors.shape[:2])


def band_widths(bins: int, bands: int) -> Sequence[int]:
    """Widths of bands that cover all bins, one bin at least each, in proportion to frequency above the narrow ones."""
    # Edges e^(3k/K) - 1: linear below a tenth of the range, logarithmic above. Plain numbers: a network may be made on
    # torch's meta device, where tensors have none.
    edges = [round(math.expm1(3 * band / bands) / math.expm1(3) * bins) for band in range(bands + 1)]
    widths = [max(1, upper - lower) for lower, upper in pairwise(edges)]
    # Bands that had no bin of their own took one: the widest give them back.
    while sum(widths) > bins:
        widths[widths.index(max(widths))] -= 1
    return widths
