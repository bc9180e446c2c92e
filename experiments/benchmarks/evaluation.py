"""SI-SDR, and whole evaluations with their rows on disk, against loops over the mixtures with the usual libraries."""

import contextlib
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.functional.audio import (
    permutation_invariant_training,
    pit_permutate,
    scale_invariant_signal_distortion_ratio,
)

from callbacks.row_evaluation import RowEvaluation
from callbacks.selection_evaluation import SelectionEvaluation
from callbacks.separation_evaluation import SeparationEvaluation
from datamodules.mixtures import MixtureDataModule
from datamodules.source_pairs import SourcePairs
from datamodules.urban_scenes import UrbanScenes
from experiments.benchmarks import published
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.data import noise_mixtures
from experiments.benchmarks.deep_clustering import cluster_by_scikit_learn
from experiments.benchmarks.training import checkpoint, quiet_trainer
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.level_features import level_features
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.run_files import SCORES_FILE
from lightning_modules.separation_scores import compare
from lightning_modules.spectrogram import Geometry, istft, stft
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

SIGNALS, SOURCES, SAMPLES = 32, 2, 64_000
MODELS = ("speech", "music", "environmental")
MIXTURES, REFERENCE_MIXTURES = 16, 4
SIZES: dict[str, Any] = {}  # `network`, where it is not to be the published one
GEOMETRY = Geometry()


def benchmark_scores(device: torch.device) -> Iterator[Comparison]:
    """All signals' SI-SDR in float64, each mixture's estimates in the order of the highest mean."""
    generator = torch.Generator().manual_seed(0)
    sources, noise = torch.randn(2, SIGNALS, SOURCES, SAMPLES, generator=generator).to(device)
    estimates = (sources + 0.3 * noise).flip(1)

    def ours() -> Tensor:
        return compare(sources, [estimates])[0].in_best_order().si_sdr.diagonal(dim1=1, dim2=2)

    theirs = partial(_si_sdr_in_best_order, estimates, sources)
    torch.testing.assert_close(ours(), theirs().cpu(), rtol=0, atol=1e-9)
    work = f"SI-SDR in the best order, {SIGNALS * SOURCES} signals of {SAMPLES:,} samples"
    name = "torchmetrics' permutation search and SI-SDR, in float64 too"
    yield Comparison(work, ours, theirs, name, SIGNALS, wanted=1)


def benchmark_evaluation(device: torch.device) -> Iterator[Comparison]:
    """Three untrained models of the published size on pairs, and one untrained separator on scenes."""
    pairs = noise_mixtures(SourcePairs, MIXTURES, "test", domain="noise", duration=4)
    with tempfile.TemporaryDirectory() as folder, pairs as data:
        torch.manual_seed(0)
        models = [DeepClustering(name, **SIZES) for name in MODELS]
        selection = ModelSelection([checkpoint(model, f"{folder}/{model.domain}.ckpt") for model in models])
        networks = [model.network.to(device).eval() for model in models]
        ours = partial(_evaluate, selection, data, SelectionEvaluation, ["confidence", "si_sdr_db"], device)
        plain = partial(_loop, data, device, partial(_selection_scores, networks))
        _require_same_figures(ours(), plain(), 0.9)  # k-means may end elsewhere
        work = f"evaluation of 4-s mixtures with {len(MODELS)} models and their confidences, rows on disk"
        name = "the same networks, torch, scikit-learn's clusters, torchmetrics, one by one"
        yield Comparison(work, ours, plain, name, MIXTURES, REFERENCE_MIXTURES, wanted=3, runs=3)
    with noise_mixtures(UrbanScenes, MIXTURES, "test") as scenes:
        separator = WeakLabelSeparator("strong", classes=scenes.classes, **SIZES)
        columns = ["input_si_sdr_db", "si_sdr_db"]
        ours = partial(_evaluate, separator, scenes, SeparationEvaluation, columns, device)
        network = copy.deepcopy(separator.network).to(device).eval()
        plain = partial(_loop, scenes, device, partial(_separator_scores, network))
        _require_same_figures(ours(), plain(), 1)
        work = "evaluation of 4-s mixtures by a weak-label separator, rows on disk"
        name = "the same network, torch, torchmetrics, one by one"
        yield Comparison(work, ours, plain, name, MIXTURES, REFERENCE_MIXTURES, runs=3)


def _require_same_figures(ours: np.ndarray, theirs: np.ndarray, share: float) -> None:
    """In that share of the rows, of which ours are more."""
    ours = ours[: len(theirs)]
    same = np.abs(ours - theirs) <= (0.02, 0.1)  # of a confidence or of dB, and of dB
    assert (same | np.isnan(ours)).all(1).mean() >= share, (ours, theirs)


def _evaluate(
    module: SeparatrixModule,
    data: MixtureDataModule,
    rows: type[RowEvaluation],
    columns: list[str],
    device: torch.device,
) -> np.ndarray:
    """Run a test and return two columns of its rows."""
    silence = warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(None)
    with tempfile.TemporaryDirectory() as run, silence[0], silence[1]:
        quiet_trainer(device, rows(run), default_root_dir=run).test(module, data, verbose=False)
        table = np.genfromtxt(f"{run}/{SCORES_FILE}", delimiter=",", names=True)
        return np.stack([table[column] for column in columns], -1)


def _loop(data: MixtureDataModule, device: torch.device, scores: Callable[[Tensor, Tensor], Any]) -> np.ndarray:
    """Mixture by mixture: render, let `scores` separate and score, write; return the two columns of the rows."""
    dataset, rows = data.dataset("test"), []
    with tempfile.TemporaryFile() as file, torch.no_grad():
        for index in range(REFERENCE_MIXTURES):
            batch = dataset[index]
            rows.append(scores(batch.mixture.to(device), batch.sources.to(device)))
            np.savetxt(file, rows[-1])
    return np.concatenate(rows)


def _selection_scores(networks: Sequence[nn.Module], mixture: Tensor, sources: Tensor) -> list[tuple[float, float]]:
    """Confidence and SI-SDR of every source under every model."""
    rows = []
    for network in networks:
        spectrum = stft(mixture, GEOMETRY)
        magnitude = spectrum.abs()
        (embedding,) = published.embeddings(network, level_features(magnitude.unsqueeze(0)))
        parts = embedding.numpy(force=True), magnitude.mT.flatten().numpy(force=True)
        masks, silhouette, posterior = cluster_by_scikit_learn(*parts)
        masked = torch.from_numpy(masks.T).to(mixture.device).unflatten(-1, spectrum.mT.shape).mT * spectrum
        estimates = istft(masked, GEOMETRY, len(mixture))
        (si_sdr,) = _si_sdr_in_best_order(estimates.unsqueeze(0), sources.unsqueeze(0)).tolist()
        rows += [(silhouette * posterior, score) for score in si_sdr]
    return rows


def _separator_scores(network: nn.Module, mixture: Tensor, sources: Tensor) -> Any:
    """SI-SDR of the mixture and of the estimate for every present class."""
    spectrum, present = stft(mixture, GEOMETRY), sources.any(-1)
    (masks,) = published.masks(network, spectrum.abs().unsqueeze(0), len(sources))
    estimates, sources = istft(masks[present] * spectrum, GEOMETRY, len(mixture)), sources[present]
    return torch.stack([_si_sdr(mixture.expand_as(sources), sources), _si_sdr(estimates, sources)], -1).tolist()


def _si_sdr(estimates: Tensor, sources: Tensor) -> Tensor:
    """By torchmetrics, means removed, in float64: [..., T] -> [...]."""
    return scale_invariant_signal_distortion_ratio(estimates.double(), sources.double(), zero_mean=True)


def _si_sdr_in_best_order(estimates: Tensor, sources: Tensor) -> Tensor:
    """[B, Q, T] -> [B, Q]."""
    _, order = permutation_invariant_training(estimates, sources, _si_sdr, eval_func="max")
    return _si_sdr(pit_permutate(estimates, order), sources)
