"""What nussl 1.1 does around a network when it separates a mixture and evaluates the outcome, in NumPy and SciPy.

Written from what it computes, since it cannot be installed any more. Axes: Q sources, T samples.
"""

import itertools

import numpy as np
import scipy.signal

from lightning_modules.spectrogram import Geometry


def stft(signal: np.ndarray, geometry: Geometry) -> np.ndarray:
    """[..., T] -> [..., bins, frames], scaled as `lightning_modules.spectrogram.stft`."""
    return scipy.signal.stft(signal, window=_window(geometry), nperseg=geometry.window, noverlap=_overlap(geometry))[2]


def istft(spectrum: np.ndarray, geometry: Geometry, samples: int) -> np.ndarray:
    """[..., bins, frames] -> [..., T]."""
    window, overlap = _window(geometry), _overlap(geometry)
    _, signal = scipy.signal.istft(spectrum, window=window, nperseg=geometry.window, noverlap=overlap)
    return signal[..., :samples]


def _window(geometry: Geometry) -> np.ndarray:
    return np.sqrt(scipy.signal.get_window("hann", geometry.window))


def _overlap(geometry: Geometry) -> int:
    return geometry.window - geometry.hop


def evaluate(estimates: np.ndarray, references: np.ndarray) -> list[dict[str, float]]:
    """Scale-invariant and other scores in the best order (Le Roux et al., ICASSP 2019), beside those of the mixture.

    Args:
        estimates: [Q, T].
        references: [Q, T].

    Returns:
        The scores of every source, in dB.
    """
    references = references - references.mean(-1, keepdims=True)
    estimates = estimates - estimates.mean(-1, keepdims=True)
    mixture = references.sum(0)
    found = []
    for order in itertools.permutations(range(len(references))):
        scores = [_scores(estimates[e], references, s) for s, e in enumerate(order)]
        for s, score in enumerate(scores):
            of_mixture = _scores(mixture, references, s, parts=False)
            score |= {f"MIX-{name}": value for name, value in of_mixture.items()}
        found.append(scores)
    return max(found, key=lambda scores: np.mean([score["SI-SDR"] for score in scores]))


def _scores(estimate: np.ndarray, references: np.ndarray, number: int, parts: bool = True) -> dict[str, float]:
    """Scores of one estimate; the residual's parts, interference and artefacts, only where asked for."""
    source = references[number]
    energy = source @ source
    scale = source @ estimate / energy
    true, distortion = scale * source, estimate - scale * source
    signal = np.sum(true**2)
    snr = _decibels(energy, np.sum((estimate - source) ** 2))
    found = {
        "SI-SDR": _decibels(signal, np.sum(distortion**2)),
        "SD-SDR": snr + _decibels(scale**2, 1),
        "SNR": snr,
        "SRR": _decibels(1, (1 - 1 / scale) ** 2),
    }
    if parts:
        within = np.linalg.solve(references @ references.T, references @ distortion) @ references
        found["SI-SIR"] = _decibels(signal, np.sum(within**2))
        found["SI-SAR"] = _decibels(signal, np.sum((distortion - within) ** 2))
    return found


def _decibels(signal: float, noise: float) -> float:
    return float(10 * np.log10(signal / (noise + 1e-30)))
