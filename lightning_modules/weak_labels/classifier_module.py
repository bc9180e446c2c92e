"""The LightningModule of a sound-event classifier that learns from labels of mixtures."""

from collections.abc import Sequence
from typing import Any, TypedDict, get_args

import torch
from torch import Tensor, nn
from torchmetrics.classification import MultilabelAveragePrecision

from lightning_modules.base_module import Interval
from lightning_modules.batch import Batch
from lightning_modules.batch_invariance import sigmoid
from lightning_modules.choices import NetworkCallable, OptimizerCallable, SchedulerCallable, choice, made_of
from lightning_modules.errors import InputError
from lightning_modules.networks import CRNN
from lightning_modules.networks.heads import outputs_of
from lightning_modules.setting_checks import require_between, require_one_of, require_whole
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.classifier_features import ClassifierFeatures, masked, with_silence
from lightning_modules.weak_labels.labels import (
    LabelSupervision,
    WeakLabelModule,
    logits_at_label_rate,
    pool_frame_labels,
)
from lightning_modules.weak_labels.losses import classification_loss


class ClassifierOutput(TypedDict):
    """A classifier's logits in validation and test, and the truth."""

    logits: Tensor  # [B, N, F']
    frame_labels: Tensor  # at the classifier's frame rate, [B, N, F']
    clip_labels: Tensor  # [B, N]


class EventClassifier(WeakLabelModule):
    """A sound-event classifier that knows sounds only from mixtures (Pishdadian et al. 2020, section 2.1).

    Args:
        supervision: `frame` labels, or `clip` labels alone.
        classes: sound classes, in the order of the labels.
        hierarchy: parents of the classes, which follow them in logits and labels: N nodes in place of C.
        sample_rate: in Hz.
        window: of the spectrogram, in samples.
        hop: of the spectrogram, in samples.
        network: from features, [B, bins or mel bands, F], to the logits of the nodes, N numbers a frame; CRNN, or
            the smaller BLSTM of 2 layers of 100 units at the full frame rate. The published features are *linear*
            magnitudes: a logarithm's gradient would explode where a separator's mask closes.
        gain: the features are multiplied by it; 1 as published, about 100 helps small runs on linear magnitudes.
        mel_bands: number of mel bands that magnitudes are summed in; all bins as they are, as published, unless given.
        root: exponent of the features, (m + δ)^root - δ^root: 1 as published; smaller ones bring quiet sounds out,
            with a gradient that is bounded, unlike a logarithm's.
        delta: δ, below which features are linear. Far below the magnitudes of sounds a classifier finds classes in
            estimates that are nearly silent, and a separator is content with those.
        masked_bands: longest stretch of bands that is hidden from every training mixture (SpecAugment); 0 as published.
        masked_frames: longest stretch of frames, likewise.
        silent_mixtures: share of the training mixtures that are attenuated by 30 to 60 dB and labelled as silence; 0 as
            published. A classifier that was given events at full level alone finds them in estimates that are
            nearly silent, too, and a separator is content with those.
        optimizer: of the parameters that are to be learnt.
        scheduler: of the optimiser's learning rate; one on a metric follows the validation loss.
        scheduler_interval: whether the schedule steps every `epoch` or every optimiser `step`.
    """

    of_outputs = ("gain", "mel_bands", "root", "delta")

    def __init__(
        self,
        supervision: LabelSupervision = "frame",
        classes: Sequence[str] = (),
        sample_rate: int = 16000,
        window: int = 512,
        hop: int = 128,
        network: NetworkCallable = choice(CRNN, channels=[32, 64, 128], units=100),
        gain: float = 1.0,
        mel_bands: int | None = None,
        root: float = 1.0,
        delta: float = 1e-4,
        masked_bands: int = 0,
        masked_frames: int = 0,
        silent_mixtures: float = 0.0,
        optimizer: OptimizerCallable = choice(torch.optim.Adam, lr=1e-4),
        scheduler: SchedulerCallable | None = None,
        scheduler_interval: Interval = "epoch",
        hierarchy: dict[str, Any] | None = None,
    ) -> None:
        geometry: dict[str, Any] = {"sample_rate": sample_rate, "window": window, "hop": hop}
        schedule: dict[str, Any] = {"scheduler": scheduler, "scheduler_interval": scheduler_interval}
        super().__init__(classes=classes, hierarchy=hierarchy, **geometry, optimizer=optimizer, **schedule)
        require_one_of(get_args(LabelSupervision), supervision=supervision)
        features = ClassifierFeatures(self.geometry, mel_bands, root, delta, gain)
        require_whole(0, features.bands, masked_bands=masked_bands)
        require_whole(0, 10**6, masked_frames=masked_frames)
        classes = list(classes)
        self.save_hyperparameters()
        self.supervision = supervision
        self.features = features
        self.masked_bands, self.masked_frames = masked_bands, masked_frames
        require_between(0, 1, silent_mixtures=silent_mixtures)
        self.silent_mixtures = silent_mixtures
        self.network = made_of(network, nn.Module)(features.bands, nodes := len(self.tree.names))
        if getattr(self.network, "maps", None):  # each class would be read from one band
            raise InputError(f"mel_bands: {features.bands} divide the {nodes} classes; choose another number")
        self.test_average_precision = MultilabelAveragePrecision(nodes, validate_args=False)

    def signature(self) -> dict[str, Any]:
        return {**super().signature(), "supervision": self.supervision}

    @property
    def frame_reduction(self) -> int:
        """Spectrogram frames to one frame of the logits."""
        return int(getattr(self.network, "frame_reduction", 1))

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits, [B, N, F'], of linear magnitudes, [B, bins, F]."""
        return self._logits(self.features(magnitude))

    def _logits(self, features: Tensor) -> Tensor:
        return outputs_of(self.network, features, len(self.tree.names)).float()

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The classification loss of each mixture, [B]. A subclass may give another."""
        activity, weight = self.targets(batch, self.supervision, self.frame_reduction)
        return classification_loss(logits_at_label_rate(logits, self.supervision), activity, weight)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        magnitude = stft(batch.mixture, self.geometry).abs()
        if self.silent_mixtures:
            magnitude, batch = with_silence(magnitude, batch, self.silent_mixtures)
        features = self.features(magnitude)
        if self.masked_bands or self.masked_frames:
            features = masked(features, self.masked_bands, self.masked_frames)
        return self.log_loss(self.loss(self._logits(features), batch), batch, "train")

    def validation_step(self, batch: Batch, batch_index: int) -> ClassifierOutput:
        output = self.test_step(batch, batch_index)
        self.log_loss(self.loss(output["logits"], batch), batch, "validation")
        return output

    def test_step(self, batch: Batch, batch_index: int) -> ClassifierOutput:
        """Logits and the labels at their rate, for the callbacks that score them."""
        logits = self(stft(batch.mixture, self.geometry).abs())
        frame_labels = pool_frame_labels(batch.frame_labels, self.frame_reduction)
        return ClassifierOutput(logits=logits, frame_labels=frame_labels, clip_labels=batch.clip_labels)

    def log_test_scores(self, outputs: ClassifierOutput, batch: Batch) -> None:
        """Log the mean average precision over classes, at the logits' frame rate."""
        logits, labels = (outputs[name].mT.flatten(0, 1) for name in ("logits", "frame_labels"))
        self.test_average_precision.update(sigmoid(logits), labels.int())
        self.log("test_frame_average_precision", self.test_average_precision, on_epoch=True, batch_size=len(labels))
