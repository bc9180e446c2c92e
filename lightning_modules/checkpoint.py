"""Checkpoints: read without running code from them, written beside and renamed into place."""

import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lightning_modules.atomic_file import atomic_file
from lightning_modules.errors import InputError
from lightning_modules.module import SeparatrixModule

M = TypeVar("M", bound=SeparatrixModule)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU.

    Raises:
        InputError: it is missing, damaged, no checkpoint of this project, or holds more than weights and plain values.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint; train it first, or give the path of a .ckpt file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on a damaged file torch raises whatever its unpickler stumbles over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: not a readable checkpoint of weights and plain values ({reason})") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "hyper_parameters"} <= checkpoint.keys():
        raise InputError(f"{path}: not a checkpoint of this project; a file written by `separatrix fit` is needed")
    return checkpoint


def load_module(path: str | os.PathLike[str], kind: type[M]) -> M:
    """A trained module of that kind, with the hyper-parameters that its checkpoint states.

    Raises:
        InputError: the checkpoint cannot be read or is of another kind of module.
    """
    checkpoint = read_checkpoint(path)
    stored = checkpoint.get("module")
    if stored != kind.__name__:
        raise InputError(f"{path}: a checkpoint of {stored or 'something else'}; one of {kind.__name__} is needed")
    # Names with an underscore are LightningCLI's notes on how it made the module.
    settings = {name: value for name, value in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    try:
        module = kind(**settings)
        # Where LightningCLI makes the module that asks for this one, it would note that module's settings here.
        module.hparams.clear()
        module.hparams.update(settings)
        module.load_state_dict(checkpoint["state_dict"])
    except (TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path}: does not fit this version's {kind.__name__} ({reason}); train it again") from error
    return module


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves to a neighbouring file and renames it: a kill leaves the old checkpoint or the new one, never half."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the checkpoint, then move it into place."""
        with atomic_file(Path(path)) as partial, partial.open("wb") as file:  # torch would note a path's name inside
            torch.save(checkpoint, file)
