"""The LightningModule of the separator, which learns from a frozen classifier of its estimates."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lightning_modules.base_module import Interval
from lightning_modules.batch import Batch
from lightning_modules.batch_invariance import product
from lightning_modules.choices import NetworkCallable, OptimizerCallable, SchedulerCallable, choice, made_of
from lightning_modules.errors import InputError
from lightning_modules.exported_model import weights_digest
from lightning_modules.networks import BLSTM
from lightning_modules.networks.heads import (
    MaskActivation,
    MaskKind,
    class_masks,
    mask_maps,
    outputs_of,
    require_every_frame,
)
from lightning_modules.setting_checks import (
    require_agreement,
    require_between,
    require_one_of,
    require_positive,
    require_whole,
)
from lightning_modules.spectrogram import istft, log_magnitude, stft
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.external_classifier import SETTINGS, ExternalClassifier, frozen
from lightning_modules.weak_labels.labels import WeakLabelModule, logits_at_label_rate
from lightning_modules.weak_labels.losses import (
    estimate_classification_loss,
    loud_frames,
    mixture_loss,
    truncated_source_loss,
    truncated_sources,
)

InputNormalisation = Literal["none", "mixture"]
Supervision = Literal["strong", "frame", "clip"]
CLASSIFIER_DIGEST = "classifier_sha256"  # entry of a checkpoint
JOINT_SETTINGS = ("network", "gain", "mel_bands", "root", "delta")


class WeakLabelSeparator(WeakLabelModule):
    """A separator that learns from isolated sources, or from a frozen classifier of its estimates, the `classifier`.

    L = classification · Σ_i L_class(Ŝ_i) + α · L_mix for weak labels (Pishdadian et al. 2020, eqs. 2-6); the weighted
    error of the truncated sources, times `strong_scale`, for isolated sources.

    Args:
        supervision: `strong` (isolated sources), `frame` labels or `clip` labels.
        classifier: checkpoint of an EventClassifier trained with the same labels; frozen. Needed for weak labels. In a
            path such as `runs/classifier_{supervision}/checkpoints/best.ckpt` the supervision is filled in.
        external_classifier: instead of `classifier`, for clip labels, settings of an ExternalClassifier: a `program` of
            torch.export or the class of a `module`, and which of its outputs stand for our `classes`.
        joint_classifier: instead of `classifier`, settings of an EventClassifier (`network` and features) that is
            trained together with the separator from scratch, an ablation: the two co-adapt and separation degrades.
        classes: sound classes, in the order of sources and labels.
        hierarchy: parents of the classes. A parent's estimate is the sum of its children's; it is what the loss speaks
            of where a mixture is labelled no finer.
        sample_rate: in Hz.
        window: of the spectrogram, in samples.
        hop: of the spectrogram, in samples.
        network: from log-magnitudes, [B, bins, F], to the logits of the masks, C·bins numbers a frame.
        mask: kind of masks. `magnitude`, in [0, 1], learns |S|/|X| from isolated sources, as published;
            `phase_sensitive`, in [0, 1] too, Re(S/X) (Erdogan et al. 2015); weak labels teach both the same. `complex`
            masks also have an imaginary part, in [-1, 1] (Williamson et al. 2016), from another C·bins numbers a frame:
            estimates have phases of their own. A classifier gets magnitudes.
        mask_activation: `sigmoid`, a mask of each class by itself, as published; or `softmax` over the classes and a
            residual that is dropped, (C + 1)·bins numbers a frame: of masks that share a bin out, not all can close.
        mask_floor: lowest value of a mask, or of its real part, in place of 0: a class that the network misses is then
            the mixture, quieter, rather than whatever leaks, and a classifier gets it.
        residual: whether what the estimates leave of the mixture is learnt, too: from the sounds of no class among the
            sources, or by weak labels, so that a classifier finds no class in it. For `mask_activation: softmax`.
        residual_weight: ρ, price of the residual in the mixture loss of weak labels, which would rather have a sound in
            class i than in the residual where i is labelled more than 1 - ρ/2 of the times that it sounds; 1 makes it
            the published loss.
        epsilon: floor of the separator's logarithmic input.
        input_normalisation: of that input: `none`, or to mean 0 and variance 1 over each `mixture`.
        alpha: weight α of the mixture loss; 0 leaves classification alone.
        classification: weight of the classifier's loss; 0 leaves the mixture loss alone.
        classified_estimates: number of a training mixture's estimates, drawn anew in each step, that the classifier
            scores; all unless given. Their loss is scaled up, so that its expectation is that of all.
        strong_scale: factor of the strong loss; at these magnitudes the bare one has gradients near Adam's epsilon.
        quiet_frames: frames below this share of the mixture's loudest one are left out of the spectral losses.
        optimizer: of the parameters that are to be learnt.
        scheduler: of the optimiser's learning rate; one on a metric follows the validation loss.
        scheduler_interval: whether the schedule steps every `epoch` or every optimiser `step`.
    """

    related: Tensor  # of the tree's nodes, where the losses are
    of_outputs = ("mask", "mask_activation", "mask_floor", "epsilon", "input_normalisation")
    replaceable = frozenset({"classifier", "external_classifier.program", "external_classifier.module"})

    def __init__(
        self,
        supervision: Supervision = "strong",
        classifier: str | None = None,
        external_classifier: dict[str, Any] | None = None,
        joint_classifier: dict[str, Any] | None = None,
        classes: Sequence[str] = (),
        sample_rate: int = 16000,
        window: int = 512,
        hop: int = 128,
        network: NetworkCallable = choice(BLSTM, units=600, layers=3),
        mask: MaskKind = "magnitude",
        mask_activation: MaskActivation = "sigmoid",
        mask_floor: float = 0.0,
        residual: bool = False,
        residual_weight: float = 1.0,
        epsilon: float = 1e-8,
        input_normalisation: InputNormalisation = "none",
        alpha: float = 100.0,
        classification: float = 1.0,
        classified_estimates: int | None = None,
        strong_scale: float = 4.0,
        quiet_frames: float = 0.01,
        optimizer: OptimizerCallable = choice(torch.optim.Adam, lr=1e-4),
        scheduler: SchedulerCallable | None = None,
        scheduler_interval: Interval = "epoch",
        hierarchy: dict[str, Any] | None = None,
    ) -> None:
        geometry: dict[str, Any] = {"sample_rate": sample_rate, "window": window, "hop": hop}
        schedule: dict[str, Any] = {"scheduler": scheduler, "scheduler_interval": scheduler_interval}
        super().__init__(classes=classes, hierarchy=hierarchy, **geometry, optimizer=optimizer, **schedule)
        require_one_of(get_args(Supervision), supervision=supervision)
        require_one_of(get_args(InputNormalisation), input_normalisation=input_normalisation)
        require_one_of(get_args(MaskKind), mask=mask)
        require_one_of(get_args(MaskActivation), mask_activation=mask_activation)
        require_positive(epsilon=epsilon, strong_scale=strong_scale)
        require_between(0, 1e9, alpha=alpha, classification=classification)
        require_between(0, 1, quiet_frames=quiet_frames, residual_weight=residual_weight)
        if residual and mask_activation != "softmax":
            raise InputError(
                f"residual: masks of a {mask_activation} leave it no share; set mask_activation to softmax"
            )
        classes = list(classes)
        # The residual has a floor, too: all shares of a bin add up to 1.
        floors = len(classes) + 1 if residual else 1
        require_between(0, 1 / floors, mask_floor=mask_floor)
        if classified_estimates is not None:
            require_whole(1, len(self.tree.names) + residual, classified_estimates=classified_estimates)
        self.save_hyperparameters()
        self.supervision = supervision
        self.classifier_checkpoint = classifier and str(classifier).replace("{supervision}", supervision)
        self.alpha = alpha
        self.classification = classification
        self.strong_scale = strong_scale
        self.quiet_frames = quiet_frames
        self.epsilon = epsilon
        self.input_normalisation = input_normalisation
        self.mask_kind = mask
        self.mask_activation = mask_activation
        self.mask_floor = mask_floor
        self.above_floors = 1 - floors * mask_floor
        self.residual = residual
        self.residual_weight = residual_weight
        self.classified_estimates = classified_estimates
        bins = self.geometry.bins
        self.register_buffer("related", self.tree.related, persistent=False)
        self._outputs = mask_maps(len(classes), mask_activation, mask) * bins
        self.network = made_of(network, nn.Module)(bins, self._outputs)
        require_every_frame(self.network)
        self.joint = joint_classifier is not None
        self.classifier: EventClassifier | ExternalClassifier | None = None
        self._classifier_digest: str | None = None  # digest of the frozen classifier
        if not self.joint:
            self.register_state_dict_post_hook(_without_classifier)
            self.register_load_state_dict_pre_hook(_with_own_classifier)
        if supervision == "strong":
            return
        external, joint = external_classifier, joint_classifier
        given = {"classifier": classifier, "external_classifier": external, "joint_classifier": joint}
        if len(named := [name for name, value in given.items() if value is not None]) > 1:
            raise InputError(f"{' and '.join(named)}: give only one of them")
        if joint is not None:
            _require_known(joint, JOINT_SETTINGS, "joint_classifier")
            self.classifier = EventClassifier(supervision, classes, hierarchy=hierarchy, **geometry, **joint)
        if external is not None:
            if supervision != "clip":
                raise InputError(f"external_classifier: is for clip labels, not for {supervision} labels; give another")
            _require_known(external, SETTINGS, "external_classifier")
            self.classifier = ExternalClassifier(self.geometry, self.tree.names, **external)

    def signature(self) -> dict[str, Any]:
        return {**super().signature(), "supervision": self.supervision, "residual": self.residual}

    def setup(self, stage: str) -> None:
        """Check the data, take the class prior, and load the classifier where a loss needs it."""
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and self.supervision == "strong" and not getattr(data, "train_sources", True):
            raise InputError("train_sources: false; strong supervision learns from isolated sources, set it to true")
        if stage in ("fit", "validate") and self._uses_classifier:
            if self.classifier is None:
                if (path := self.classifier_checkpoint) is None:
                    needed = f"one trained with {self.supervision} labels: a checkpoint, or an included one"
                    raise InputError(f"classifier: {self.supervision} supervision needs {needed}")
                classifier = load_module(path, EventClassifier)
                require_agreement(self.signature(), classifier.signature(), path, by="the separator")
                self.classifier = frozen(classifier).to(self.device)
            elif isinstance(self.classifier, ExternalClassifier):
                self.classifier.load(self.trainer.strategy.root_device)
            self._classifier_digest = None if self.joint else weights_digest(self.classifier.state_dict())
        if isinstance(self.classifier, EventClassifier) and self.joint:
            self.classifier.prior.copy_(self.prior)

    def input_features(self, magnitude: Tensor) -> Tensor:
        """Logarithms of magnitudes, above the floor, before any normalisation, [B, bins, F]."""
        return log_magnitude(magnitude, self.epsilon)

    def input_statistics(self, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """Deviation and mean of the features, [B, 1, 1] each, from mixtures' magnitudes, [B, bins, F]."""
        return torch.std_mean(self.input_features(magnitude), dim=(1, 2), keepdim=True)

    def masks(self, magnitude: Tensor, deviation_and_mean: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Masks of every class, float32 or complex64, [B, C, bins, F], from mixtures' magnitudes, [B, bins, F].

        `mixture` normalisation of a part of a mixture takes `input_statistics` of the whole.
        """
        features = self.input_features(magnitude)
        if self.input_normalisation == "mixture":
            deviation, mean = deviation_and_mean or torch.std_mean(features, dim=(1, 2), keepdim=True)
            features = (features - mean) / deviation.clamp_min(1e-3)
        outputs = outputs_of(self.network, features, self._outputs)
        masks = class_masks(outputs, len(self.classes), self.mask_activation, self.mask_kind)
        if not self.mask_floor:
            return masks
        if masks.is_complex():
            return torch.complex(self.mask_floor + self.above_floors * masks.real, masks.imag)
        return self.mask_floor + self.above_floors * masks

    def forward(self, mixture: Tensor) -> Tensor:
        """Estimated sources, [B, C, T], of mixtures, [B, T]: each mask times the mixture's spectrum."""
        spectrum = stft(mixture, self.geometry)
        return self._resynthesise(spectrum, self.masks(spectrum.abs()), mixture.shape[-1])

    def _resynthesise(self, spectrum: Tensor, masks: Tensor, samples: int) -> Tensor:
        return istft(product(masks, spectrum.unsqueeze(1)), self.geometry, samples)

    def loss(self, magnitude: Tensor, masks: Tensor, batch: Batch) -> Tensor:
        """The loss of each mixture, [B], under this module's supervision. A subclass may give another.

        Args:
            magnitude: of the mixture, [B, bins, F].
            masks: [B, C, bins, F].
            batch: the labels, and for strong supervision the sources.
        """
        if self.residual:
            rest = 1 - masks.sum(1, keepdim=True)
            masks = torch.cat((masks, rest if masks.is_complex() else rest.clamp_min(0)), 1)
        estimates = masks * magnitude.unsqueeze(1)
        # The classifier may run in reduced precision, the losses never.
        of_estimates = of_mixture = drawn = None
        if self.classifier is not None and self._uses_classifier:
            if isinstance(self.classifier, ExternalClassifier) and self.classifier.takes == "waveform":
                spectrum, of_nodes = stft(batch.mixture, self.geometry), self.tree.sums(masks)
                given = self._resynthesise(spectrum, of_nodes, batch.mixture.shape[-1])
            else:
                given = self.tree.sums(estimates)
                given = given.abs() if given.is_complex() else given
            if self.training and self.classified_estimates is not None:
                order = torch.rand(given.shape[:2], device=estimates.device).argsort(1)
                drawn = order[:, : self.classified_estimates]
                given = given.take_along_dim(drawn.view(*drawn.shape, *[1] * (given.ndim - 2)), 1)
            of_estimates = self.classifier(given.flatten(0, 1)).unflatten(0, given.shape[:2])
        if isinstance(self.classifier, EventClassifier) and self.joint:
            of_mixture = self.classifier(magnitude)
        with torch.autocast(magnitude.device.type, enabled=False):
            kept = loud_frames(magnitude, self.quiet_frames)
            if self.supervision == "strong":
                mixture = magnitude if self.mask_kind == "magnitude" else stft(batch.mixture, self.geometry)
                # Mixtures may have no sounds of no class; a weight of 2 is the mean of each class's over frames.
                sources = pad(batch.sources, (0, 0, 0, int(self.residual)))[:, : masks.shape[1]]
                sources = truncated_sources(self.mask_kind, mixture, stft(self.tree.sums(sources), self.geometry))
                _, weight = self.targets(batch, "frame", 1)
                if self.tree.parents:
                    weight, masks = weight * self.tree.lowest(batch.frame_labels), self.tree.sums(masks)
                weight = pad(weight, (0, 0, 0, int(self.residual)), value=2.0)
                return self.strong_scale * truncated_source_loss(magnitude, sources, masks, weight, kept)
            active = self.tree.of_leaves(batch.frame_labels)
            if self.supervision == "clip":
                active = self.tree.of_leaves(batch.clip_labels).unsqueeze(-1).expand_as(active)
            loss = self.alpha * mixture_loss(magnitude, estimates, active, kept, self.residual_weight)
            if self.classifier is not None and of_estimates is not None:
                activity, weight = self.targets(batch, self.supervision, self.classifier.frame_reduction)
                logits = logits_at_label_rate(of_estimates, self.supervision)
                related = self.related
                on_estimates = estimate_classification_loss(logits, activity, weight, drawn, self.residual, related)
                loss = loss + self.classification * on_estimates
            if isinstance(self.classifier, EventClassifier) and of_mixture is not None:
                loss = loss + self.classifier.loss(of_mixture, batch)
        return loss

    @property
    def _uses_classifier(self) -> bool:
        return self.supervision != "strong" and self.classification > 0

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        magnitude = stft(batch.mixture, self.geometry).abs()
        return self.log_loss(self.loss(magnitude, self.masks(magnitude), batch), batch, "train")

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Log the loss that stopping and checkpoints follow; hand the estimates [B, C, T] to the callbacks."""
        spectrum = stft(batch.mixture, self.geometry)
        magnitude = spectrum.abs()
        masks = self.masks(magnitude)
        self.log_loss(self.loss(magnitude, masks, batch), batch, "validation")
        return self._resynthesise(spectrum, masks, batch.mixture.shape[-1])

    def test_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Estimates, [B, C, T], for the callbacks that score them."""
        return self(batch.mixture)

    predict_step = test_step

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note which frozen classifier the losses are of."""
        super().on_save_checkpoint(checkpoint)
        if self._classifier_digest is not None:
            checkpoint[CLASSIFIER_DIGEST] = self._classifier_digest

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check the checkpoint, and that a training goes on with the classifier that it began with."""
        super().on_load_checkpoint(checkpoint)
        digest = self._classifier_digest
        if digest is not None and checkpoint.get(CLASSIFIER_DIGEST, digest) != digest:
            raise InputError("classifier: not the one that the training began with; go on with that, or train anew")


def _without_classifier(module: nn.Module, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Leave a frozen classifier out of a separator's weights: its own file holds it."""
    for name in [name for name in weights if name.startswith(f"{prefix}classifier.")]:
        del weights[name]


def _with_own_classifier(separator: "WeakLabelSeparator", weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """A separator that takes weights keeps its frozen classifier."""
    if separator.classifier is not None:
        own = separator.classifier.state_dict()
        weights.update({f"{prefix}classifier.{name}": value for name, value in own.items()})


def _require_known(settings: dict[str, Any], known: Sequence[str], name: str) -> None:
    if unknown := settings.keys() - {*known}:
        raise InputError(f"{name}: no setting {', '.join(sorted(unknown))}; it has {', '.join(known)}")
