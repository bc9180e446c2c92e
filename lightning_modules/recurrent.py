"""The bidirectional LSTM stack that both systems use."""

from torch import Tensor, nn


class BidirectionalLSTM(nn.Module):
    """Bidirectional LSTM layers over the frames of a feature map.

    Args:
        features: number of input features of a frame.
        units: hidden units a direction.
        layers: number of layers.
        dropout: between layers, while training.
    """

    def __init__(self, features: int, units: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            features, units, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.outputs = 2 * units

    def forward(self, features: Tensor) -> Tensor:
        """Both directions' states: [B, features, frames] -> [B, frames, 2·units]."""
        states, _ = self.lstm(features.mT)
        return states
