"""What tests of the three systems share: random scenes, and a quiet trainer on a CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from experiments.training.precision import runs_lstm
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.batch import Batch
from lightning_modules.spectrogram import Geometry, istft, stft

CLASSES = ["horn", "dog", "siren"]
GEOMETRY = Geometry(8000, 32, 16)
GEOMETRY_SETTINGS: dict[str, Any] = {"sample_rate": 8000, "window": 32, "hop": 16}  # the same, of a module
SAMPLES = 400
FRAMES = GEOMETRY.frames(SAMPLES)
# Of tests that need an LSTM in bfloat16, which not every CPU runs.
IN_BFLOAT16 = pytest.mark.skipif(not runs_lstm(torch.bfloat16, "cpu"), reason="this CPU runs no LSTM in bfloat16")
PRIOR = torch.tensor([0.2, 0.5, 0.7])


def random_batch(size: int, seed: int = 0) -> Batch:
    """Noise of each class where its frame labels say so; every mixture holds a class, none of them all the time."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(size, len(CLASSES), FRAMES, generator=generator) < 0.3).float()
    labels[:, :, 0] = torch.eye(len(CLASSES))[torch.arange(size) % len(CLASSES)]
    labels[0, 2] = 0  # so that clip labels differ from all ones
    oracle_activity_mask = labels.repeat_interleave(GEOMETRY.hop, -1)[..., :SAMPLES]
    sources = 0.3 * torch.randn(size, len(CLASSES), SAMPLES, generator=generator) * oracle_activity_mask
    return Batch(sources.sum(1), sources, labels, labels.amax(-1), torch.arange(size))


class RandomScenes(LightningDataModule):
    """Two training and two validation batches, the second of the latter smaller, always the same.

    To the separator and the classifier they are scenes of three classes, to deep clustering mixtures of three noises.
    """

    domain, sources, seed = "noise", len(CLASSES), 0

    def __init__(self, classes: Sequence[str] = CLASSES, geometry: Geometry = GEOMETRY) -> None:
        super().__init__()
        self.classes, self.geometry = classes, geometry

    def class_prior(self) -> Tensor:
        return PRIOR

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader([random_batch(4, 0), random_batch(4, 1)], batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        return DataLoader([random_batch(5, 2), random_batch(1, 3)], batch_size=None)  # type: ignore[arg-type]

    test_dataloader = predict_dataloader = val_dataloader


class Bands(SeparatrixModule):
    """A separator without embeddings: what lies below a frequency, as a share of half the rate, and what above."""

    permutation_invariant = True
    classes = ("low", "high")

    def __init__(self, split: float = 0.3, sample_rate: int = 8000, window: int = 128, hop: int = 64) -> None:
        super().__init__(sample_rate, window, hop)
        self.save_hyperparameters()
        self.split = nn.Parameter(torch.tensor(split))

    def forward(self, mixture: Tensor) -> Tensor:
        low = (torch.linspace(0, 1, self.geometry.bins) < self.split).float()
        masks = torch.stack([low, 1 - low]).unsqueeze(-1)
        return istft(masks * stft(mixture, self.geometry).unsqueeze(1), self.geometry, mixture.shape[-1])

    def predict_step(self, batch: Batch, batch_index: int) -> Tensor:
        return self(batch.mixture)


def trainer(epochs: int = 2, **settings: Any) -> Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(max_epochs=epochs, num_sanity_val_steps=0, **{"accelerator": "cpu", **quiet, **settings})


def saved(module: SeparatrixModule, path: Path) -> str:
    """A checkpoint of an untrained module; its path."""
    resting = trainer()
    resting.strategy.connect(module)
    resting.save_checkpoint(path)
    return str(path)


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Le Roux et al. 2019, after removing the means."""
    e, s = estimate - estimate.mean(), target - target.mean()
    projection = (e @ s) / (s @ s) * s
    return float(10 * np.log10(np.sum(projection**2) / np.sum((e - projection) ** 2)))


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


def assert_unchanged(before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
