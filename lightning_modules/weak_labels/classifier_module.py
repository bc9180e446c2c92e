"""The LightningModule of the judge: a sound-event classifier that learns from labels of mixtures."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, get_args

from torch import Tensor, nn

from datamodules.batch import Batch
from lightning_modules.errors import InputError
from lightning_modules.recurrent import MOST_UNITS, LSTMStart
from lightning_modules.setting_checks import require_one_of, require_positive, require_whole
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.classifier import (
    ConvolutionalRecurrentClassifier,
    RecurrentClassifier,
    pool_frame_labels,
)
from lightning_modules.weak_labels.labels import LabelSupervision, WeakLabelModule, logits_at_label_rate
from lightning_modules.weak_labels.losses import classification_loss

Architecture = Literal["convolutional", "recurrent"]


class Judgement(TypedDict):
    """A judge's answer in validation and test, and the truth.

    Attributes:
        logits: [B, C, F'].
        frame_labels: at the judge's frame rate, [B, C, F'].
        clip_labels: [B, C].
    """

    logits: Tensor
    frame_labels: Tensor
    clip_labels: Tensor


class EventClassifier(WeakLabelModule):
    """The judge: a sound-event classifier that knows sounds only from mixtures (Pishdadian et al. 2020, section 2.1).

    Args:
        supervision: `frame` labels, or `clip` labels alone.
        classes: sound classes, in the order of the labels.
        sample_rate: in Hz.
        window: of the spectrogram, in samples.
        hop: of the spectrogram, in samples.
        architecture: `convolutional` (convolutions and one LSTM) or `recurrent` (LSTM layers at the full frame rate).
        channels: of the three convolutions.
        units: LSTM units a direction.
        layers: LSTM layers of the recurrent architecture.
        gain: the linear magnitudes are multiplied by it.
        lstm_start: of the LSTM's weights, `open_gate` or `uniform` (BidirectionalLSTM).
        learning_rate: of Adam.
        halve_after: epochs without a better validation loss after which the rate is halved; never unless given.
    """

    def __init__(
        self,
        supervision: LabelSupervision = "frame",
        classes: Sequence[str] = (),
        sample_rate: int = 16000,
        window: int = 512,
        hop: int = 128,
        architecture: Architecture = "convolutional",
        channels: Sequence[int] = (32, 64, 128),
        units: int = 100,
        layers: int = 2,
        gain: float = 1.0,
        lstm_start: LSTMStart = "open_gate",
        learning_rate: float = 1e-4,
        halve_after: int | None = None,
    ) -> None:
        super().__init__(
            classes=classes,
            sample_rate=sample_rate,
            window=window,
            hop=hop,
            learning_rate=learning_rate,
            halve_after=halve_after,
        )
        require_one_of(get_args(LabelSupervision), supervision=supervision)
        require_one_of(get_args(Architecture), architecture=architecture)
        require_positive(gain=gain, learning_rate=learning_rate)
        if not isinstance(channels, list | tuple) or len(channels) != 3:
            raise InputError(f"channels: {channels!r}; three numbers of channels are needed")
        for number in channels:
            require_whole(1, MOST_UNITS, channels=number)
        if architecture == "convolutional" and self.geometry.bins < 8:
            raise InputError(f"window: {window}; a convolutional judge needs one of 14 samples at least")
        classes, channels = list(classes), list(channels)
        self.save_hyperparameters()
        self.supervision = supervision
        self.classifier = self.make_network(
            architecture=architecture, channels=channels, units=units, layers=layers, gain=gain, lstm_start=lstm_start
        )

    def make_network(self, **sizes: Any) -> nn.Module:
        """The classifier. A subclass may give another; `self.hparams` holds the subclass's own settings.

        Args:
            **sizes: the settings `architecture`, `channels`, `units`, `layers`, `gain` and `lstm_start`.

        Returns:
            A module from linear magnitudes, [B, bins, F], to float32 logits, [B, C, F // frame_reduction]. It has the
            attribute `frame_reduction`, and computes the same in training and in evaluation mode, once frozen.
        """
        bins, classes = self.geometry.bins, len(self.classes)
        units, gain, lstm_start = sizes["units"], sizes["gain"], sizes["lstm_start"]
        if sizes["architecture"] == "convolutional":
            return ConvolutionalRecurrentClassifier(bins, classes, sizes["channels"], units, gain, lstm_start)
        return RecurrentClassifier(bins, classes, units, sizes["layers"], gain, lstm_start)

    def identity(self) -> dict[str, Any]:
        """Rate, geometry, classes and supervision."""
        return {**super().identity(), "supervision": self.supervision}

    @property
    def frame_reduction(self) -> int:
        """Spectrogram frames to one frame of the logits."""
        return int(self.classifier.frame_reduction)  # type: ignore[arg-type]  # torch: any attribute may be a module

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits, [B, C, F'], of linear magnitudes, [B, bins, F]."""
        return self.classifier(magnitude)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The classification loss of each mixture, [B]. A subclass may give another."""
        activity, weight = self.targets(batch, self.supervision, self.frame_reduction)
        return classification_loss(logits_at_label_rate(logits, self.supervision), activity, weight)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Mean loss of the batch."""
        logits = self(stft(batch.mixture, self.geometry).abs())
        return self.log_loss(self.loss(logits, batch), batch, "train")

    def validation_step(self, batch: Batch, batch_index: int) -> Judgement:
        """Log the loss; hand the logits to the callbacks."""
        judgement = self.test_step(batch, batch_index)
        self.log_loss(self.loss(judgement["logits"], batch), batch, "validation")
        return judgement

    def test_step(self, batch: Batch, batch_index: int) -> Judgement:
        """Logits and the labels at their rate, for the callbacks that score them."""
        logits = self(stft(batch.mixture, self.geometry).abs())
        frame_labels = pool_frame_labels(batch.frame_labels, self.frame_reduction)
        return Judgement(logits=logits, frame_labels=frame_labels, clip_labels=batch.clip_labels)
