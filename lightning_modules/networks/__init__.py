"""Networks for both systems: plain modules, made as `network(inputs, outputs)`.

A network maps the features of every frame, [B, inputs, F], to `outputs` numbers a frame, [B, outputs, F], float32 or
lower. One that works on maps may return [B, outputs // inputs, inputs, F] instead, a number of every map for every
frequency bin. One that puts out fewer frames says how many become one, in its attribute `frame_reduction`.
"""

from lightning_modules.networks.band_split import BandSplit
from lightning_modules.networks.blstm import BLSTM
from lightning_modules.networks.crnn import CRNN
from lightning_modules.networks.tf_locoformer import TFLocoformer

__all__ = ["BLSTM", "CRNN", "BandSplit", "TFLocoformer"]
