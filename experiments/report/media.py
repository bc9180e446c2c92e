"""Sounds and pictures as data URIs, small enough for a page with hundreds of them."""

import base64
import io

import numpy as np
import soundfile
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.corpora.audio_file import resample
from lightning_modules.spectrogram import Geometry, stft

MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
LOWEST_DB = -70.0  # of what is shown, below the mixture's loudest bin
PICTURE = (320, 128)  # pixels: frames and bins are averaged
LOUDEST = 0.9  # peak of the loudest sound of a mixture


def audio(samples: Tensor, sample_rate: int, gain: float) -> str:
    """Samples, [T], as MP3, at one of its rates: Ogg needs a recent Safari, FLAC makes a page twice as large."""
    file = io.BytesIO()
    rate = min((rate for rate in MP3_RATES if rate >= sample_rate), default=MP3_RATES[-1])
    played = resample((samples * gain).clamp(-1, 1).numpy(), sample_rate, rate).clip(-1, 1)
    soundfile.write(file, played, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=0.75)
    return _data("audio/mpeg", file)


def common_gain(*signals: Tensor) -> float:
    """The factor that all sounds of a mixture are played with: their levels stay comparable, nothing is clipped."""
    peak = max(float(signal.abs().max()) for signal in signals)
    return LOUDEST / peak if peak > 0 else 1.0


class Pictures:
    """Spectrograms and effective masks of one mixture, [T], on the same scales: its loudest bin is 0 dB."""

    def __init__(self, mixture: Tensor, geometry: Geometry) -> None:
        self.geometry = geometry
        self._mixture = self._magnitude(mixture)
        self._loudest = max(float(self._mixture.max()), 1e-30)

    def spectrogram(self, samples: Tensor) -> str:
        """Magnitudes of samples, [T], from LOWEST_DB to 0 dB."""
        level = 20 * np.log10(np.maximum(self._magnitude(samples) / self._loudest, 1e-10))
        return picture(1 - level / LOWEST_DB, "magma")

    def mask(self, estimate: Tensor) -> str:
        """Effective mask |Ŝ|/|X| of an estimate, [T], from 0 to 1; 0 where the mixture lies below LOWEST_DB."""
        floor = self._loudest * 10 ** (LOWEST_DB / 20)
        share = self._magnitude(estimate) / np.maximum(self._mixture, floor)
        return picture(np.where(self._mixture > floor, share, 0), "cividis")

    def _magnitude(self, samples: Tensor) -> NDArray[np.float32]:
        return stft(samples, self.geometry).abs().numpy()


def picture(values: NDArray[np.floating], colours: str, size: tuple[int, int] = PICTURE) -> str:
    """Values in [0, 1], [rows from below, columns], in the colours of a map, as WebP."""
    shades = Image.fromarray((255 * values.clip(0, 1)).astype(np.uint8)[::-1])
    averaged = np.asarray(shades.resize(size, Image.Resampling.BOX))
    file = io.BytesIO()
    Image.fromarray(colormaps[colours](averaged, bytes=True)[..., :3]).save(file, "WEBP", quality=50, method=6)
    return _data("image/webp", file)


def scale(colours: str) -> str:
    """The colours of a map from its lowest to its highest value."""
    return picture(np.linspace(0, 1, 256)[None], colours, (128, 8))


def _data(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
