"""Transformer over time and over frequency bands, whose feed-forward layers are convolutions: no recurrence."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.errors import InputError
from lightning_modules.networks.bands import BandNetwork
from lightning_modules.networks.blstm import MOST_UNITS
from lightning_modules.setting_checks import require_whole


class TFLocoformer(BandNetwork):
    """TF-Locoformer blocks (Saijo et al., IWAENC 2024) on the vectors of frequency bands (BandSplit).

    Over time within each band, and over bands within each step, in turn, a block computes

        Z ← Z + ConvSwiGLU(Z),  Z ← Z + Attention(Z),  Z ← Z + ConvSwiGLU(Z),

    where ConvSwiGLU(Z) = Conv(Swish(Conv(N(Z))) ⊗ Conv(N(Z))) sees the neighbours, and attention, of several heads with
    rotary positions, the whole sequence. N divides each of the groups of a vector's features by their root mean square.
    The paper has a vector for every bin, begins over frequency, and takes complex spectra; here bands make it a network
    for a CPU, and features, order and decoders are those of BandSplit.

    Args:
        inputs: frequency bins of a frame.
        outputs: numbers a frame. A multiple of the inputs becomes so many maps over all bins; any other number, such
            as a classifier's, is read from all bands together.
        bands: their number, at most that of the bins; or how many bins each has, from the lowest on.
        features: size of a band's vector.
        hidden: channels between the convolutions.
        kernel: of the convolutions, in steps or bands.
        heads: of the attention; features / heads is even.
        groups: of the features that are normalised by themselves; features / groups is whole.
        layers: pairs of a block over time and one over bands.
        output_init_scale: standard deviation of the decoders' last weights at first, times √fan-in (BLSTM); torch's
            own, 1/√3, unless given.
        merged_frames: so many frames after each other are one step of the blocks.

    Raises:
        InputError: a size that is not possible.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bands: int | Sequence[int] = 20,
        features: int = 48,
        hidden: int = 64,
        kernel: int = 3,
        heads: int = 2,
        groups: int = 4,
        layers: int = 2,
        output_init_scale: float | None = None,
        merged_frames: int = 1,
    ) -> None:
        require_whole(1, MOST_UNITS, features=features, hidden=hidden, kernel=kernel, heads=heads, groups=groups)
        if features % (2 * heads):
            raise InputError(f"heads: {heads}; rotary positions need an even share of the {features} features for each")
        if features % groups:
            raise InputError(f"groups: {groups}; a number that divides the {features} features is needed")
        mixer = partial(_Block, features, hidden, kernel, heads, groups)
        super().__init__(inputs, outputs, mixer, bands, features, layers, output_init_scale, merged_frames)


class _Block(nn.Module):
    """Convolutions, self-attention, convolutions, each added to what came in: [B, S, L, features], over L."""

    def __init__(self, features: int, hidden: int, kernel: int, heads: int, groups: int) -> None:
        super().__init__()
        self.before = _ConvSwiGLU(features, hidden, kernel, groups)
        self.attention = _Attention(features, heads, groups)
        self.after = _ConvSwiGLU(features, hidden, kernel, groups)

    def forward(self, vectors: Tensor) -> Tensor:
        vectors = vectors + self.before(vectors)
        vectors = vectors + self.attention(vectors)
        return vectors + self.after(vectors)


class _RMSGroupNorm(nn.Module):
    """Each group of the last dimension over its root mean square, times a learnt factor of every feature."""

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, vectors: Tensor) -> Tensor:
        grouped = vectors.unflatten(-1, (self.groups, -1))
        return functional.rms_norm(grouped, grouped.shape[-1:], eps=1e-5).flatten(-2) * self.weight


class _ConvSwiGLU(nn.Module):
    """Gated linear unit with Swish, of convolutions over L: [B, S, L, features] -> the same shape."""

    def __init__(self, features: int, hidden: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.norm = _RMSGroupNorm(features, groups)
        self.gates = nn.Conv2d(features, 2 * hidden, (1, kernel), padding=(0, kernel - 1))
        # Published as a deconvolution: of stride 1 it is a convolution, which cuts what the first added at the ends.
        self.output = nn.Conv2d(hidden, features, (1, kernel))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # as vectors lie: nothing is copied

    def forward(self, vectors: Tensor) -> Tensor:
        gate, value = self.gates(self.norm(vectors).permute(0, 3, 1, 2)).chunk(2, 1)
        return self.output(functional.silu(gate) * value).permute(0, 2, 3, 1)


class _Attention(nn.Module):
    """Multi-head self-attention over L with rotary positions: [B, S, L, features] -> the same shape."""

    def __init__(self, features: int, heads: int, groups: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _RMSGroupNorm(features, groups)
        self.projections = nn.Linear(features, 3 * features, bias=False)
        self.output = nn.Linear(features, features, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        projected = self.projections(self.norm(vectors))
        exact = projected.to(torch.promote_types(projected.dtype, torch.float32))
        # [B·S, heads, L, features / heads] each
        query, key, value = exact.unflatten(-1, (3, self.heads, -1)).permute(3, 0, 1, 4, 2, 5).flatten(1, 2)
        # In bfloat16 the CPU's attention takes up to eight times as long for short sequences.
        kind = exact.dtype if exact.is_cpu else projected.dtype
        with torch.autocast(vectors.device.type, enabled=False):
            query, key, value = rotated(query).to(kind), rotated(key).to(kind), value.to(kind)
            mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.output(mixed.transpose(1, 2).flatten(2).to(projected.dtype)).unflatten(0, vectors.shape[:2])


def rotated(vectors: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021): [..., L, D] -> the same shape.

    At place n the pair (d, d + D/2) is turned by n·10000^(-2d/D): products of two vectors depend on their distance.
    """
    length, size = vectors.shape[-2:]
    place, pair = (torch.arange(n, device=vectors.device, dtype=torch.float32) for n in (length, size // 2))
    angle = place.unsqueeze(-1) * 10_000 ** (-2 * pair / size)
    cosine, sine = angle.cos().to(vectors.dtype), angle.sin().to(vectors.dtype)
    first, second = vectors.chunk(2, -1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], -1)
