"""How Lightning writes and reads checkpoints here: beside their place and renamed, and nothing that would run code."""

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lightning_modules.atomic_file import atomic_file
from lightning_modules.checkpoint import read_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves to a neighbouring file and renames it: a kill leaves the old checkpoint or the new one, never half.

    Loads what `read_checkpoint` takes and nothing else, whatever the trainer asks for, and removes no file but from
    folders that it has saved to: a resumed callback takes paths of earlier checkpoints from a file.
    """

    def __init__(self) -> None:
        self._folders: set[Path] = set()

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        # Lightning brings checkpoints of its first versions up to date, trusting in what they hold; there are none.
        return {**read_checkpoint(path), "pytorch-lightning_version": lightning.__version__}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        self._folders.add(Path(path).resolve().parent)
        with atomic_file(Path(path)) as file:
            torch.save(checkpoint, file)

    def remove_checkpoint(self, path: Any) -> None:
        if Path(path).resolve().parent in self._folders and Path(path).is_file():
            Path(path).unlink()
