"""A recording in memory as a model meets it: resampled and transformed window by window, and back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import resample

from lightning_modules.recordings.windows import Window
from lightning_modules.spectrogram import Geometry, istft, stft

# In longer recordings (40 s at the published hop) about so many frames, evenly chosen, stand for all of them in
# statistics and clusters: memory does not grow.
MOST_FRAMES = 5000
Masks = Callable[[Tensor], Tensor]  # of the sources, [1, S, bins, F], from a window's magnitude, [1, bins, F]


class Spectrogram(NamedTuple):
    """A window's spectrogram."""

    spectrum: Tensor  # of every channel, complex, [channels, bins, F]
    magnitude: Tensor  # root mean square over the channels, [1, bins, F]
    drawn: slice  # those of the window's own frames that stand for all
    samples: int  # of the window at the model's rate


@dataclass(frozen=True)
class Recording:
    """A recording, or a part of one, and the windows that it is separated in."""

    samples: Tensor  # [channels, n]
    rate: int  # of the recording, in Hz
    sample_rate: int  # of the models, in Hz
    windows: list[Window]
    device: torch.device
    advance: Callable[[float], None]  # is called with the share of a window's work that has been done since

    def spectrograms(self, geometry: Geometry, share: float = 0.0) -> Iterator[Spectrogram]:
        """The windows' spectrograms, each a `share` of its window's work.

        The channels share their masks, made from the mean of their powers: the stereo image stays as it is, a network
        runs once for all, and unlike in their sum nothing is lost that is opposite in two of them.
        """
        hop = self._ratio * geometry.hop  # in samples of the recording
        length = self.windows[-1].own_stop - self.windows[0].own_start
        stride = -(-length // (MOST_FRAMES * hop)) if len(self.windows) > 1 else 1  # one window is a mixture as it is
        for window in self.windows:
            excerpt = self._resampled(self.samples[:, window.start : window.stop].to(self.device), self._ratio)
            spectrum = stft(excerpt, geometry)
            magnitude = spectrum.abs()
            if len(magnitude) > 1:
                magnitude = magnitude.square().mean(0, keepdim=True).sqrt()
            # A frame in the middle of an overlap is the later window's; the last window has one at the very end, too.
            first = -((window.start - window.own_start) // hop)
            stop = None if window.own_stop == window.stop else -((window.start - window.own_stop) // hop)
            yield Spectrogram(spectrum, magnitude, slice(first, stop, stride), excerpt.shape[-1])
            self.advance(share)

    @property
    def silent(self) -> bool:
        """Whether every sample is 0."""
        return not any(self.samples[:, window.start : window.stop].any() for window in self.windows)

    def drawn_magnitude(self, geometry: Geometry) -> Tensor:
        """The magnitude of the frames that stand for all, [1, bins, F]."""
        windows = self.spectrograms(geometry)
        return torch.cat([window.magnitude.mT[:, window.drawn].clone() for window in windows], 1).mT

    def masked(self, masks: Masks, geometry: Geometry, share: float) -> Iterator[Tensor]:
        """The sources in each window, [S, channels, n]."""
        for window, spectrogram in zip(self.windows, self.spectrograms(geometry, share), strict=True):
            masked = masks(spectrogram.magnitude)[0].unsqueeze(1) * spectrogram.spectrum
            sources = self._resampled(istft(masked, geometry, spectrogram.samples), 1 / self._ratio)
            # Resampled forth and back, a window may have become longer by a few samples.
            yield sources[..., : window.stop - window.start]

    @property
    def _ratio(self) -> Fraction:
        """Within 10⁻⁶: a filter with a phase for each of 22,049 samples would fill gigabytes."""
        return Fraction(self.rate, self.sample_rate).limit_denominator(1000)

    @staticmethod
    def _resampled(samples: Tensor, ratio: Fraction) -> Tensor:
        return resample(samples, ratio.numerator, ratio.denominator)
