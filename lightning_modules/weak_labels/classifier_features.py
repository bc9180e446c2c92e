"""What a classifier of sound events takes in: magnitudes as they are, or mel bands with a bounded root."""

import torch
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from lightning_modules.batch import Batch
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_between, require_positive, require_whole
from lightning_modules.spectrogram import Geometry


class ClassifierFeatures(nn.Module):
    """gain · ((m + δ)^root - δ^root) of magnitudes, or of their sums m in mel bands.

    The root brings quiet and loud sounds closer, as a logarithm does; its slope, unlike a logarithm's, is bounded where
    a separator's mask closes (by gain · root · δ^(root - 1) at m = 0).

    Args:
        geometry: of the spectrogram.
        mel_bands: number of triangular filters from 0 Hz to half the rate; none, all bins as they are, unless given.
        root: exponent, in (0, 1]; 1 is linear.
        delta: δ.
        gain: a factor.

    Raises:
        InputError: a setting that is not possible, or bands narrower than the bins.
    """

    filters: Tensor | None

    def __init__(
        self,
        geometry: Geometry,
        mel_bands: int | None = None,
        root: float = 1.0,
        delta: float = 1e-4,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        require_positive(gain=gain, root=root, delta=delta)
        require_between(0, 1, root=root)
        self.root, self.delta, self.gain = root, delta, gain
        self.bands = geometry.bins
        if mel_bands is not None:
            require_whole(1, geometry.bins, mel_bands=mel_bands)
            self.bands = mel_bands
            with torch.device("cpu"):  # also where a module is made on a device without memory
                filters = melscale_fbanks(geometry.bins, 0.0, geometry.sample_rate / 2, mel_bands, geometry.sample_rate)
            if not filters.any(0).all():
                raise InputError(f"mel_bands: {mel_bands}; some lie between the {geometry.bins} bins: fewer are needed")
        self.register_buffer("filters", None if mel_bands is None else filters.T.contiguous(), persistent=False)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Magnitudes, [B, bins, F] -> [B, bands, F]."""
        if self.filters is not None:
            magnitude = self.filters @ magnitude
        if self.root != 1:
            magnitude = (magnitude + self.delta) ** self.root - self.delta**self.root
        return self.gain * magnitude


def masked(features: Tensor, bands: int, frames: int) -> Tensor:
    """Features in which a stretch of bands and one of frames are zero: SpecAugment (Park et al., Interspeech 2019).

    Stretches of every mixture are drawn from torch's generator: lengths uniform in 0 to `bands` and `frames`, then
    places.

    Args:
        features: [B, N, F].
        bands: longest stretch of bands, at most N.
        frames: longest stretch of frames; at most F count.

    Returns:
        [B, N, F]
    """
    for dim, longest in ((1, bands), (2, frames)):
        size = features.shape[dim]
        length, place = torch.rand(2, len(features), 1, device=features.device)
        length = (length * (min(longest, size) + 1)).floor()
        first = (place * (size - length + 1)).floor()
        position = torch.arange(size, device=features.device)
        hidden = (position >= first) & (position < first + length)
        features = features.masked_fill(hidden.unsqueeze(3 - dim), 0.0)
    return features


def with_silence(magnitude: Tensor, batch: Batch, share: float) -> tuple[Tensor, Batch]:
    """Mixtures of which some, drawn from torch's generator, are attenuated by 30 to 60 dB and labelled as silence.

    Args:
        magnitude: of the mixtures, [B, bins, F].
        batch: its labels are those of what is returned.
        share: of mixtures that are silent, in the mean.

    Returns:
        Magnitudes and batch of the same shapes.
    """
    chance, depth = torch.rand(2, len(magnitude), 1, 1, device=magnitude.device)
    silent = chance < share
    attenuated = magnitude * 10 ** (-(30 + 30 * depth) / 20)
    # Of silence everything is known, whatever is not of the mixture.
    frames, clips = batch.frame_labels.masked_fill(silent, 0), batch.clip_labels.masked_fill(silent.flatten(1), 0)
    labels = {"frame_labels": frames, "clip_labels": clips}
    return torch.where(silent, attenuated, magnitude), batch._replace(**labels)
