"""Exported models: weights and a card in one safetensors file, which travels without the run that made it.

The file's metadata has one entry, `separatrix`: JSON with the `card` and its `sha256`. The card holds the SHA-256 of
the weights, so that damage anywhere is noticed. One entry, because safetensors writes several in any order: the same
model gives the same bytes. Torch is imported where weights are: a card alone is read at once.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import safe_open

from lightning_modules.atomic_file import atomic_file

Card = dict[str, Any]

FORMAT = 1
ENTRY = "separatrix"


def weights_digest(weights: Mapping[str, Any]) -> str:
    """SHA-256 over names, types, shapes and numbers of tensors, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        digest.update(json.dumps([name, str(weight.dtype), list(weight.shape)]).encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_exported(path: Path, card: Card, weights: Mapping[str, Any]) -> Card:
    """Write an exported model; the card, with the file's format and the number, type and digest of the weights."""
    from safetensors.torch import save

    described = {
        "numbers": sum(weight.numel() for weight in weights.values()),
        "type": ", ".join(sorted({str(weight.dtype).removeprefix("torch.") for weight in weights.values()})),
        "sha256": weights_digest(weights),
    }
    card = {"format": FORMAT, **card, "weights": described}
    metadata = {ENTRY: json.dumps({"card": card, "sha256": _digest(card)}, allow_nan=False)}
    contents = save({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, metadata)
    with atomic_file(path) as file:
        file.write(contents)
    return card


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as safetensors do: the length of a header, 8 bytes, and the header's brace."""
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{"


def read_card(path: str | os.PathLike[str]) -> Card:
    """The card of an exported model, without its weights; raises what safetensors and JSON raise, or a ValueError."""
    with safe_open(path, "numpy") as file:
        metadata = file.metadata() or {}
    if ENTRY not in metadata:
        raise ValueError("no card; `separatrix export` writes one")
    entry = json.loads(metadata[ENTRY])
    card: Card = entry["card"]
    if entry["sha256"] != _digest(card) or not isinstance(card["hyper_parameters"], dict):
        raise ValueError("its card is damaged")
    if card["format"] != FORMAT:
        raise ValueError(f"format {card['format']!r}; this version reads format {FORMAT}")
    return card


def read_exported(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of an exported model under a checkpoint's names, and its `card`; errors as those of `read_card`.

    Nothing in the file is run, and memory follows its size. Settings and weights remain to be checked.
    """
    from safetensors.torch import load_file

    card, weights = read_card(path), load_file(path)
    if card["weights"]["sha256"] != weights_digest(weights):
        raise ValueError("its weights are damaged")
    # Lightning asks how old a checkpoint is: of nothing in here was there ever another form.
    contents = {"state_dict": weights, "card": card, "pytorch-lightning_version": version("lightning")}
    return {"module": card.get("module"), "hyper_parameters": card["hyper_parameters"], **contents}


def _digest(card: Card) -> str:
    return hashlib.sha256(json.dumps(card).encode()).hexdigest()
