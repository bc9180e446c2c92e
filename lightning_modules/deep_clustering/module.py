"""The LightningModule of deep clustering: one model for mixtures of one domain."""

import math
import warnings
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_modules.autoclip import AutoClip
from lightning_modules.base_module import Interval, SeparatrixModule
from lightning_modules.batch import Batch
from lightning_modules.choices import NetworkCallable, OptimizerCallable, SchedulerCallable, choice, made_of
from lightning_modules.deep_clustering.clustering import loudest, points_at, soft_masks
from lightning_modules.deep_clustering.draws import Stream, uniform_at
from lightning_modules.deep_clustering.k_means import k_means
from lightning_modules.deep_clustering.level_features import InputFloor, LevelStatistics, level, level_features
from lightning_modules.deep_clustering.losses import (
    deep_clustering_loss,
    dominant_source,
    mask_inference_loss,
    whitened_k_means_loss,
)
from lightning_modules.deep_clustering.unit_sigmoid import plain_sigmoid, unit_sigmoid
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.networks.blstm import MOST_UNITS
from lightning_modules.networks.heads import (
    embeddings,
    of_two_heads,
    outputs_of,
    require_every_frame,
    source_masks,
    unit_masks,
)
from lightning_modules.setting_checks import (
    MOST_SOURCES,
    require_between,
    require_names,
    require_one_of,
    require_positive,
    require_whole,
)
from lightning_modules.spectrogram import istft, stft

Loss = Literal["deep_clustering", "whitened_k_means"]
Activation = Literal["unit_sigmoid", "sigmoid"]
Head = Literal["embeddings", "masks", "both"]
SeparateBy = Literal["masks", "clusters"]
LOSSES = {"deep_clustering": deep_clustering_loss, "whitened_k_means": whitened_k_means_loss}
ACTIVATIONS = {"unit_sigmoid": unit_sigmoid, "sigmoid": plain_sigmoid}


class Analysed(NamedTuple):
    """What a network and k-means need of mixtures, N = frames·bins."""

    spectrum: Tensor  # complex, [B, bins, frames]
    features: Tensor  # the network's input, [B, bins, frames]
    magnitude: Tensor  # frame after frame, [B, N]
    loudest: Tensor  # bins that k-means looks at, int64, [B, n]


class Embedded(NamedTuple):
    """Mixtures and the embeddings of their time-frequency bins, frame after frame."""

    spectrum: Tensor  # complex, [B, bins, frames]
    magnitude: Tensor  # [B, N]
    loudest: Tensor  # bins that k-means looks at, int64, [B, n]
    embedding: Tensor  # [B, N, D]
    masks: Tensor | None = None  # of the head of masks, [B, Q, bins, frames]


class Separated(NamedTuple):
    """Estimates, and the clusters of the embeddings, which made them unless a head of masks did."""

    estimates: Tensor  # [B, Q, T]
    centres: Tensor  # float64, [B, Q, D]


class DeepClustering(SeparatrixModule):
    """Deep clustering of one domain's mixtures (Hershey et al. 2016, as in Liu, Seetharaman, Pardo, DCASE 2020).

    With a head of masks in place of the embeddings it is mask inference by permutation-invariant training (Yu et al.
    2017), with both a chimera network (Luo et al. 2017).

    Args:
        domain: what the mixtures are of, such as `speech`; the model's name in a selection.
        sources: in a mixture, Q.
        sample_rate: in Hz.
        window: of the spectrogram, in samples.
        hop: of the spectrogram, in samples.
        dimensions: of the embedding, D.
        head: what the network's outputs are: `embeddings`; `masks`, whose unit vectors take the place of embeddings in
            the confidence; or `both`.
        separate_by: of a network with both heads, `masks` or `clusters` of the embeddings.
        clustering_weight: α of the loss of both heads, α L_DC + (1 - α) L_MI.
        network: from normalised levels, [B, bins, F], to what the heads are made of: for each frame bins·D numbers of
            embeddings, then bins·Q of masks.
        activation: `unit_sigmoid`, embeddings of unit norm, or `sigmoid`, without: an ablation. Distances are then up
            to √(D/2) times as large, and with them the sharpness of masks and the confidence.
        input_floor: `relative` to a mixture's loudest bin, or `absolute`, 10⁻⁸ on its power.
        floor_db: how far below the loudest bin the relative floor lies.
        loss: of embeddings, `deep_clustering` or `whitened_k_means`.
        excerpt_frames: training looks at so many frames of a mixture, from anywhere; at all of them unless given.
        clustered_share: share of the bins, the loudest, that k-means looks at.
        mask_sharpness: β of the masks exp(-β·distance).
        clip_percentile: gradients are clipped to this percentile of their own norms (AutoClip); not unless given.
        optimizer: of the parameters that are to be learnt.
        scheduler: of the optimiser's learning rate; one on a metric follows the validation loss. The rate is halved
            after 5 epochs without a better one.
        scheduler_interval: whether the schedule steps every `epoch` or every optimiser `step`.
    """

    permutation_invariant = True
    of_outputs = ("head", "activation", "input_floor", "floor_db")

    def __init__(
        self,
        domain: str = "speech",
        sources: int = 2,
        sample_rate: int = 16000,
        window: int = 512,
        hop: int = 128,
        dimensions: int = 20,
        head: Head = "embeddings",
        separate_by: SeparateBy = "masks",
        clustering_weight: float = 0.5,
        network: NetworkCallable = choice(BLSTM, units=300, layers=2, dropout=0.3, output_init_scale=8.0),
        activation: Activation = "unit_sigmoid",
        input_floor: InputFloor = "relative",
        floor_db: float = 80.0,
        loss: Loss = "deep_clustering",
        excerpt_frames: int | None = 400,
        clustered_share: float = 0.1,
        mask_sharpness: float = 5.0,
        clip_percentile: float | None = 10.0,
        optimizer: OptimizerCallable = choice(torch.optim.Adam, lr=2e-4),
        # Torch halves after one epoch more than its patience.
        scheduler: SchedulerCallable | None = choice(ReduceLROnPlateau, factor=0.5, patience=4),
        scheduler_interval: Interval = "epoch",
    ) -> None:
        super().__init__(sample_rate, window, hop, optimizer, scheduler, scheduler_interval)
        require_names("domain", [domain])
        require_one_of(tuple(LOSSES), loss=loss)
        require_one_of(tuple(ACTIVATIONS), activation=activation)
        require_one_of(get_args(InputFloor), input_floor=input_floor)
        require_one_of(get_args(Head), head=head)
        require_one_of(get_args(SeparateBy), separate_by=separate_by)
        require_between(0, 1, clustering_weight=clustering_weight)
        require_whole(2, MOST_SOURCES, sources=sources)
        require_whole(1, MOST_UNITS, dimensions=dimensions)
        if excerpt_frames is not None:
            require_whole(1, 1_000_000, excerpt_frames=excerpt_frames)
        require_positive(clustered_share=clustered_share, mask_sharpness=mask_sharpness, floor_db=floor_db)
        require_between(0, 1, clustered_share=clustered_share)
        require_between(0, 300, floor_db=floor_db)
        if clip_percentile is not None:
            require_between(0, 100, clip_percentile=clip_percentile)
        self.save_hyperparameters()
        self.domain = domain
        self.sources = sources
        self.activation = activation
        self.input_floor: InputFloor = input_floor
        self.floor_db = floor_db
        self.loss_function = LOSSES[loss]
        self.excerpt_frames = excerpt_frames
        self.clustered_share = clustered_share
        self.mask_sharpness = mask_sharpness
        self.autoclip = None if clip_percentile is None else AutoClip(clip_percentile)
        self.dimensions = dimensions
        self.head = head
        self.by_masks = head == "masks" or (head == "both" and separate_by == "masks")
        self.clustering_weight = clustering_weight
        if separate_by == "clusters":
            self.require_embeddings("separate_by: clusters")
        if head == "masks" and type(self).loss is not DeepClustering.loss:
            raise InputError(
                f"{type(self).__name__}: its own `loss` is of embeddings, which head: masks has none of; "
                f"`mask_loss` is that of masks"
            )
        bins = self.geometry.bins
        numbers = {"embeddings": dimensions, "masks": sources, "both": dimensions + sources}
        self._outputs = bins * numbers[head]
        self.network = made_of(network, nn.Module)(bins, self._outputs)
        require_every_frame(self.network)

    @property
    def classes(self) -> list[str]:
        """Names of the sources, in the order of the truth's."""
        return [f"source_{number}" for number in range(1, self.sources + 1)]

    def signature(self) -> dict[str, Any]:
        """Rate, geometry, domain and number of sources."""
        return {**super().signature(), "domain": self.domain, "sources": self.sources}

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and not getattr(data, "train_sources", True):
            raise InputError("train_sources: false; deep clustering learns from isolated sources: leave them in")

    def require_embeddings(self, asked: str) -> None:
        """Raise InputError where the network has no embeddings, whose clusters may be of any number."""
        if self.head == "masks":
            lacking = f"the {self.domain} model has masks of {self.sources} sources and no embeddings"
            raise InputError(f"{asked}; {lacking}, whose clusters may be of any number")

    @property
    def input_settings(self) -> tuple[Any, ...]:
        """What decides how `analyse` takes a mixture: the same of models that agree in it."""
        # A subclass's own way may go by settings of its own.
        ways = {type(self).analyse, type(self).input_features}
        own = () if ways == {DeepClustering.analyse, DeepClustering.input_features} else (self,)
        return self.geometry, self.input_floor, self.floor_db, self.clustered_share, *own

    def input_statistics(self, magnitude: Tensor) -> LevelStatistics:
        """What normalises the features of a mixture's parts, from the magnitude of the whole, [B, bins, F]."""
        loudest = magnitude.amax((1, 2), keepdim=True)
        levels = level(magnitude, loudest, self.input_floor, self.floor_db)
        return LevelStatistics(loudest, *torch.std_mean(levels, (1, 2), keepdim=True))

    def input_features(self, magnitude: Tensor, statistics: LevelStatistics | None = None) -> Tensor:
        """The network's input, [B, bins, F], of a mixture's magnitude, or of a part with the whole's statistics."""
        return level_features(magnitude, self.input_floor, self.floor_db, statistics)

    def analyse(self, mixture: Tensor) -> Analysed:
        """What the network and k-means need of mixtures, [B, T]."""
        spectrum = stft(mixture, self.geometry)
        magnitude = spectrum.abs()
        features = self.input_features(magnitude)
        magnitude = magnitude.mT.flatten(1)
        return Analysed(spectrum, features, magnitude, loudest(magnitude, self.clustered_share))

    def embed(self, mixture: Tensor) -> Embedded:
        """The embeddings of mixtures, [B, T]."""
        return self.embed_analysed(self.analyse(mixture))

    def embed_analysed(self, analysed: Analysed) -> Embedded:
        """The embeddings of mixtures that this model, or one of the same `input_settings`, has analysed."""
        return Embedded(analysed.spectrum, analysed.magnitude, analysed.loudest, *self.heads(analysed.features))

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Embeddings of all bins, frame after frame, [B, N, D], and masks, [B, Q, bins, F], if any: of [B, bins, F].

        Float32. Without a head of embeddings the unit vectors of the masks, D = Q.
        """
        outputs, masks = outputs_of(self.network, features, self._outputs), None
        if self.head == "both":
            outputs, of_masks = of_two_heads(outputs, self.dimensions, self.sources)
            masks = source_masks(of_masks, self.sources)
        elif self.head == "masks":
            masks = source_masks(outputs, self.sources)
            return unit_masks(masks), masks
        return embeddings(outputs, self.dimensions, ACTIVATIONS[self.activation]), masks

    def source_magnitudes(self, sources: Tensor) -> Tensor:
        """Magnitudes of the true sources in the same order of bins: [B, Q, T] -> [B, Q, N]."""
        return stft(sources, self.geometry).abs().mT.flatten(2)

    def cluster(self, embedded: Embedded, mixture_ids: Tensor, sources: int | None = None) -> Tensor:
        """Centres of the clusters of the loudest bins, float64, [B, Q, D] (Liu et al. 2020, section 2).

        As many as the model has `sources`, unless another number is given.
        """
        with torch.autocast(mixture_ids.device.type, enabled=False):
            valid = embedded.magnitude.gather(1, embedded.loudest) > 0
            points = points_at(embedded.embedding, embedded.loudest)
            return k_means(points, sources or self.sources, mixture_ids, valid).centres

    def masks(self, embedding: Tensor, centres: Tensor, of_head: Tensor | None = None) -> Tensor:
        """Soft masks of all bins, [B, Q, bins, F], from embeddings, [B, N, D], and cluster centres, [B, Q, D].

        Those `of_head`, where the head of masks separates.
        """
        if of_head is not None and self.by_masks:
            return of_head
        with torch.autocast(embedding.device.type, enabled=False):
            return soft_masks(embedding, centres, self.mask_sharpness).unflatten(-1, (-1, self.geometry.bins)).mT

    def separate(self, embedded: Embedded, mixture_ids: Tensor, samples: int, sources: int | None = None) -> Separated:
        """Cluster the loudest bins, mask all of them; `samples` is the estimates' length.

        Where a number of `sources` is given, the masks are those of so many clusters.
        """
        centres = self.cluster(embedded, mixture_ids, sources)
        masks = self.masks(embedded.embedding, centres, embedded.masks if sources is None else None)
        return Separated(istft(masks * embedded.spectrum.unsqueeze(1), self.geometry, samples), centres)

    def forward(self, mixture: Tensor, mixture_ids: Tensor | None = None) -> Tensor:
        """Estimates of the sources in any order: [B, T] -> [B, Q, T].

        Args:
            mixture: samples.
            mixture_ids: of each mixture, int64, [B]; it decides where k-means starts. The same for all unless given.
        """
        if mixture_ids is None:
            mixture_ids = torch.zeros(len(mixture), dtype=torch.int64, device=mixture.device)
        return self.separate(self.embed(mixture), mixture_ids, mixture.shape[-1]).estimates

    def loss(self, embedding: Tensor, magnitude: Tensor, source_magnitudes: Tensor) -> Tensor:
        """The loss of the embeddings of each mixture, [B]. A subclass may give another.

        Args:
            embedding: [B, N, D].
            magnitude: of the mixture, [B, N]: the weights.
            source_magnitudes: [B, Q, N].
        """
        return self.loss_function(embedding, dominant_source(source_magnitudes), magnitude)

    def mask_loss(self, masks: Tensor, magnitude: Tensor, source_magnitudes: Tensor) -> Tensor:
        """The loss of each mixture's masks, [B]: of [B, Q, N], and as above. A subclass may give another."""
        return mask_inference_loss(masks, magnitude, source_magnitudes)

    def _loss_of_heads(
        self, embedding: Tensor, masks: Tensor | None, magnitude: Tensor, source_magnitudes: Tensor
    ) -> Tensor:
        if masks is None:
            return self.loss(embedding, magnitude, source_magnitudes)
        with torch.autocast(magnitude.device.type, enabled=False):
            of_masks = self.mask_loss(masks.mT.flatten(2), magnitude, source_magnitudes)
        if self.head == "masks":
            return of_masks
        weight = self.clustering_weight
        return weight * self.loss(embedding, magnitude, source_magnitudes) + (1 - weight) * of_masks

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        magnitude = stft(batch.mixture, self.geometry).abs()
        features = self.input_features(magnitude)
        sources = stft(batch.sources, self.geometry).abs()
        # Features before the cut: an excerpt that falls into silence looks as it does within its mixture.
        features, magnitude, sources = self._excerpt(batch.indices, features, magnitude, sources)
        losses = self._loss_of_heads(*self.heads(features), magnitude.mT.flatten(1), sources.mT.flatten(2))
        return self.log_loss(losses, batch, "train")

    def _excerpt(self, indices: Tensor, *spectrograms: Tensor) -> list[Tensor]:
        """The same frames of every spectrogram, [B, ..., bins, frames]: a function of seed, mixture and epoch."""
        frames = spectrograms[0].shape[-1]
        length = min(self.excerpt_frames or frames, frames)
        epoch = torch.full_like(indices, self.current_epoch).unsqueeze(-1)
        drawn = uniform_at(indices + (self.data_seed << 32), epoch, Stream.EXCERPTS)
        start = (drawn * (frames - length + 1)).long()
        chosen = start + torch.arange(length, device=indices.device)
        # Whole frames, which lie one after the other in memory.
        mixture = torch.arange(len(indices), device=indices.device).unsqueeze(-1)
        return [spectrogram.movedim(-1, 1)[mixture, chosen].movedim(1, -1) for spectrogram in spectrograms]

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Log the loss of whole mixtures; hand the estimates, [B, Q, T], to the callbacks."""
        embedded = self.embed(batch.mixture)
        sources = self.source_magnitudes(batch.sources)
        losses = self._loss_of_heads(embedded.embedding, embedded.masks, embedded.magnitude, sources)
        self.log_loss(losses, batch, "validation")
        return self.separate(embedded, batch.indices, batch.mixture.shape[-1]).estimates

    def test_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Estimates, [B, Q, T]."""
        return self(batch.mixture, batch.indices)

    predict_step = test_step

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if self.autoclip is not None:
            scales = getattr(self.trainer.precision_plugin, "scaler", None) is not None
            if scales and getattr(optimizer, "_step_supports_amp_scaling", False):
                raise InputError("clip_percentile: gradients of 16-mixed stay scaled for a fused optimiser; unfuse it")
            norm = self.autoclip(self.parameters())
            if not scales and not math.isfinite(norm):  # a scaler of 16-mixed tries scales that are too large
                told = f"step {self.global_step}: the gradient is {norm}; the step is left out"
                warnings.warn(told, stacklevel=2)
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.autoclip is not None:
            checkpoint["autoclip"] = self.autoclip.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.autoclip is not None and "autoclip" in checkpoint:
            self.autoclip.load_state_dict(checkpoint["autoclip"])
