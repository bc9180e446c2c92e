"""A trained model as one file that travels, and its network as a program that plain `torch.export.load` runs."""

import contextlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from experiments.export.card import read_card
from lightning_modules.atomic_file import atomic_file
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import Card, write_exported
from lightning_modules.spectrogram import stft
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

# What can be exported: what has weights of its own and stands alone.
KINDS: tuple[type[SeparatrixModule], ...] = (WeakLabelSeparator, EventClassifier, DeepClustering)


@torch.no_grad()
def export_module(
    checkpoint: str | Path,
    output: str | Path,
    data_licence: str | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> Card:
    """Write a trained model as one file that `load_module` reads as it reads the checkpoint.

    Args:
        checkpoint: of a WeakLabelSeparator, EventClassifier or DeepClustering; or a file written by this function.
        output: the new file.
        data_licence: of the recordings that the model was trained on, where their corpus does not tell it.
        half: whether weights are kept as float16: half the size, and other outputs, by as much as the card says.
        overwrite: whether a file that is there may be replaced.

    Returns:
        The card.

    Raises:
        InputError: the checkpoint cannot be read, the file is there, or weights are too large for float16.
    """
    require_free(Path(output), overwrite)
    module = load_module(checkpoint, *KINDS).eval()
    card, weights = read_card(checkpoint), module.state_dict()
    card["data_licence"] = data_licence or card.get("data_licence")
    if half:
        weights = {name: weight.half() if weight.is_floating_point() else weight for name, weight in weights.items()}
        if beyond := [name for name, weight in weights.items() if not weight.isfinite().all()]:
            raise InputError(f"--half: {beyond[0]} is beyond what float16 holds (65504); export without it")
        features = noise_input(module, 1)
        exact = Network(module)(features)
        module.load_state_dict(weights)
        difference = float((Network(module)(features) - exact).abs().max())
        # Weights that were rounded before do not differ again: what the card says of them stays true.
        card.setdefault("half", {"largest difference on noise": difference})
    return write_exported(Path(output), card, weights)


def require_free(path: Path, overwrite: bool) -> None:
    """Raise InputError where a file that is there may not be replaced."""
    if path.exists() and not overwrite:
        raise InputError(f"{path}: is there already; choose another name, or replace it with --overwrite")


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
        """[B, bins, F] -> masks [B, C, bins, F], logits [B, C, F'] or embeddings [B, F·bins, D]: what separates."""
        if isinstance(self.module, WeakLabelSeparator):
            return self.module.masks(features)
        if isinstance(self.module, DeepClustering):
            embedding, masks = self.module.heads(features)
            return masks if masks is not None and self.module.by_masks else embedding
        return self.module(features)


@contextlib.contextmanager
def _of_any_size(network: nn.Module) -> Iterator[None]:
    """torch.export makes a program for any number of mixtures and frames.

    Until it ends, it switches oneDNN off, and without oneDNN it follows an LSTM frame by frame, which fixes their
    number. With oneDNN or NNPACK, whether a convolution takes them goes by the number of mixtures, 16 at least, and the
    program would be for fewer.
    """
    handles = []
    for module in network.modules():
        if isinstance(module, nn.RNNBase):
            handles.append(module.register_forward_pre_hook(lambda *_: _set_one_dnn(True)))
            handles.append(module.register_forward_hook(lambda *_: _set_one_dnn(False)))
    try:
        with torch.backends.nnpack.flags(enabled=False):
            yield
    finally:
        for handle in handles:
            handle.remove()


def _set_one_dnn(on: bool) -> None:
    torch.backends.mkldnn.set_flags(on)


def write_program(path: Path, module: SeparatrixModule, card: Card) -> float:
    """Write the network of a module as a program for any number of mixtures and frames, and with it the card.

    Of a network that merges frames, for more frames than it merges. Returns the largest difference on noise between
    outputs of the two; more than rounding is refused.
    """
    network = Network(module).eval().requires_grad_(False)
    features = noise_input(module, 2)  # of one mixture, torch would make a program for one
    some = torch.export.Dim.DYNAMIC
    file = io.BytesIO()
    # With gradients, since without them a network takes other ways, to the same bit for every batch.
    with torch.enable_grad(), warnings.catch_warnings(action="ignore"), _of_any_size(network):
        try:
            program = torch.export.export(network, (features,), dynamic_shapes=({0: some, 2: some},))
        except Exception as error:  # torch raises anything at a network of one's own
            kind, reason = type(module.network).__name__, (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(f"{path}: torch.export makes no program of a {kind} ({reason}); leave it out") from error
        torch.export.save(program, file, extra_files={"card.json": json.dumps(card)})
    with torch.no_grad():
        expected = network(features)
        difference = float((program.module()(features) - expected).abs().max())
    if not difference <= 1e-4 * max(1.0, float(expected.abs().max())):
        raise InputError(f"{path}: on noise the program differs from the model by {difference:.2g}; leave it out")
    with atomic_file(path) as written:
        written.write(file.getvalue())
    return difference
