"""The mask network of the weakly supervised system: one mask per sound class."""

from typing import Literal

import torch
from torch import Tensor, nn

from lightning_modules.activation import sigmoid
from lightning_modules.recurrent import BidirectionalLSTM, LSTMStart
from lightning_modules.spectrogram import log_magnitude

InputNormalisation = Literal["none", "mixture"]


class MaskSeparator(nn.Module):
    """Log-magnitude -> bidirectional LSTM -> linear -> sigmoid mask per class (Pishdadian et al. 2020, section 3).

    Args:
        bins: frequency bins of a frame.
        classes: number of masks.
        units: LSTM units a direction; 600 as published.
        layers: LSTM layers; 3 as published.
        epsilon: floor of the logarithm's argument.
        input_normalisation: `none`, the logarithm as it is, or `mixture`, to mean 0 and variance 1 over its bins.
        lstm_start: of the LSTM's weights, `open_gate` or `uniform` (BidirectionalLSTM).
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        units: int = 600,
        layers: int = 3,
        epsilon: float = 1e-8,
        input_normalisation: InputNormalisation = "none",
        lstm_start: LSTMStart = "open_gate",
    ) -> None:
        super().__init__()
        self.classes = classes
        self.epsilon = epsilon
        self.input_normalisation = input_normalisation
        self.recurrent = BidirectionalLSTM(bins, units, layers, start=lstm_start)
        self.mask = nn.Linear(self.recurrent.outputs, classes * bins)

    def forward(self, magnitude: Tensor, deviation_and_mean: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Masks in [0, 1] of every class, [B, C, bins, frames], from a mixture's magnitude, [B, bins, frames].

        Args:
            magnitude: of the mixture, or of a part of it.
            deviation_and_mean: for `mixture` normalisation those of the whole mixture's logarithms, [B, 1, 1] each,
                where `magnitude` is a part; of `magnitude` itself unless given.
        """
        features = log_magnitude(magnitude, self.epsilon)
        if self.input_normalisation == "mixture":
            deviation, mean = deviation_and_mean or torch.std_mean(features, dim=(1, 2), keepdim=True)
            features = (features - mean) / deviation.clamp_min(1e-3)
        logits = self.mask(self.recurrent(features)).unflatten(-1, (self.classes, -1))
        # float32 from here on: the masks multiply magnitudes that the losses compare.
        return sigmoid(logits.float()).permute(0, 2, 3, 1)
