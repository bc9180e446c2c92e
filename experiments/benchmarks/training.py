"""Whole training steps of both systems, against the networks and the published losses alone."""

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor, nn

from datamodules.mixtures import MixtureDataModule
from datamodules.source_pairs import SourcePairs
from datamodules.urban_scenes import UrbanScenes
from experiments.benchmarks import published
from experiments.benchmarks.comparison import Comparison, Timed, clock
from experiments.benchmarks.data import noise_mixtures
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.level_features import level_features
from lightning_modules.deep_clustering.losses import dominant_source
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import CRNN
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import Supervision, WeakLabelSeparator

SIZES: dict[str, Any] = {}  # `network`, where it is not to be the published one
CLASSIFIER: dict[str, Any] = {}  # settings of the CRNN that are not to be the published ones
PAIRS, SCENES = 8, 2  # mixtures a step
STEPS, GPU_STEPS = 2, 20
PLAIN = "networks and published loss in plain torch, batches ready; backward and Adam included"

System = DeepClustering | WeakLabelSeparator
Loss = Callable[[nn.Module, Batch], Tensor]


def benchmark_training(device: torch.device) -> Iterator[Comparison]:
    """Steps from mixtures that are yet to be rendered."""
    for step, module, data in _systems(device):
        clipping = " and AutoClip" if isinstance(module, DeepClustering) else ""
        work, ours = f"{step} of 4 s, with loading{clipping}", partial(train, module, data, device)
        batches = [Batch(*(field.to(device) for field in batch)) for batch in data.train_dataloader()]
        untrained = copy.deepcopy(module).to(device)
        for name, loss, wanted in _alternatives(module):
            _require_same_step(untrained, loss, batches[0])
            plain = partial(train_plainly, copy.deepcopy(untrained.network), loss, batches, device)
            yield Comparison(work, ours, plain, name, (len(batches) - 1) * data.batch_size, wanted=wanted, runs=3)


def train(module: SeparatrixModule, data: MixtureDataModule, device: torch.device, **settings: Any) -> Timed:
    """An epoch as `separatrix fit` trains: loading counts, starting and the first step do not."""
    times: list[float] = []
    steps = data.mixtures["train"] // data.batch_size

    def look(trainer: Trainer, *_: Any) -> None:
        if trainer.global_step in (1, steps):
            times.append(clock(device))

    trainer = quiet_trainer(device, LambdaCallback(on_train_batch_end=look), max_steps=steps, **settings)
    with warnings.catch_warnings(action="ignore"):
        trainer.fit(module, data)
    return Timed(times[1] - times[0])


def train_plainly(network: nn.Module, loss: Loss, batches: Sequence[Batch], device: torch.device) -> Timed:
    """Adam's steps on batches that are there already; the first does not count."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    for step, batch in enumerate(batches):
        if step == 1:
            begun = clock(device)
        optimizer.zero_grad()
        loss(network, batch).mean().backward()
        optimizer.step()
    return Timed(clock(device) - begun)


def quiet_trainer(device: torch.device, *callbacks: Any, **settings: Any) -> Trainer:
    """A trainer on one device that neither prints, nor saves, nor validates."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "use_distributed_sampler")
    settings |= dict.fromkeys(off, False) | {"limit_val_batches": 0}
    return Trainer(accelerator=device.type, devices=1, callbacks=list(callbacks), **settings)


def checkpoint(module: SeparatrixModule, path: str) -> str:
    """Write a checkpoint of an untrained module; its path."""
    trainer = quiet_trainer(torch.device("cpu"))
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


def _systems(device: torch.device) -> Iterator[tuple[str, System, MixtureDataModule]]:
    """Names of training steps, untrained modules and an epoch of mixtures."""
    steps = 1 + (GPU_STEPS if device.type == "cuda" else STEPS)  # the first is not timed
    with noise_mixtures(SourcePairs, steps * PAIRS, domain="noise", duration=4, batch_size=PAIRS) as pairs:
        module = DeepClustering("noise", excerpt_frames=None, **SIZES)
        yield f"deep clustering training step, {PAIRS} mixtures", module, pairs
    supervisions: tuple[Supervision, ...] = ("frame", "strong")
    for labels in supervisions:
        with_sources = labels == "strong"
        with noise_mixtures(UrbanScenes, steps * SCENES, batch_size=SCENES, train_sources=with_sources) as scenes:
            work = f"weak-label training step, {labels} labels, {SCENES} mixtures"
            separator = WeakLabelSeparator(labels, classes=scenes.classes, **SIZES)
            separator.prior.copy_(scenes.class_prior())
            if labels == "frame":
                crnn = partial(CRNN, **CLASSIFIER)
                separator.classifier = EventClassifier(labels, classes=scenes.classes, network=crnn)
                separator.classifier.requires_grad_(False)
            yield work, separator, scenes


def _alternatives(module: System) -> Iterator[tuple[str, Loss, float]]:
    """Their names, their losses, [B], of a network and a batch, and how many times as fast ours is to be."""
    if isinstance(module, WeakLabelSeparator):
        plain = copy.deepcopy(module)
        if isinstance(plain.classifier, EventClassifier):
            plain.classifier.network = published.classifier(plain.classifier.network)

        def weak_label_loss(network: nn.Module, batch: Batch) -> Tensor:
            magnitude = stft(batch.mixture, module.geometry).abs()
            masks = published.masks(network, magnitude, len(plain.classes))
            return plain.to(magnitude.device).loss(magnitude, masks, batch)

        yield PLAIN, weak_label_loss, 1 / 1.15
        return

    def affinity_loss(loss: Callable[..., Tensor], network: nn.Module, batch: Batch) -> Tensor:
        magnitude, sources = (stft(signal, module.geometry).abs() for signal in (batch.mixture, batch.sources))
        dominant = dominant_source(sources.mT.flatten(2)).mT.float()
        return loss(published.embeddings(network, level_features(magnitude)), dominant, magnitude.mT.flatten(1))

    nussl, plain_torch = (
        partial(affinity_loss, loss) for loss in (published.three_products, published.one_gram_matrix)
    )
    yield "the same with nussl's operations for the loss", nussl, 1.2
    yield PLAIN, plain_torch, 1 / 1.15


def _require_same_step(module: System, loss: Loss, batch: Batch) -> None:
    """The mean losses are the same, and so are all gradients."""
    module.eval()  # without dropout
    with warnings.catch_warnings(action="ignore"):  # there is no trainer to log to
        ours, theirs = module.training_step(batch, 0), loss(module.network, batch).mean()
    rounding = 1e-3 if theirs.is_cpu else 1e-2  # TF32
    torch.testing.assert_close(ours, theirs, rtol=rounding, atol=1e-5)
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    for mine, other in zip(*(torch.autograd.grad(value, weights) for value in (ours, theirs)), strict=True):
        # Not element by element: where rounding decides which of two maxima is the larger, a gradient goes elsewhere.
        assert (mine - other).norm() < 10 * rounding * other.norm()
    module.train()
