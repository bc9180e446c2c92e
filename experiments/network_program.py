"""A model's network as a program of torch.export (.pt2), which runs without this project: plain `torch.export.load`."""

import contextlib
import copy
import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.atomic_file import atomic_file
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import Card
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

CARD_FILE = "card.json"
# Of the largest number that the network puts out: what float32 rounds in some thousand additions.
LARGEST_DIFFERENCE = 1e-4


class NetworkOf(nn.Module):
    """The network of a module and what belongs to it: magnitudes to masks or to logits, or features to embeddings."""

    def __init__(self, module: SeparatrixModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, heard: Tensor) -> Tensor:
        """[B, bins, F] -> masks [B, C, bins, F], logits [B, C, F'] or embeddings [B, F·bins, D]."""
        module = self.module
        if isinstance(module, WeakLabelSeparator):
            return module.masks(heard)
        if isinstance(module, EventClassifier):
            return module(heard)
        assert isinstance(module, DeepClustering)
        return module.embedding(heard)


@torch.no_grad()
def heard_by(module: SeparatrixModule, mixture: Tensor) -> Tensor:
    """What a module's network gets of mixtures: [B, T] -> [B, bins, frames]."""
    return (
        module.analyse(mixture).features if isinstance(module, DeepClustering) else stft(mixture, module.geometry).abs()
    )


def write_program(
    path: Path, module: SeparatrixModule, card: Card, mixtures: Mapping[str, Tensor]
) -> list[tuple[str, float]]:
    """Write the network of a module as a program for any number of mixtures and frames, compared with it first.

    The file holds the card, too: `torch.export.load(path, extra_files={"card.json": ""})` fills it in.

    Args:
        path: the file.
        module: whose network it is.
        card: of the model.
        mixtures: to compare on, by name, [B, T] each.

    Returns:
        Largest difference between what program and network put out, by mixture.

    Raises:
        InputError: torch cannot make one of this network, or the two differ by more than rounding.
    """
    network = NetworkOf(copy.deepcopy(module)).eval().requires_grad_(False)
    # Of the convolutional judge's weights, whose channels lie last in memory, torch.export would warn.
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    # Two mixtures: of one, torch would make a program for one.
    example = heard_by(module, noise(2, module.geometry.sample_rate))
    some = torch.export.Dim.DYNAMIC
    # With gradients, since without them a network in evaluation takes other ways, to the same bit for every batch.
    with _lstm_of_any_length(), torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*were assigned during export.*")  # an LSTM's list of its own weights
        try:
            program = torch.export.export(network, (example,), dynamic_shapes=({0: some, 2: some},), strict=False)
        except Exception as error:  # of a network of one's own: torch raises whatever it stumbles over
            kind, reason = type(module.network).__name__, (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{path}: torch.export makes no program of a {kind} ({reason}); leave it out") from error
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={CARD_FILE: json.dumps(card)})
    heard = {name: heard_by(module, mixture) for name, mixture in mixtures.items()}
    differences = _differences(torch.export.load(io.BytesIO(file.getvalue())).module(), network, heard, str(path))
    with atomic_file(path) as partial:
        partial.write_bytes(file.getvalue())
    return differences


def noise(mixtures: int, samples: int) -> Tensor:
    """White noise at -20 dB, the same every time, [B, T]."""
    return 0.1 * torch.randn(mixtures, samples, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def _differences(
    program: nn.Module, network: nn.Module, heard: Mapping[str, Tensor], path: str
) -> list[tuple[str, float]]:
    found = []
    for name, features in heard.items():
        expected = network(features)
        difference = float((program(features) - expected).abs().max())
        if not difference <= LARGEST_DIFFERENCE * max(1.0, float(expected.abs().max())):
            raise InputError(f"{path}: on {name} the program differs from the model by {difference:.2g}; leave it out")
        found.append((name, difference))
    return found


@contextlib.contextmanager
def _lstm_of_any_length() -> Iterator[None]:
    """While a program is made, let torch know of an LSTM no more than the shapes of its outputs.

    Torch would follow the LSTM frame by frame to find them out, and make the number of frames a constant. The program
    calls the LSTM as a whole either way. (torch.export._patches puts a loop in its place by the same means.)
    """
    lstm = torch.ops.aten.lstm.input
    kernels = dict(lstm.py_kernels)
    lstm.py_kernels.update(dict.fromkeys(kernels, _lstm_shapes))
    lstm._dispatch_cache.clear()
    try:
        yield
    finally:
        lstm.py_kernels.clear()
        lstm.py_kernels.update(kernels)
        lstm._dispatch_cache.clear()


def _lstm_shapes(
    inputs: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor],
    has_biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Any, ...]:
    hidden, cell = states
    outputs = inputs.new_empty(*inputs.shape[:-1], (1 + bidirectional) * hidden.shape[-1])
    return outputs, torch.empty_like(hidden), torch.empty_like(cell)
