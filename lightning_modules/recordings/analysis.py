"""What a network hears of a window: one magnitude for all channels, and which frames are the window's own."""

from typing import NamedTuple

from torch import Tensor

from lightning_modules.recordings.windows import Excerpt
from lightning_modules.spectrogram import Geometry, istft, stft


class Spectrogram(NamedTuple):
    """A window's spectrogram.

    Attributes:
        samples: length of the window.
        spectrum: of every channel, complex, [channels, bins, frames].
        magnitude: root mean square over the channels, [1, bins, frames].
        own: the frames that no other window speaks for.
        first: number of the first of these in the recording.
    """

    samples: int
    spectrum: Tensor
    magnitude: Tensor
    own: slice
    first: int

    @property
    def own_magnitude(self) -> Tensor:
        """Of the window's own frames, [1, bins, frames]."""
        return self.magnitude[..., self.own]


def hear(excerpt: Excerpt, geometry: Geometry) -> Spectrogram:
    """Analyse a window.

    The channels share their masks, made from the mean of their powers: the stereo image stays as it is, a network runs
    once for all, and unlike in their sum nothing is lost that is opposite in two of them.
    """
    spectrum = stft(excerpt.samples, geometry)
    magnitude = spectrum.abs()
    if len(magnitude) > 1:
        magnitude = magnitude.square().mean(0, keepdim=True).sqrt()
    window = excerpt.window
    # The frame in the middle of an overlap is the later window's; the last window has the frame at the very end, too.
    first = (window.own_start - window.start) // geometry.hop
    stop = None if window.own_stop == window.stop else (window.own_stop - window.start) // geometry.hop
    own = slice(first, stop)
    return Spectrogram(excerpt.samples.shape[-1], spectrum, magnitude, own, window.own_start // geometry.hop)


def mask(masks: Tensor, spectrogram: Spectrogram, geometry: Geometry) -> Tensor:
    """The sources that masks, [S, bins, frames], take out of a window: [S, channels, n]."""
    return istft(masks.unsqueeze(1) * spectrogram.spectrum, geometry, spectrogram.samples)
