"""Short-time Fourier transform: one geometry that data and models share."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_whole

LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000  # of recordings, in Hz
LONGEST_WINDOW = 2**16


@dataclass(frozen=True)
class Geometry:
    """Where samples, frames and frequency bins lie.

    Frame τ is centred on sample `hop`·τ: it covers the `window` samples from `hop`·τ - `window`/2 on, zeros beyond the
    ends.

    Attributes:
        sample_rate: in Hz.
        window: length of the window and of the transform, in samples; even.
        hop: distance between frames, in samples; at most half a window, so that the squared windows leave no gap.
    """

    sample_rate: int = 16000
    window: int = 512
    hop: int = 128

    def __post_init__(self) -> None:
        require_whole(1, HIGHEST_RATE, sample_rate=self.sample_rate)
        require_whole(2, LONGEST_WINDOW, window=self.window)
        require_whole(0, LONGEST_WINDOW, hop=self.hop)
        if self.window % 2:
            raise InputError(f"window: {self.window}; an even number of samples is needed, such as 512")
        if not 1 <= self.hop <= self.window // 2:
            raise InputError(f"hop: {self.hop}; between 1 and half the window ({self.window // 2}) is needed")

    @property
    def bins(self) -> int:
        """Number of frequency bins of one frame."""
        return self.window // 2 + 1

    def frames(self, samples: int) -> int:
        """Number of frames of a signal of that many samples."""
        return 1 + samples // self.hop

    def frames_overlapping(self, onset: Any, offset: Any) -> tuple[Any, Any]:
        """First frame, and the one after the last, whose window overlaps the samples [onset, offset).

        Plain integers or integer arrays of one shape. The last may lie beyond the end of a finite signal. An interval
        without samples overlaps no frame.
        """
        half = self.window // 2
        first = (onset - half) // self.hop + 1
        first *= first > 0
        stop = -((-offset - half) // self.hop)  # ceil
        return first, first + (stop - first) * (offset > onset)


@lru_cache(maxsize=32)
def _window(length: int, device: torch.device) -> Tensor:
    # Square-root Hann, periodic: analysis times synthesis window adds up to a constant at any hop of length / 2^k.
    # Cached for everyone: whoever asks first must not leave its inference mode or its default type in it.
    with torch.inference_mode(False):
        return torch.hann_window(length, periodic=True, dtype=torch.float32, device=device).sqrt()


def stft(signal: Tensor, geometry: Geometry) -> Tensor:
    """Complex spectrum with a square-root Hann window, divided by its sum: samples [..., T] -> [..., bins, frames].

    A full-scale sinusoid in a bin's centre has magnitude 1/2.
    """
    window = _window(geometry.window, signal.device)
    # Autocast would round the samples to 8 bits of mantissa first.
    with torch.autocast(signal.device.type, enabled=False):
        spectrum = torch.stft(
            signal.reshape(-1, signal.shape[-1]).float(),
            geometry.window,
            geometry.hop,
            window=window / window.sum(),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
    return spectrum.reshape(*signal.shape[:-1], *spectrum.shape[-2:])


def istft(spectrum: Tensor, geometry: Geometry, samples: int) -> Tensor:
    """Signal of a (masked) spectrum by weighted overlap-add, the inverse of `stft`: [..., bins, frames] -> [..., T]."""
    window = _window(geometry.window, spectrum.device)
    # Scaling the spectrum rather than the window: torch refuses an envelope of squared windows below 1e-11.
    signal = torch.istft(
        spectrum.reshape(-1, *spectrum.shape[-2:]) * window.sum(),
        geometry.window,
        geometry.hop,
        window=window,
        center=True,
        length=samples,
    )
    return signal.reshape(*spectrum.shape[:-2], samples)


def log_magnitude(magnitude: Tensor, epsilon: float = 1e-8) -> Tensor:
    """ln(|X| + ε), the separator's input.

    ε decides how far digital silence lies below quiet sound: ln 1e-8 = -18. Below about 1e-38 float32 has no numbers.
    """
    return (magnitude + epsilon).log()
