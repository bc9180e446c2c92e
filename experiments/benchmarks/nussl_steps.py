"""What nussl 1.1, which cannot be installed any more, does around a network, in NumPy and SciPy."""

import itertools
from typing import Any

import numpy as np
import scipy.signal

from lightning_modules.spectrogram import Geometry


def stft(signal: np.ndarray, geometry: Geometry) -> np.ndarray:
    """[..., T] -> [..., bins, frames], scaled as `lightning_modules.spectrogram.stft`."""
    return scipy.signal.stft(signal, **_settings(geometry))[2]


def istft(spectrum: np.ndarray, geometry: Geometry, samples: int) -> np.ndarray:
    """[..., bins, frames] -> [..., T]."""
    return scipy.signal.istft(spectrum, **_settings(geometry))[1][..., :samples]


def evaluate(estimates: np.ndarray, references: np.ndarray) -> list[dict[str, float]]:
    """Scores of every source in dB (Le Roux et al., ICASSP 2019), in the best order of estimates, [Q, T] each."""
    references, estimates = (signals - signals.mean(-1, keepdims=True) for signals in (references, estimates))
    found = []
    for order in itertools.permutations(estimates):
        scores = [_scores(estimate, references, number) for number, estimate in enumerate(order)]
        for number, score in enumerate(scores):
            of_mixture = _scores(references.sum(0), references, number, parts=False)
            score |= {f"MIX-{name}": value for name, value in of_mixture.items()}
        found.append(scores)
    return max(found, key=lambda scores: np.mean([score["SI-SDR"] for score in scores]))


def _scores(estimate: np.ndarray, references: np.ndarray, number: int, parts: bool = True) -> dict[str, float]:
    """Scores of one estimate; the residual's parts, interference and artefacts, only where asked for."""
    source = references[number]
    scale = source @ estimate / (source @ source)
    distortion = estimate - scale * source
    signal = np.sum((scale * source) ** 2)
    snr = _decibels(source @ source, np.sum((estimate - source) ** 2))
    found = {"SI-SDR": _decibels(signal, np.sum(distortion**2)), "SNR": snr}
    found |= {"SD-SDR": snr + _decibels(scale**2, 1), "SRR": _decibels(1, (1 - 1 / scale) ** 2)}
    if parts:
        within = np.linalg.solve(references @ references.T, references @ distortion) @ references
        found["SI-SIR"] = _decibels(signal, np.sum(within**2))
        found["SI-SAR"] = _decibels(signal, np.sum((distortion - within) ** 2))
    return found


def _decibels(signal: float, noise: float) -> float:
    return float(10 * np.log10(signal / (noise + 1e-30)))


def _settings(geometry: Geometry) -> dict[str, Any]:
    window = np.sqrt(scipy.signal.get_window("hann", geometry.window))
    return {"window": window, "nperseg": geometry.window, "noverlap": geometry.window - geometry.hop}
