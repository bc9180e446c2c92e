"""The bidirectional LSTM stack that both systems use."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_modules.setting_checks import require_between, require_one_of, require_whole

LSTMStart = Literal["open_gate", "uniform"]

MOST_UNITS, MOST_LAYERS = 10_000, 100


class BidirectionalLSTM(nn.Module):
    """Bidirectional LSTM layers over the frames of a feature map.

    The papers do not say how their networks start. `open_gate`: Glorot and Bengio (2010) for the input, orthogonal for
    the recurrence, bias 1 for the forget gate (Jozefowicz et al. 2015). `uniform`: within ±1/√units, torch's own, so
    small that what a second layer passes on hardly depends on the input, and training lingers before it moves at all.

    Args:
        features: number of input features of a frame.
        units: hidden units a direction.
        layers: number of layers.
        dropout: between layers, while training.
        start: of the weights, `open_gate` or `uniform`.

    Raises:
        InputError: a size that is no whole number from 1 on, or beyond MOST_UNITS and MOST_LAYERS; an unknown start.
    """

    def __init__(
        self, features: int, units: int, layers: int, dropout: float = 0.0, start: LSTMStart = "open_gate"
    ) -> None:
        super().__init__()
        require_one_of(get_args(LSTMStart), lstm_start=start)
        require_whole(1, MOST_UNITS, units=units)
        require_whole(1, MOST_LAYERS, layers=layers)
        require_between(0, 1, dropout=dropout)
        self.lstm = nn.LSTM(
            features, units, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.outputs = 2 * units
        if start == "open_gate":  # torch has drawn the other one
            self._open_gates()

    @torch.no_grad()
    def _open_gates(self) -> None:
        for name, parameter in self.lstm.named_parameters():
            gates = parameter.chunk(4)  # input, forget, cell, output
            for gate in gates:
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(gate)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(gate)
                else:
                    gate.zero_()
            if name.startswith("bias_ih"):
                gates[1].fill_(1.0)

    def forward(self, features: Tensor) -> Tensor:
        """Both directions' states: [B, features, frames] -> [B, frames, 2·units]; in evaluation alike in any batch."""
        inputs = features.mT
        if features.shape[0] == 1 and not torch.is_grad_enabled():
            # A step of one mixture is a product with a vector, which is rounded otherwise than that with a matrix. What
            # an evaluation writes must not depend on which mixtures were left for the last batch: one becomes two.
            inputs = inputs.expand(2, -1, -1)
        states, _ = self.lstm(inputs)
        return states[: features.shape[0]]  # not len(), of which an exported program would make a constant
