"""What a network's outputs mean: masks of the mixture, or embeddings of its time-frequency bins."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_modules.batch_invariance import sigmoid, softmax
from lightning_modules.errors import InputError

MaskActivation = Literal["sigmoid", "softmax"]
MaskKind = Literal["magnitude", "phase_sensitive", "complex"]


def require_every_frame(network: nn.Module) -> None:
    """Raise InputError of a network that puts out fewer frames than it takes: masks and embeddings are of every one."""
    reduction = getattr(network, "frame_reduction", 1)
    if reduction != 1:
        name = type(network).__name__
        raise InputError(f"network: {name} puts out one frame for {reduction}; one that keeps all of them is needed")


def outputs_of(network: nn.Module, features: Tensor, outputs: int) -> Tensor:
    """What a network makes of features, [B, inputs, F]: [B, outputs, F'], or maps, [B, outputs / inputs, inputs, F'].

    F' = F // `frame_reduction` of the network. InputError where it puts out anything else.
    """
    given = network(features)
    (mixtures, inputs, frames), name = features.shape, type(network).__name__
    frames = frames // getattr(network, "frame_reduction", 1)
    if not isinstance(given, Tensor):
        raise InputError(f"network: {name} puts out a {type(given).__name__}; one tensor is needed")
    if given.shape not in ((mixtures, outputs, frames), (mixtures, outputs / inputs, inputs, frames)):
        shape = f"{list(given.shape)} of features {list(features.shape)}"
        raise InputError(f"network: {name} puts out {shape}; {[mixtures, outputs, frames]} are needed")
    return given


def mask_maps(classes: int, activation: MaskActivation, kind: MaskKind) -> int:
    """Number of maps over all bins that `class_masks` takes from a network."""
    return classes + (activation == "softmax") + classes * (kind == "complex")


def class_masks(
    outputs: Tensor, classes: int, activation: MaskActivation = "sigmoid", kind: MaskKind = "magnitude"
) -> Tensor:
    """Masks of every class, [B, C, bins, F], of outputs [B, M·bins, F], map after map, or maps.

    `sigmoid`: one map of each class, M = C. `softmax` over M = C + 1: the last, the residual, is dropped. Masks lie in
    [0, 1], float32. `complex` ones, complex64, take C further maps: their tanh, in [-1, 1], is the imaginary part.
    """
    maps = outputs if outputs.ndim == 4 else outputs.unflatten(1, (mask_maps(classes, activation, kind), -1))
    # float32 from here on: the masks multiply magnitudes that the losses compare.
    maps = maps.float()
    real = maps[:, : mask_maps(classes, activation, "magnitude")]
    masks = softmax(real, 1)[:, :classes] if activation == "softmax" else sigmoid(real)
    # tanh x = 2σ(2x) - 1, of the sigmoid that computes the same for every batch
    return torch.complex(masks, 2 * sigmoid(2 * maps[:, -classes:]) - 1) if kind == "complex" else masks


def source_masks(outputs: Tensor, sources: int) -> Tensor:
    """Masks of sources in any order, a softmax over them, float32, [B, Q, bins, F]; outputs as above, M = Q."""
    maps = outputs if outputs.ndim == 4 else outputs.unflatten(1, (sources, -1))
    return softmax(maps.float(), 1)


def unit_masks(masks: Tensor) -> Tensor:
    """Masks, [B, Q, bins, F], as unit vectors of the bins, frame after frame, [B, F·bins, Q]."""
    return normalize(masks, dim=1).permute(0, 3, 2, 1).flatten(1, 2)


def of_two_heads(outputs: Tensor, first: int, second: int) -> tuple[Tensor, Tensor]:
    """The outputs of two heads, of so many numbers a bin each: [B, (first + second)·bins, F], or maps."""
    one, other = outputs.split([share * outputs.shape[1] // (first + second) for share in (first, second)], 1)
    return one, other


def embeddings(outputs: Tensor, dimensions: int, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """Embeddings of all bins, frame after frame, [B, F·bins, D], of outputs [B, bins·D, F], bin after bin, or maps.

    The activation, such as `unit_sigmoid`, is of every bin's logits, [..., D] -> [..., D].
    """
    logits = outputs.permute(0, 3, 2, 1) if outputs.ndim == 4 else outputs.mT.unflatten(-1, (-1, dimensions))
    return activation(logits).flatten(1, 2)
