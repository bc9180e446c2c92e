"""Separators that learn nothing and use what a model must not know: they tell what the learnt rows mean."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.batch import Batch
from lightning_modules.batch_invariance import product
from lightning_modules.networks.heads import MaskKind
from lightning_modules.setting_checks import require_names, require_one_of
from lightning_modules.spectrogram import istft, stft
from lightning_modules.weak_labels.losses import truncated_sources

Method = Literal[
    "oracle_activity_mask",
    "ideal_ratio_mask",
    "ideal_amplitude_mask",
    "ideal_phase_sensitive_mask",
    "ideal_complex_mask",
]
_KINDS: dict[str, MaskKind] = {
    "ideal_amplitude_mask": "magnitude",
    "ideal_phase_sensitive_mask": "phase_sensitive",
    "ideal_complex_mask": "complex",
}


class ReferenceSeparator(SeparatrixModule):
    """Masks computed from the truth.

    Args:
        method: `oracle_activity_mask`, the mixture where the class is truly active divided by the number of active
            classes; `ideal_ratio_mask`, |S_i| / Σ_j |S_j|; or `ideal_amplitude_mask`, `ideal_phase_sensitive_mask` or
            `ideal_complex_mask`, what `mask: magnitude`, `phase_sensitive` or `complex` of a separator aims at.
        classes: sound classes, in the order of sources and labels.
        sample_rate: in Hz.
        window: of the spectrogram, in samples.
        hop: of the spectrogram, in samples.
    """

    learns = False

    def __init__(
        self,
        method: Method = "oracle_activity_mask",
        classes: Sequence[str] = (),
        sample_rate: int = 16000,
        window: int = 512,
        hop: int = 128,
    ) -> None:
        super().__init__(sample_rate=sample_rate, window=window, hop=hop)
        require_one_of(get_args(Method), method=method)
        require_names("classes", classes)
        classes = list(classes)
        self.save_hyperparameters()
        self.classes = classes
        self.method = method

    def signature(self) -> dict[str, Any]:
        return {**super().signature(), "classes": self.classes}

    def test_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Estimates, [B, C, T]."""
        spectrum = stft(batch.mixture, self.geometry)
        if self.method in _KINDS:
            shares = truncated_sources(_KINDS[self.method], spectrum, stft(batch.sources, self.geometry))
            whole = spectrum.abs().unsqueeze(1)
        else:
            by_labels = self.method == "oracle_activity_mask"
            active = batch.frame_labels[:, : len(self.classes)]  # without parents
            shares = active.unsqueeze(2) if by_labels else stft(batch.sources, self.geometry).abs()
            whole = shares.sum(1, keepdim=True)
        masks = (shares / whole.clamp_min(1e-12))[:, : len(self.classes)]  # sounds of no class have their share
        return istft(product(masks, spectrum.unsqueeze(1)), self.geometry, batch.mixture.shape[-1])
