"""Whole training steps of both systems, against the networks and the published losses alone."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from datamodules.mixtures import MixtureDataModule
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.noise_corpus import pairs, scenes
from experiments.benchmarks.published import (
    PublishedEmbeddingNetwork,
    PublishedJudge,
    PublishedSeparator,
    frame_label_loss,
    one_gram_matrix,
    strong_loss,
    three_products,
)
from experiments.benchmarks.trainer import train, train_plainly
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.level_features import level_features
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM, CRNN
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import Supervision, WeakLabelSeparator

SIZES: dict[str, Any] = {}  # `network`, where it is not to be the published one
CHANNELS = (32, 64, 128)  # of the judge
PAIRS, SCENES = 8, 2  # mixtures a step
STEPS, GPU_STEPS = 2, 20
RUNS = 3
PLAIN = "networks and published loss in plain torch, spectrograms ready; backward and Adam included"


class Plain(NamedTuple):
    """The alternative to a module.

    Attributes:
        network: with a copy of the module's weights.
        loss: of the inputs of a step, [B].
        inputs: of every step, made of the batches that the module sees.
    """

    network: nn.Module
    loss: Callable[..., Tensor]
    inputs: Sequence[tuple[Tensor, ...]]


def benchmark_training(device: torch.device) -> Iterator[Comparison]:
    """Steps from mixtures that are yet to be rendered, and how far ahead of them the loader is."""
    steps = GPU_STEPS if device.type == "cuda" else STEPS
    with pairs((steps + 1) * PAIRS, duration=4, batch_size=PAIRS) as data:
        module = DeepClustering("noise", excerpt_frames=None, **SIZES)
        work = f"deep clustering training step, {PAIRS} mixtures of 4 s, with loading and AutoClip"
        plain = plain_deep_clustering(module, batches(data, device), three_products)
        yield _step(work, module, data, plain, "the same with nussl's operations for the loss", 1.2, device)
        plain = plain_deep_clustering(module, batches(data, device), one_gram_matrix)
        yield _step(work, module, data, plain, PLAIN, 1 / 1.15, device)
        yield _loading("deep clustering", module, data, device)
    with scenes((steps + 1) * SCENES, batch_size=SCENES) as data:
        for supervision in ("frame", "strong"):
            data.train_sources = supervision == "strong"
            separator = weak_label_separator(supervision, data)
            plain = plain_weak_labels(separator, batches(data, device))
            work = f"weak-label training step, {supervision} labels, {SCENES} mixtures of 4 s, with loading"
            yield _step(work, separator, data, plain, PLAIN, 1 / 1.15, device)
            yield _loading(f"weak-label ({supervision})", separator, data, device)


def batches(data: MixtureDataModule, device: torch.device) -> list[Batch]:
    """What a training sees in its first epoch."""
    return [Batch(*(field.to(device) for field in batch)) for batch in data.train_dataloader()]


def weak_label_separator(supervision: Supervision, data: MixtureDataModule) -> WeakLabelSeparator:
    """An untrained separator with an untrained judge that is frozen, where it needs one."""
    separator = WeakLabelSeparator(supervision, classes=data.classes, **SIZES)
    separator.prior.copy_(data.class_prior())
    if supervision != "strong":
        separator.judge = EventClassifier(
            supervision, classes=data.classes, network=partial(CRNN, channels=CHANNELS)
        ).requires_grad_(False)
        separator.judge.prior.copy_(separator.prior)
    return separator


def plain_deep_clustering(module: DeepClustering, of: Sequence[Batch], loss: Callable[..., Tensor]) -> Plain:
    """Deep clustering with one of the published ways to compute the loss, checked against the module."""
    assert isinstance(module.network, BLSTM)
    network = PublishedEmbeddingNetwork(module).to(of[0].mixture.device)
    inputs = []
    for batch in of:
        magnitude, sources = (stft(signal, module.geometry).abs() for signal in (batch.mixture, batch.sources))
        dominant = nn.functional.one_hot(sources.mT.flatten(2).argmax(1)).float()
        inputs.append((level_features(magnitude), dominant, magnitude.mT.flatten(1)))

    def plain(features: Tensor, dominant: Tensor, weight: Tensor) -> Tensor:
        return loss(network(features), dominant, weight)

    network.eval(), module.to(of[0].mixture.device).eval()
    features, _, weight = inputs[0]
    sources = stft(of[0].sources, module.geometry).abs().mT.flatten(2)
    ours = module.loss(module.embedding(features), weight, sources)
    _check(ours, module.network.output, plain(*inputs[0]), network.linear)
    network.train(), module.train()
    return Plain(network, plain, inputs)


def plain_weak_labels(module: WeakLabelSeparator, of: Sequence[Batch]) -> Plain:
    """Strong supervision or frame labels, checked against the module."""
    assert isinstance(module.network, BLSTM)
    device = of[0].mixture.device
    network, prior = PublishedSeparator(module).to(device), module.to(device).prior
    magnitudes = [stft(batch.mixture, module.geometry).abs() for batch in of]
    inputs: list[tuple[Tensor, ...]]
    if module.judge is None:
        sources = [stft(batch.sources, module.geometry).abs() for batch in of]
        inputs = [(*spectra, batch.frame_labels) for *spectra, batch in zip(magnitudes, sources, of, strict=True)]

        def plain(magnitude: Tensor, sources: Tensor, labels: Tensor) -> Tensor:
            return module.strong_scale * strong_loss(magnitude, network(magnitude), sources, labels, prior)
    else:
        assert isinstance(module.judge.network, CRNN)
        judge = PublishedJudge(module.judge.network).to(device)
        inputs = [(magnitude, batch.frame_labels) for magnitude, batch in zip(magnitudes, of, strict=True)]

        def plain(magnitude: Tensor, labels: Tensor) -> Tensor:  # type: ignore[misc]
            return frame_label_loss(magnitude, network(magnitude), judge, labels, prior, module.alpha)

    ours = module.loss(magnitudes[0], module.masks(magnitudes[0]), of[0])
    _check(ours, module.network.output, plain(*inputs[0]), network.linear)
    return Plain(network, plain, inputs)


def _check(ours: Tensor, our_layer: nn.Linear, theirs: Tensor, their_layer: nn.Linear) -> None:
    """The losses are the same, and so are the gradients of the networks' last layers."""
    rounding = 1e-3 if ours.is_cpu else 1e-2  # TF32
    torch.testing.assert_close(ours, theirs, rtol=rounding, atol=1e-5)
    (mine,) = torch.autograd.grad(ours.sum(), our_layer.weight)
    (other,) = torch.autograd.grad(theirs.sum(), their_layer.weight)
    assert (mine - other).norm() < 10 * rounding * other.norm()


def _step(
    work: str,
    module: SeparatrixModule,
    data: MixtureDataModule,
    plain: Plain,
    name: str,
    wanted: float,
    device: torch.device,
) -> Comparison:
    steps = len(plain.inputs) - 1
    return Comparison(
        work,
        partial(train, module, data, steps, device),
        partial(train_plainly, *plain, device),
        name,
        steps * data.batch_size,
        wanted=wanted,
        runs=RUNS,
    )


def _loading(system: str, module: SeparatrixModule, data: MixtureDataModule, device: torch.device) -> Comparison:
    mixtures = data.mixtures["train"]

    def load() -> None:
        for _ in data.train_dataloader():
            pass

    return Comparison(
        f"mixtures from the {system} training's loader, in the training's own process",
        load,
        partial(train, module, data, mixtures // data.batch_size - 1, device),
        "the training that consumes them",
        mixtures,
        mixtures - data.batch_size,
        wanted=3,
        runs=RUNS,
        both_ours=True,
    )
