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
            of_mixture = _scores(mixture, references, s)
            score |= {f"MIX-{name}": value for name, value in of_mixture.items()}
        found.append(scores)
    return max(found, key=lambda scores: np.mean([score["SI-SDR"] for score in scores]))


def _scores(estimate: np.ndarray, references: np.ndarray, number: int) -> dict[str, float]:
    source = references[number]
    scale = source @ estimate / (source @ source)
    true, distortion = scale * source, estimate - scale * source
    gram = references @ references.T
    within = np.linalg.solve(gram, references @ distortion) @ references
    signal = np.sum(true**2)
    return {
        "SI-SDR": _decibels(signal, np.sum(distortion**2)),
        "SI-SIR": _decibels(signal, np.sum(within**2)),
        "SI-SAR": _decibels(signal, np.sum((distortion - within) ** 2)),
        "SD-SDR": _decibels(signal, np.sum((estimate - source) ** 2)),
        "SNR": _decibels(np.sum(source**2), np.sum((estimate - source) ** 2)),
        "SRR": _decibels(signal, np.sum((true - source) ** 2)),
    }


def _decibels(signal: float, noise: float) -> float:
    return float(10 * np.log10(signal / (noise + 1e-30)))
