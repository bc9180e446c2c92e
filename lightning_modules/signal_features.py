"""What a separation looks like from outside: features of a mixture and its estimates, of any separator and any mixture.

They need no true source, no embedding and no mask of a network's. B mixtures, Q estimates, T samples.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_modules.batch_invariance import one_as_two
from lightning_modules.scores.selection_rows import SIGNAL_FEATURES
from lightning_modules.spectrogram import Geometry, stft

TINY = torch.finfo(torch.float64).tiny
LOWEST_DB = -60.0


def signal_features(mixture: Tensor, estimates: Tensor, geometry: Geometry) -> Tensor:
    """SIGNAL_FEATURES of each mixture, whatever the order of its estimates, their common gain with it, or its polarity.

    With the magnitudes X of the mixture and S_q of the estimates, share M_q = S_q/Σ_r S_r of each bin, weights X/ΣX:

    - `residual_db`: energy of the mixture less all estimates, `level_spread_db`: of the loudest estimate over the
      quietest, -60 to 60;
    - `correlation`, `similarity`, `time_similarity`, `frequency_similarity`: |cosine| of the two estimates that are
      most alike, of their samples, of S, of the roots of its energies by frame and by frequency;
    - `decidedness`, `time_decidedness`, `frequency_decidedness`: (Q·max_q M_q - 1)/(Q - 1), weighted mean over bins;
      the same of energies by frame and by frequency, weighted by energy;
    - `time_changes`, `frequency_changes`: |M_q - M_q of the bin before|, weighted mean;
    - `sparsity`: ln of the mixture's (ΣX)²/ΣX² over those of the estimates, mean of these;
    - `mixture_sparsity`: -ln of (ΣX)²/(N ΣX²), `mixture_centroid`: ΣfX/ΣX as a share of half the rate,
      `mixture_flatness`: ln of the geometric over the arithmetic mean of the mean spectrum's powers,
      `mixture_time_changes`: Σ|X - X of the frame before|/ΣX.

    Args:
        mixture: [B, T].
        estimates: [B, Q, T], Q at least 2.
        geometry: of the spectrogram.

    Returns:
        Finite, also of silence, float64, [B, K].
    """
    signals = torch.cat([mixture.unsqueeze(1), estimates], 1).double()
    return one_as_two(lambda given: _features(given[:, 0], given[:, 1:], geometry), signals)


def _features(mixture: Tensor, estimates: Tensor, geometry: Geometry) -> Tensor:
    x, s = stft(mixture, geometry).abs().double(), stft(estimates, geometry).abs().double()
    count, total = s.shape[1], x.sum((1, 2)).clamp(min=TINY)
    weight = x / total[:, None, None]
    share = s / s.sum(1, keepdim=True).clamp(min=TINY)
    power, of_mixture = s.square(), x.square()
    level = estimates.square().sum(-1)
    by_frame, by_frequency = power.sum(2), power.sum(3)
    residual = (mixture - estimates.sum(1)).square().sum(-1)
    spectrum = of_mixture.mean(2).clamp(min=TINY)
    frequency = torch.linspace(0, 1, x.shape[1], device=x.device, dtype=x.dtype)[:, None]

    def decided(parts: Tensor, weights: Tensor) -> Tensor:
        """Weighted mean of how much of each place one of [B, Q, ...] has; weights, [B, ...], add up to anything."""
        largest = parts.amax(1) / parts.sum(1).clamp(min=TINY)
        mean = (largest * weights).flatten(1).sum(1) / weights.flatten(1).sum(1).clamp(min=TINY)
        return ((count * mean - 1) / (count - 1)).clamp(0, 1)

    def changes(dim: int) -> Tensor:
        later = weight.narrow(dim - 1, 1, weight.shape[dim - 1] - 1)
        return (share.diff(dim=dim).abs().mean(1) * later).sum((1, 2))

    features = {
        "residual_db": _db(residual, mixture.square().sum(-1)),
        "level_spread_db": _db(level.amax(1), level.amin(1)),
        "correlation": _most_alike(estimates),
        "similarity": _most_alike(s.flatten(2)),
        "time_similarity": _most_alike(by_frame.sqrt()),
        "frequency_similarity": _most_alike(by_frequency.sqrt()),
        "decidedness": decided(s, weight),
        "time_decidedness": decided(by_frame, by_frame.sum(1)),
        "frequency_decidedness": decided(by_frequency, by_frequency.sum(1)),
        "time_changes": changes(3),
        "frequency_changes": changes(2),
        "sparsity": _spread(x) - _spread(s).mean(1),
        "mixture_sparsity": -_spread(x),
        "mixture_centroid": (frequency * weight).sum((1, 2)),
        "mixture_flatness": spectrum.log().mean(1) - spectrum.mean(1).log(),
        "mixture_time_changes": x.diff(dim=2).abs().sum((1, 2)) / total,
    }
    return torch.stack([features[name.removeprefix("signal_")] for name in SIGNAL_FEATURES], -1)


def _db(energy: Tensor, reference: Tensor) -> Tensor:
    """Of an energy over another, -60 to 60; 0 where both are 0."""
    ratio = (energy.clamp(min=TINY).log10() - reference.clamp(min=TINY).log10()).mul(10)
    return ratio.clamp(LOWEST_DB, -LOWEST_DB)


def _spread(magnitude: Tensor) -> Tensor:
    """ln of the share of bins over which a spectrogram, [..., bins, F], spreads: 0 where all are alike, or silent."""
    flat = magnitude.flatten(-2)
    square = flat.square().sum(-1)
    share = flat.sum(-1).square() / (flat.shape[-1] * square.clamp(min=TINY))
    return torch.where(square > 0, share, 1).log()


def _most_alike(parts: Tensor) -> Tensor:
    """The largest |cosine| of two of the parts, [B, Q, N] -> [B]."""
    unit = normalize(parts, dim=-1, eps=TINY)
    return (unit @ unit.mT).tril(-1).abs().amax((1, 2)).clamp(max=1)
