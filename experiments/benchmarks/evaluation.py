"""Whole evaluations with their rows on disk, against loops over the mixtures with the usual libraries."""

import contextlib
import csv
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torchmetrics.functional.audio import permutation_invariant_training

from callbacks.row_evaluation import RowEvaluation
from callbacks.selection_evaluation import SelectionEvaluation
from callbacks.separation_evaluation import SeparationEvaluation
from datamodules.mixtures import MixtureDataModule
from experiments.benchmarks import nussl_steps
from experiments.benchmarks.clustering import cluster_by_scikit_learn
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.noise_corpus import pairs, scenes
from experiments.benchmarks.published import PublishedEmbeddingNetwork, PublishedSeparator
from experiments.benchmarks.scores import si_sdr
from experiments.benchmarks.trainer import quiet_trainer
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.level_features import level_features
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.scores.rows import read_rows
from lightning_modules.scores.summary import SCORES_FILE
from lightning_modules.spectrogram import istft, stft
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

MODELS = ("speech", "music", "environmental")
MIXTURES, REFERENCE_MIXTURES = 16, 4
RUNS = 3
SIZES: dict[str, Any] = {}  # `network`, where it is not to be the published one

Row = list[Any]
Pair = tuple[float, float]
Rows = Callable[[int, Tensor, Tensor, Tensor], list[Row]]  # of index, mixture, sources, and which are present


def benchmark_evaluation(device: torch.device) -> Iterator[Comparison]:
    """Three untrained models of the published size on pairs, and one untrained separator on scenes."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(torch.get_num_threads()):
        with pairs(MIXTURES, "test", duration=4) as data:
            selection = _untrained_selection(Path(folder), device)
            networks = [PublishedEmbeddingNetwork(model).to(device).eval() for model in _models(selection)]
            theirs: tuple[tuple[Callable[..., list[Row]], str, float | None], ...] = (
                (_nussl_rows, "the same networks, else nussl's steps (SciPy, scikit-learn, NumPy), one by one", 3),
                (_selection_rows, "the same networks, torch, scikit-learn's clusters, torchmetrics, one by one", None),
            )
            columns = ("confidence", "si_sdr_db")
            for rows, name, wanted in theirs:
                yield _comparison(
                    f"evaluation of 4-s mixtures with {len(MODELS)} models and their confidences, rows on disk",
                    partial(_evaluate, selection, data, SelectionEvaluation, columns, Path(folder), device),
                    partial(_loop, data, Path(folder), device, partial(rows, selection, networks)),
                    name,
                    wanted,
                    agreeing=0.9,
                )
        with scenes(MIXTURES, "test") as data:
            separator = WeakLabelSeparator("strong", classes=data.classes, **SIZES)
            network = PublishedSeparator(separator).to(device).eval()
            columns = ("input_si_sdr_db", "si_sdr_db")
            yield _comparison(
                "evaluation of 4-s mixtures by a weak-label separator, rows on disk",
                partial(_evaluate, separator, data, SeparationEvaluation, columns, Path(folder), device),
                partial(_loop, data, Path(folder), device, partial(_separator_rows, separator, network)),
                "the same network, torch, torchmetrics, one by one",
                wanted=None,
                agreeing=1,
            )


def _models(selection: ModelSelection) -> list[DeepClustering]:
    return [model for model in selection.models if isinstance(model, DeepClustering)]


def _untrained_selection(folder: Path, device: torch.device) -> ModelSelection:
    paths = []
    for number, name in enumerate(MODELS):
        torch.manual_seed(number)
        trainer = quiet_trainer(device)
        trainer.strategy.connect(DeepClustering(name, **SIZES))
        paths.append(f"{folder}/{name}.ckpt")
        trainer.save_checkpoint(paths[-1])
    return ModelSelection(paths)


def _comparison(
    work: str,
    ours: Callable[[], list[Pair]],
    theirs: Callable[[], list[Pair]],
    name: str,
    wanted: float | None,
    agreeing: float,
) -> Comparison:
    """Checks first that both ways find the same figures in that share of the rows: k-means may end elsewhere."""
    other = np.array(theirs())
    mine = np.array(ours()[: len(other)])
    same = np.abs(mine - other) <= (0.02, 0.1)  # of a confidence or of dB, and of dB
    assert (same | np.isnan(mine)).all(1).mean() >= agreeing, (mine, other)
    return Comparison(work, ours, theirs, name, MIXTURES, REFERENCE_MIXTURES, wanted, RUNS)


def _evaluate(
    module: SeparatrixModule,
    data: MixtureDataModule,
    rows: type[RowEvaluation],
    columns: tuple[str, str],
    folder: Path,
    device: torch.device,
) -> list[Pair]:
    """Run a test and return two columns of its rows."""
    with tempfile.TemporaryDirectory(dir=folder) as run, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = quiet_trainer(device, default_root_dir=run, callbacks=[rows(run)])
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.test(module, data, verbose=False)
        first, second = columns
        return [(float(row[first]), float(row[second])) for row in read_rows(Path(run) / SCORES_FILE)]


def _loop(data: MixtureDataModule, folder: Path, device: torch.device, rows: Rows) -> list[Pair]:
    """Mixture by mixture: render, let `rows` separate and score, write; return the rows' last two columns."""
    dataset, found = data.dataset("test"), []
    with open(folder / "plain.csv", "w", newline="") as file, torch.no_grad():
        for index in range(REFERENCE_MIXTURES):
            batch = dataset[index]
            of_mixture = rows(index, batch.mixture.to(device), batch.sources.to(device), batch.clip_labels > 0)
            csv.writer(file).writerows(of_mixture)
            file.flush()
            found += [(float(row[-2]), float(row[-1])) for row in of_mixture]
    return found


def _nussl_rows(
    selection: ModelSelection,
    networks: list[PublishedEmbeddingNetwork],
    index: int,
    mixture: Tensor,
    sources: Tensor,
    present: Tensor,
) -> list[Row]:
    rows = []
    signal, references, geometry = mixture.numpy(force=True), sources.numpy(force=True), selection.geometry
    for name, network in zip(selection.names, networks, strict=True):
        spectrum = nussl_steps.stft(signal, geometry)
        magnitude = torch.from_numpy(np.abs(spectrum)).float().to(mixture.device)
        (embedding,) = network(level_features(magnitude.unsqueeze(0)))
        masks, silhouette, posterior = cluster_by_scikit_learn(
            embedding.numpy(force=True), np.abs(spectrum).T.flatten()
        )
        for _ in ("silhouette", "posterior"):
            np.abs(nussl_steps.stft(signal, geometry))  # each confidence looks for the loud bins anew
        masks = masks.T.reshape(len(references), *spectrum.T.shape).swapaxes(1, 2)
        estimates = nussl_steps.istft(masks * spectrum, geometry, len(signal))
        for number, scores in enumerate(nussl_steps.evaluate(estimates, references)):
            found = scores.pop("SI-SDR")
            rows.append([index, name, number, *scores.values(), silhouette, posterior, silhouette * posterior, found])
    return rows


def _selection_rows(
    selection: ModelSelection,
    networks: list[PublishedEmbeddingNetwork],
    index: int,
    mixture: Tensor,
    sources: Tensor,
    present: Tensor,
) -> list[Row]:
    rows = []
    for name, network in zip(selection.names, networks, strict=True):
        spectrum = stft(mixture, selection.geometry)
        magnitude = spectrum.abs()
        (embedding,) = network(level_features(magnitude.unsqueeze(0)))
        masks, silhouette, posterior = cluster_by_scikit_learn(
            embedding.numpy(force=True), magnitude.mT.flatten().numpy(force=True)
        )
        masks = torch.from_numpy(masks.T).to(mixture.device).unflatten(-1, magnitude.mT.shape).mT
        estimates = istft(masks * spectrum, selection.geometry, len(mixture)).unsqueeze(0)
        _, order = permutation_invariant_training(estimates, sources.unsqueeze(0), si_sdr, eval_func="max")
        scores = si_sdr(estimates[0, order[0]], sources).tolist()
        confidence = silhouette * posterior
        rows += [[index, name, number, silhouette, posterior, confidence, s] for number, s in enumerate(scores)]
    return rows


def _separator_rows(
    separator: WeakLabelSeparator,
    network: PublishedSeparator,
    index: int,
    mixture: Tensor,
    sources: Tensor,
    present: Tensor,
) -> list[Row]:
    spectrum = stft(mixture, separator.geometry)
    (masks,) = network(spectrum.abs().unsqueeze(0))
    estimates, sources = istft(masks[present] * spectrum, separator.geometry, len(mixture)), sources[present]
    before, after = si_sdr(mixture.expand_as(sources), sources).tolist(), si_sdr(estimates, sources).tolist()
    return [[index, *row] for row in zip(before, after, strict=True)]
