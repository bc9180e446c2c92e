"""Estimates as audio files: what `separatrix predict` leaves to listen to."""

from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from scipy.io import wavfile
from torch import Tensor

from lightning_modules.atomic_file import atomic_file
from lightning_modules.batch import Batch
from lightning_modules.run_files import RunFiles


class EstimateFiles(Callback):
    """Writes estimates/INDEX/mixture.wav and one file a class, 32-bit float, batch by batch on every rank.

    INDEX has six digits, so that names sort as numbers do.

    Args:
        folder: that holds `estimates`.
    """

    def __init__(self, folder: str | Path = "") -> None:
        self.folder = RunFiles(folder).estimates

    def on_predict_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Tensor, batch: Batch, *_: Any) -> None:
        for index, mixture, estimates in zip(batch.indices.tolist(), batch.mixture, outputs, strict=True):
            for name, signal in zip(("mixture", *pl_module.classes), (mixture, *estimates), strict=True):
                # Not by libsndfile, which writes the time into float WAV: files would never be the same twice.
                with atomic_file(self.folder / f"{index:06d}" / f"{name}.wav") as file:
                    wavfile.write(file, pl_module.geometry.sample_rate, signal.cpu().numpy())

    def on_predict_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            print(f"estimates: {self.folder}")
