"""Convolutions, a recurrent layer, a linear layer: the published classifier of sound events."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_modules.batch_invariance import one_by_one
from lightning_modules.errors import InputError
from lightning_modules.networks.blstm import MOST_UNITS, BidirectionalLSTM, LSTMInit
from lightning_modules.setting_checks import require_between, require_whole


class CRNN(nn.Module):
    """Convolutions, one bidirectional LSTM, linear (Pishdadian et al. 2020; sizes as in the re-implementation).

    There is no batch normalisation, and unless asked for no dropout: frozen, it computes the same in either mode.

    Args:
        inputs: frequency bins of a frame; 8 at least.
        outputs: numbers a frame.
        channels: of the three 5×5 convolutions.
        units: LSTM units a direction.
        lstm_init: of the LSTM's weights, `orthogonal` or `uniform` (BLSTM).
        dropout: before and behind the LSTM, while training; 0 as published, below 1.

    Raises:
        InputError: a size that is not possible, or fewer bins than the pooling needs.
    """

    # Max-pooling (frequency, time) after each convolution.
    _POOLING = ((2, 1), (2, 2), (2, 2))
    frame_reduction = 4

    def __init__(
        self,
        inputs: int,
        outputs: int,
        channels: Sequence[int] = (32, 64, 128),
        units: int = 100,
        lstm_init: LSTMInit = "orthogonal",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_between(0, 1, dropout=dropout)
        if not isinstance(channels, list | tuple) or len(channels) != len(self._POOLING):
            raise InputError(f"channels: {channels!r}; three numbers of channels are needed")
        for number in channels:
            require_whole(1, MOST_UNITS, channels=number)
        if inputs < 8:
            raise InputError(f"window: {2 * inputs - 2}; a CRNN needs one of 14 samples at least")
        layers: list[nn.Module] = []
        maps, rows = 1, inputs
        for number, pooling in zip(channels, self._POOLING, strict=True):
            # Pooling before the ReLU gives the same (the ReLU is monotone) and leaves it half or a quarter of the work.
            layers += [nn.Conv2d(maps, number, kernel_size=5, padding=2), nn.MaxPool2d(pooling), nn.ReLU(inplace=True)]
            maps, rows = number, rows // pooling[0]
        # Channels last is the layout in which the CPU's and the GPU's convolutions are fastest.
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recurrent = BidirectionalLSTM(maps * rows, units, layers=1, lstm_init=lstm_init)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.output = nn.Linear(self.recurrent.outputs, outputs)

    def forward(self, magnitude: Tensor) -> Tensor:
        """[B, inputs, F] -> [B, outputs, F // 4]."""
        maps = one_by_one(self.convolutions, magnitude.unsqueeze(1))
        # Frames first, as the recurrent layer wants them: one copy instead of two.
        features = maps.permute(3, 0, 1, 2).flatten(2).permute(1, 2, 0)
        return self.output(self.dropout(self.recurrent(self.dropout(features)))).mT
