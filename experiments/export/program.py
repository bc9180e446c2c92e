"""A model's network as a program of torch.export (.pt2), which runs without this project: plain `torch.export.load`."""

import io
import json
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_modules.atomic_file import atomic_file
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import Card
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


def noise_input(module: SeparatrixModule, mixtures: int) -> Tensor:
    """What a module's network gets of 1.3 s of white noise at -20 dB, the same every time, [B, bins, F]."""
    rate = module.geometry.sample_rate
    noise = 0.1 * torch.randn(mixtures, int(1.3 * rate), generator=torch.Generator().manual_seed(0))
    return module.analyse(noise).features if isinstance(module, DeepClustering) else stft(noise, module.geometry).abs()


class Network(nn.Module):
    """The network of a module, and what makes masks, logits or embeddings of its outputs."""

    def __init__(self, module: SeparatrixModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, features: Tensor) -> Tensor:
        """[B, bins, F] -> masks [B, C, bins, F], logits [B, C, F'] or embeddings [B, F·bins, D]."""
        if torch.compiler.is_exporting():
            # Until it ends, torch.export switches oneDNN off, follows an LSTM frame by frame and so fixes their number.
            torch.backends.mkldnn.set_flags(True)
        if isinstance(self.module, WeakLabelSeparator):
            return self.module.masks(features)
        return self.module.embedding(features) if isinstance(self.module, DeepClustering) else self.module(features)


def write_program(path: Path, module: SeparatrixModule, card: Card) -> float:
    """Write the network of a module as a program for any number of mixtures and frames, and with it the card.

    Returns:
        The largest difference between what the program and the network put out, on noise.

    Raises:
        InputError: torch makes no program of this network, or one that differs from it by more than rounding.
    """
    network = Network(module).eval().requires_grad_(False)
    features = noise_input(module, 2)  # of one mixture, torch would make a program for one
    some = torch.export.Dim.DYNAMIC
    file = io.BytesIO()
    # With gradients, since without them a network takes other ways, to the same bit for every batch.
    with torch.enable_grad(), warnings.catch_warnings(action="ignore"):
        try:
            program = torch.export.export(network, (features,), dynamic_shapes=({0: some, 2: some},))
        except Exception as error:  # of a network of one's own: torch raises whatever it stumbles over
            kind, reason = type(module.network).__name__, (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{path}: torch.export makes no program of a {kind} ({reason}); leave it out") from error
        torch.export.save(program, file, extra_files={"card.json": json.dumps(card)})
    with torch.no_grad():
        expected = network(features)
        difference = float((program.module()(features) - expected).abs().max())
    if not difference <= 1e-4 * max(1.0, float(expected.abs().max())):
        raise InputError(f"{path}: on noise the program differs from the model by {difference:.2g}; leave it out")
    with atomic_file(path) as partial:
        partial.write_bytes(file.getvalue())
    return difference
