"""Sound-event classifiers: the judges that tell which class is active in which frame of a spectrogram."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.recurrent import BidirectionalLSTM, LSTMStart


class ConvolutionalRecurrentClassifier(nn.Module):
    """Convolutions, one bidirectional LSTM, linear (Pishdadian et al. 2020; sizes as in the re-implementation).

    The input is a *linear* magnitude: a logarithm's gradient would explode where a separator's mask closes. There is
    neither dropout nor batch normalisation, so that evaluation and training mode compute the same.

    Args:
        bins: frequency bins of a frame.
        classes: number of sound classes.
        channels: of each 5×5 convolution.
        units: LSTM units a direction.
        gain: the magnitudes are multiplied by it first; 1 as published, about 100 helps small runs.
        lstm_start: of the LSTM's weights, `open_gate` or `uniform` (BidirectionalLSTM).
    """

    # Max-pooling (frequency, time) after each convolution.
    _POOLING = ((2, 1), (2, 2), (2, 2))

    def __init__(
        self,
        bins: int,
        classes: int,
        channels: Sequence[int] = (32, 64, 128),
        units: int = 100,
        gain: float = 1.0,
        lstm_start: LSTMStart = "open_gate",
    ) -> None:
        super().__init__()
        self.gain = gain
        self.frame_reduction = 4
        layers: list[nn.Module] = []
        inputs, rows = 1, bins
        for outputs, pooling in zip(channels, self._POOLING, strict=True):
            # Pooling before the ReLU gives the same (the ReLU is monotone) and leaves it half or a quarter of the work.
            layers += [
                nn.Conv2d(inputs, outputs, kernel_size=5, padding=2),
                nn.MaxPool2d(pooling),
                nn.ReLU(inplace=True),
            ]
            inputs, rows = outputs, rows // pooling[0]
        # Channels last is the layout in which the CPU's and the GPU's convolutions are fastest.
        self.convolutions = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recurrent = BidirectionalLSTM(inputs * rows, units, layers=1, start=lstm_start)
        self.classes = nn.Linear(self.recurrent.outputs, classes)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits of every class, [B, C, frames // 4], from magnitudes, [B, bins, frames]."""
        maps = (self.gain * magnitude).unsqueeze(1)
        if torch.is_grad_enabled() or not maps.is_cpu:
            maps = self.convolutions(maps)
        else:
            # On a CPU the way of computing a convolution, and so its last bit, goes by the number of mixtures at once:
            # what is measured of one must not depend on the others in its batch.
            maps = torch.cat([self.convolutions(one) for one in maps.split(1)])
        # Frames first, as the recurrent layer wants them: one copy instead of two.
        features = maps.permute(3, 0, 1, 2).flatten(2).permute(1, 2, 0)
        return self.classes(self.recurrent(features)).float().mT


class RecurrentClassifier(nn.Module):
    """The smaller judge: bidirectional LSTM layers at the full frame rate, no convolutions.

    Args:
        bins: frequency bins of a frame.
        classes: number of sound classes.
        units: LSTM units a direction.
        layers: LSTM layers.
        gain: the magnitudes are multiplied by it first.
        lstm_start: of the LSTM's weights, `open_gate` or `uniform` (BidirectionalLSTM).
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        units: int = 100,
        layers: int = 2,
        gain: float = 1.0,
        lstm_start: LSTMStart = "open_gate",
    ) -> None:
        super().__init__()
        self.gain = gain
        self.frame_reduction = 1
        self.recurrent = BidirectionalLSTM(bins, units, layers, start=lstm_start)
        self.classes = nn.Linear(self.recurrent.outputs, classes)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits of every class, [B, C, frames], from magnitudes, [B, bins, frames]."""
        return self.classes(self.recurrent(self.gain * magnitude)).float().mT


def pool_frame_labels(labels: Tensor, reduction: int) -> Tensor:
    """Frame labels at a classifier's rate: active where any of `reduction` frames is, [B, C, F] -> [B, C, F']."""
    return functional.max_pool1d(labels, reduction)


def clip_logits(logits: Tensor) -> Tensor:
    """Clip-level logits, [B, C]: the maximum over frames (a probability's maximum is the maximal logit's)."""
    return logits.amax(-1)
