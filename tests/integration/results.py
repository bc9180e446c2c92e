"""What a command left in a folder, in a form that compares: an interrupted run's with an uninterrupted one's."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Of a checkpoint: what a training goes on with.
LEARNT = ("state_dict", "optimizer_states", "lr_schedulers", "autoclip", "epoch", "global_step")


def results(folder: Path) -> dict[str, str]:
    """Digests of everything below a folder by name, hidden files too; curves and logs are of starts, not of results."""
    return {
        str(path.relative_to(folder)): _digest(path, folder)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and "curves" not in path.parts and path.suffix != ".log"
    }


def _digest(path: Path, folder: Path) -> str:
    if path.suffix == ".ckpt":
        checkpoint = torch.load(path, weights_only=True)
        contents = _bytes({name: checkpoint[name] for name in LEARNT if name in checkpoint})
    elif path.suffix == ".npz":  # an archive says when it was made
        with np.load(path) as arrays:
            contents = b"".join(name.encode() + _bytes(arrays[name]) for name in sorted(arrays))
    else:
        contents = path.read_bytes().replace(str(folder).encode(), b"")
    return hashlib.sha256(contents).hexdigest()


def _bytes(value: Any) -> bytes:
    """Numbers bit by bit."""
    if isinstance(value, dict):
        return b"{" + b",".join(str(name).encode() + b":" + _bytes(value[name]) for name in value) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(map(_bytes, value)) + b"]"
    if isinstance(value, torch.Tensor):
        return _bytes(value.numpy())
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}".encode() + value.tobytes()
    return repr(value).encode()
