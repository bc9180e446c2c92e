"""Band-split recurrent network: sequences over time within each frequency band, and over bands within each frame."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from lightning_modules.networks.bands import BandNetwork
from lightning_modules.networks.blstm import BidirectionalLSTM


class BandSplit(BandNetwork):
    """Band split, alternating time and band LSTMs, one decoder a band (Luo and Yu, 2023).

    A band's bins become one vector; residual layers exchange information over time and over bands in turn. Bands are
    narrow at low frequencies and grow in proportion to frequency. Here the features are real, bands are not normalised
    before they are encoded, layers normalise every vector by itself instead of a whole sequence, and the decoders have
    a gated linear unit only if asked for.

    Args:
        inputs: frequency bins of a frame.
        outputs: numbers a frame. A multiple of the inputs becomes so many maps over all bins; any other number, such
            as a classifier's, is read from all bands together.
        bands: their number, at most that of the bins; or how many bins each has, from the lowest on.
        features: size of a band's vector.
        units: LSTM units a direction.
        layers: pairs of a time and a band LSTM.
        output_init_scale: standard deviation of the decoders' last weights at first, times √fan-in (BLSTM); torch's
            own, 1/√3, unless given.
        merged_frames: so many frames after each other are one step of the LSTMs.
        gated: whether the decoders end in a gated linear unit, a ⊗ σ(b), as published.

    Raises:
        InputError: a size that is not possible.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bands: int | Sequence[int] = 20,
        features: int = 48,
        units: int = 48,
        layers: int = 3,
        output_init_scale: float | None = None,
        merged_frames: int = 1,
        gated: bool = False,
    ) -> None:
        mixer = partial(_ResidualLSTM, features, units)
        super().__init__(inputs, outputs, mixer, bands, features, layers, output_init_scale, merged_frames, gated)


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
