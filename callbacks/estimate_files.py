"""Estimates as audio files: what `separatrix predict` leaves to listen to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from rich.console import Console
from scipy.io import wavfile
from torch import Tensor

from lightning_modules.atomic_file import atomic_file
from lightning_modules.batch import Batch


class EstimateFiles(BasePredictionWriter):
    """Writes estimates/INDEX/mixture.wav and one file a class, 32-bit float, batch by batch on every rank.

    Args:
        folder: that holds `estimates`.
    """

    def __init__(self, folder: str | Path = "") -> None:
        super().__init__(write_interval="batch")
        self.folder = Path(folder) / "estimates"

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        prediction: Tensor,
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write a batch's estimates, [B, C, T], beside the mixtures."""
        rate = pl_module.geometry.sample_rate
        for index, mixture, estimates in zip(batch.indices.tolist(), batch.mixture, prediction, strict=True):
            folder = self.folder / str(index)
            named = zip(("mixture", *pl_module.classes), (mixture, *estimates), strict=True)
            for name, signal in named:
                # Not by libsndfile, which writes the time into float WAV: files would never be the same twice.
                with atomic_file(folder / f"{name}.wav") as partial:
                    wavfile.write(partial, rate, signal.cpu().numpy())

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            Console(emoji=False).print(f"estimates: {self.folder}", markup=False)
