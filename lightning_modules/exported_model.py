"""Exported models: weights and a card in one safetensors file, which travels without the run that made it.

The file's metadata has one entry, `separatrix`: JSON with the `card` and its `sha256`. The card holds the SHA-256 of
the weights, so that damage anywhere is noticed. One entry, because safetensors writes several in any order: the same
model gives the same bytes.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from safetensors.torch import load, save
from torch import Tensor

from lightning_modules.atomic_file import atomic_file
from lightning_modules.errors import InputError

Card = dict[str, Any]

FORMAT = 1
ENTRY = "separatrix"
LONGEST_HEADER = 2**20  # bytes; safetensors itself would take a hundred times as much


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and numbers of weights, in the order of their names."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(json.dumps([name, str(weight.dtype), list(weight.shape)]).encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_exported(path: Path, card: Card, weights: Mapping[str, Tensor]) -> None:
    """Write an exported model, as a whole or not at all.

    Args:
        path: the file.
        card: plain values; what the file's format, kind of numbers and digest are is added to it.
        weights: by name.

    Raises:
        InputError: the card is too long for the file's header.
    """
    digest = weights_digest(weights)
    numbers = sum(weight.numel() for weight in weights.values())
    kinds = sorted({str(weight.dtype).removeprefix("torch.") for weight in weights.values()})
    card = {"format": FORMAT, **card, "weights": {"numbers": numbers, "type": ", ".join(kinds), "sha256": digest}}
    metadata = {ENTRY: json.dumps({"card": card, "sha256": _digest(card)}, allow_nan=False)}
    contents = save({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, metadata)
    if int.from_bytes(contents[:8], "little") > LONGEST_HEADER:
        raise InputError(f"{path}: a card of more than {LONGEST_HEADER} bytes; shorten --data-licence, or the classes")
    with atomic_file(path) as partial:
        partial.write_bytes(contents)


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as safetensors do: the length of a header, 8 bytes, and the header's brace."""
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


def read_exported(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of an exported model under a checkpoint's names, and its `card`.

    Nothing in the file is run, and memory follows its size. Settings and weights are still to be checked, as those of
    checkpoints are.

    Raises:
        Exception: whatever safetensors and JSON stumble over, or a ValueError with the reason.
    """
    length = Path(path).stat().st_size
    with open(path, "rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        if header_length > min(LONGEST_HEADER, length):
            raise ValueError(f"a header of {header_length} bytes")
        header = json.loads(file.read(header_length))
        file.seek(0)
        weights = load(file.read())
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not isinstance(metadata.get(ENTRY), str):
        raise ValueError("no card; `separatrix export` writes one")
    entry = json.loads(metadata[ENTRY])
    card = entry.get("card") if isinstance(entry, dict) else None
    if not isinstance(card, dict) or not isinstance(card.get("weights"), dict) or entry.get("sha256") != _digest(card):
        raise ValueError("its card is damaged")
    if card.get("format") != FORMAT:
        raise ValueError(f"format {card.get('format')!r}; this version reads format {FORMAT}")
    if card["weights"].get("sha256") != weights_digest(weights):
        raise ValueError("its weights are damaged")
    return {
        "module": card.get("module"),
        "hyper_parameters": card.get("hyper_parameters"),
        "state_dict": weights,
        "card": card,
        # Lightning asks how old a checkpoint is: of nothing in here was there ever another form.
        "pytorch-lightning_version": lightning.__version__,
    }


def _digest(card: Card) -> str:
    return hashlib.sha256(json.dumps(card).encode()).hexdigest()
