"""Bidirectional LSTM layers, the network of both papers."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lightning_modules.batch_invariance import one_as_two
from lightning_modules.setting_checks import require_between, require_one_of, require_positive, require_whole

LSTMInit = Literal["orthogonal", "uniform"]

MOST_UNITS, MOST_LAYERS = 10_000, 100


class BidirectionalLSTM(nn.Module):
    """Bidirectional LSTM layers over the frames of a feature map, [B, features, F] -> [B, F, 2·units].

    The settings are those of BLSTM; dropout is between layers.
    """

    def __init__(
        self, features: int, units: int, layers: int, dropout: float = 0.0, lstm_init: LSTMInit = "orthogonal"
    ) -> None:
        super().__init__()
        require_one_of(get_args(LSTMInit), lstm_init=lstm_init)
        require_whole(1, MOST_UNITS, units=units)
        require_whole(1, MOST_LAYERS, layers=layers)
        require_between(0, 1, dropout=dropout)
        self.lstm = nn.LSTM(
            features, units, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.outputs = 2 * units
        if lstm_init == "orthogonal":  # torch has drawn the other one
            self._draw_orthogonal()

    @torch.no_grad()
    def _draw_orthogonal(self) -> None:
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
        """Both directions' states of every frame."""
        return one_as_two(lambda inputs: self.lstm(inputs)[0], features.mT)


class BLSTM(nn.Module):
    """Bidirectional LSTM layers and a linear layer (Pishdadian et al. 2020, section 3; Hershey et al. 2016).

    The papers do not say how their networks are initialised. `orthogonal`: Glorot and Bengio (2010) for the input,
    orthogonal for the recurrence, bias 1 for the forget gate (Jozefowicz et al. 2015). `uniform`: within ±1/√units,
    torch's own, so small that what a second layer passes on hardly depends on the input, and training lingers before it
    moves at all.

    Args:
        inputs: features of a frame.
        outputs: numbers a frame.
        units: LSTM units a direction.
        layers: LSTM layers.
        dropout: between layers, while training; below 1.
        lstm_init: of the LSTM's weights, `orthogonal` or `uniform`.
        output_init_scale: standard deviation of the linear layer's initial weights, times √fan-in; torch's own, 1/√3,
            unless given. Deep clustering starts wide, with 8: LSTM states are about ±0.2 at first, and from torch's own
            start the embeddings of all bins are nearly the same vector, where training lingers.

    Raises:
        InputError: a size or an initialisation that is not possible.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        units: int = 600,
        layers: int = 3,
        dropout: float = 0.0,
        lstm_init: LSTMInit = "orthogonal",
        output_init_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.recurrent = BidirectionalLSTM(inputs, units, layers, dropout, lstm_init)
        self.output = nn.Linear(self.recurrent.outputs, outputs)
        if output_init_scale is not None:
            require_positive(output_init_scale=output_init_scale)
            nn.init.normal_(self.output.weight, std=output_init_scale / self.recurrent.outputs**0.5)

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, F] -> [B, outputs, F]."""
        return self.output(self.recurrent(features)).mT
