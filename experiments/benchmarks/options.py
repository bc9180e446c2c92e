"""What the options of a training change: "ours" has the option on, the reference has it off."""

import copy
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn

from datamodules.mixtures import MixtureDataModule
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.noise_corpus import pairs, scenes
from experiments.benchmarks.trainer import train
from experiments.benchmarks.training import CHANNELS, GPU_STEPS, PAIRS, SCENES, SIZES, STEPS, weak_label_separator
from experiments.training.precision import runs_lstm
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import CRNN

BINS, FRAMES, ESTIMATES, CLASSES = 257, 501, 5, 5
RUNS = 3


def benchmark_options(device: torch.device) -> Iterator[Comparison]:
    """Reduced precision of training steps, where the device can do it, and the layout of the classifier's maps."""
    steps = GPU_STEPS if device.type == "cuda" else STEPS
    reduced = runs_lstm(torch.bfloat16, device.type)
    with pairs((steps + 1) * PAIRS, duration=4, batch_size=PAIRS) as data:
        module = DeepClustering("noise", excerpt_frames=None, **SIZES)
        if reduced:
            yield _reduced(f"deep clustering training step, {PAIRS} mixtures", module, data, steps, device)
    with scenes((steps + 1) * SCENES, batch_size=SCENES) as data:
        for supervision in ("frame", "strong") if reduced else ():
            data.train_sources = supervision == "strong"
            separator = weak_label_separator(supervision, data)
            work = f"weak-label training step, {supervision} labels, {SCENES} mixtures"
            yield _reduced(work, separator, data, steps, device)
    judge = CRNN(BINS, CLASSES, CHANNELS).requires_grad_(False).to(device)
    plain = copy.deepcopy(judge)
    plain.convolutions.to(memory_format=torch.contiguous_format)
    magnitude = torch.rand(ESTIMATES, BINS, FRAMES, device=device)
    mine, other = _listen(judge, magnitude), _listen(plain, magnitude)
    # Not element by element: where rounding decides which of two maxima is the larger, a gradient goes elsewhere.
    assert (mine - other).norm() < 0.02 * other.norm()
    yield Comparison(
        f"judge of {ESTIMATES} estimates, forward and backward: channels last, as it always is",
        partial(_listen, judge, magnitude),
        partial(_listen, plain, magnitude),
        "channels first",
        ESTIMATES,
        runs=RUNS,
        both_ours=True,
    )


def _reduced(
    work: str, module: SeparatrixModule, data: MixtureDataModule, steps: int, device: torch.device
) -> Comparison:
    return Comparison(
        f"{work}: --trainer.precision bf16-mixed",
        partial(train, module, data, steps, device, "bf16-mixed"),
        partial(train, module, data, steps, device),
        "float32",
        steps * data.batch_size,
        runs=RUNS,
        both_ours=True,
    )


def _listen(judge: nn.Module, magnitude: Tensor) -> Tensor:
    """The gradient that a separator gets."""
    leaf = magnitude.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(judge(leaf).sum(), leaf)
    return gradient
