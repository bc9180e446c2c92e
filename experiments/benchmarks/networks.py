"""Training steps of the networks in `weak_labels/networks` against the BLSTM of `small`, whose sizes the rest has."""

import warnings
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from datamodules.urban_scenes import UrbanScenes
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.data import noise_mixtures
from experiments.benchmarks.training import train
from experiments.command_line.configurations import read_configuration, shipped_configurations
from experiments.training.precision import runs_lstm
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

FOLDER, SIZE = "weak_labels/networks/", "weak_labels/small/separator"
SCENES, SECONDS, STEPS = 4, 4, 4  # mixtures a step, and how long each is; steps that are timed


def benchmark_networks(device: torch.device) -> Iterator[Comparison]:
    """Steps from scenes that are yet to be rendered, with isolated sources, in the precision of `small`."""
    precision = "bf16-mixed" if runs_lstm(torch.bfloat16, device.type) else "32-true"
    with noise_mixtures(UrbanScenes, (1 + STEPS) * SCENES, duration=SECONDS, batch_size=SCENES) as data:
        blstm = separator(SIZE, data)
        reference = partial(train, blstm, data, device, precision=precision)
        for name in shipped_configurations():
            if name.startswith(FOLDER):
                module = separator(name, data)
                work = f"training step, {SCENES} scenes of {SECONDS} s, with loading, {precision}: {described(module)}"
                ours = partial(train, module, data, device, precision=precision)
                yield Comparison(work, ours, reference, described(blstm), STEPS * SCENES, wanted=0.5, runs=3)


def separator(configuration: str, data: UrbanScenes) -> WeakLabelSeparator:
    """An untrained separator of `small`, with what a configuration says of it."""
    size, changed = (read_configuration(name)["model"]["init_args"] for name in (SIZE, configuration))
    network = {"class_path": "BLSTM", **changed["network"]}
    return WeakLabelSeparator("strong", classes=data.classes, **{**size, **changed, "network": network})


def described(module: WeakLabelSeparator) -> str:
    """Name, parameters and operations of its network."""
    network, rate, hop = module.network, module.geometry.sample_rate, module.geometry.hop
    parameters = sum(parameter.numel() for parameter in network.parameters())
    operations = multiply_adds(network, torch.zeros(1, module.geometry.bins, SECONDS * rate // hop)) / SECONDS
    sizes = f"{parameters / 1e6:.2f} M parameters, {operations / 1e6:.0f} M multiply-adds a second of sound"
    return f"{type(network).__name__} ({sizes})"


@torch.no_grad()
def multiply_adds(network: nn.Module, features: Tensor) -> int:
    """Those of all products of matrices and convolutions in one pass over the features, [B, inputs, F]."""
    # The counter knows torch's own operations, not oneDNN's LSTM or the fused attention. Switching is warned of.
    quiet, plain = warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False)
    with quiet, plain, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(features)
    return counter.get_total_flops() // 2
