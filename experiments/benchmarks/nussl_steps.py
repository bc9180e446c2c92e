"""What nussl 1.1, which cannot be installed any more, does around a network, in NumPy and SciPy."""

import itertools
from typing import Any

import numpy as np
import scipy.signal
import torch
from torch import Tensor

from lightning_modules.spectrogram import Geometry


def stft(signal: Tensor, geometry: Geometry) -> Tensor:
    """[..., T] -> [..., bins, frames], scaled as `lightning_modules.spectrogram.stft`."""
    return torch.from_numpy(scipy.signal.stft(signal.numpy(force=True), **_settings(geometry))[2]).to(signal.device)


def istft(spectrum: Tensor, geometry: Geometry, samples: int) -> Tensor:
    """[..., bins, frames] -> [..., T]."""
    return torch.from_numpy(scipy.signal.istft(spectrum.numpy(force=True), **_settings(geometry))[1][..., :samples])


def evaluate(estimates: Tensor, sources: Tensor) -> list[list[float]]:
    """Scores of every source in dB (Le Roux et al., ICASSP 2019), in the best order of estimates, [Q, T] each.

    Returns:
        SI-SDR, SNR, SD-SDR, SRR, SI-SIR, SI-SAR, and the first four of the mixture.
    """
    of_both = (signals.numpy(force=True) for signals in (sources, estimates))
    references, centred = (signals - signals.mean(-1, keepdims=True) for signals in of_both)
    found = []
    for order in itertools.permutations(centred):
        scores = [_scores(estimate, references, number) for number, estimate in enumerate(order)]
        of_mixture = [_scores(references.sum(0), references, number, parts=False) for number in range(len(order))]
        found.append([own + mixture for own, mixture in zip(scores, of_mixture, strict=True)])
    return max(found, key=lambda scores: np.mean([score[0] for score in scores]))


def _scores(estimate: np.ndarray, references: np.ndarray, number: int, parts: bool = True) -> list[float]:
    """Scores of one estimate; the residual's parts, interference and artefacts, only where asked for."""
    source = references[number]
    scale = source @ estimate / (source @ source)
    distortion = estimate - scale * source
    signal = np.sum((scale * source) ** 2)
    snr = _decibels(source @ source, np.sum((estimate - source) ** 2))
    si_sdr, srr = _decibels(signal, np.sum(distortion**2)), _decibels(1, (1 - 1 / scale) ** 2)
    found = [si_sdr, snr, snr + _decibels(scale**2, 1), srr]
    if parts:
        within = np.linalg.solve(references @ references.T, references @ distortion) @ references
        found += [_decibels(signal, np.sum(part**2)) for part in (within, distortion - within)]
    return found


def _decibels(signal: float, noise: float) -> float:
    return float(10 * np.log10(signal / (noise + 1e-30)))


def _settings(geometry: Geometry) -> dict[str, Any]:
    window = np.sqrt(scipy.signal.get_window("hann", geometry.window))
    return {"window": window, "nperseg": geometry.window, "noverlap": geometry.window - geometry.hop}
