"""A trained model as one file that travels."""

from pathlib import Path

import torch

from experiments.export.card import read_card
from experiments.export.program import Network, noise_input
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import Card, write_exported
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
