"""How the cost of one item grows with their number: the large case is "ours", the small one the reference."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch

from callbacks.row_parts import RowParts
from datamodules.mixtures import MixtureDataModule
from datamodules.urban_scenes import UrbanScenes
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.deep_clustering import clustered_bins, loss_and_gradient
from experiments.benchmarks.noise import noise_mixtures
from experiments.benchmarks.training import exhaust, separator, train
from lightning_modules.deep_clustering.losses import deep_clustering_loss
from lightning_modules.networks import BLSTM
from lightning_modules.run_files import RunFiles
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, SELECTION_SCORES, read_evaluated

MANY, FEW, REPEATS = 20_000, 100, 20  # mixtures; the few are gone through so often that it can be timed
MANY_CLASSES, FEW_CLASSES = 10, 2
MIXTURES, BATCH, STEPS = 250, 10, 3
BINS = 257 * 501
SMALL = {"channels": (2, 4, 8), "units": 16}  # classifier


def benchmark_growth(device: torch.device) -> Iterator[Comparison]:
    """From 100 to 20,000 mixtures, and from 2 to 10 classes."""
    with _scenes(MANY, train_sources=False) as many, _scenes(FEW, train_sources=False) as few:
        yield _of_mixtures("an epoch of mixtures without sources, loaded in one process", exhaust, many, few)
    yield _of_mixtures("rows of 3 models and 2 sources: written, merged, read for the table", _write_rows, MANY, FEW)
    with _scenes(MIXTURES, MANY_CLASSES) as many, _scenes(MIXTURES, FEW_CLASSES) as few:
        yield _of_classes("class of mixtures with their sources", exhaust, many, few)
        work = "class of a weak-label training step with a small classifier"
        yield _of_classes(work, partial(_train, device), many, few)
    bins = [clustered_bins(2, BINS, sources, device) for sources in (MANY_CLASSES, FEW_CLASSES)]
    way = partial(loss_and_gradient, deep_clustering_loss)
    yield _of_classes("source of the deep clustering loss, forward and backward", way, *bins)


def _of_mixtures(work: str, way: Callable[[Any], Any], many: Any, few: Any) -> Comparison:
    names = f"{work}: a mixture of {MANY:,}", f"a mixture of {FEW}"
    return _growth(*names, partial(way, many), lambda: [way(few) for _ in range(REPEATS)], MANY, FEW * REPEATS)


def _of_classes(work: str, way: Callable[[Any], Any], many: Any, few: Any) -> Comparison:
    names = f"{work}: one of {MANY_CLASSES}", f"one of {FEW_CLASSES}"
    return _growth(*names, partial(way, many), partial(way, few), MANY_CLASSES, FEW_CLASSES)


def _growth(
    work: str, name: str, many: Callable[[], Any], few: Callable[[], Any], items: int, few_items: int
) -> Comparison:
    """One of many is to cost at most 10 % more than one of few."""
    return Comparison(work, many, few, name, items, few_items, wanted=0.9, runs=3, both_ours=True)


def _scenes(mixtures: int, classes: int = 5, **settings: Any) -> AbstractContextManager[UrbanScenes]:
    labels = [f"class{number}" for number in range(classes)]
    return noise_mixtures(UrbanScenes, mixtures, labels=labels, classes=labels, batch_size=BATCH, **settings)


def _write_rows(mixtures: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = RunFiles(name).scores
        parts, written = RowParts(RunFiles.parts(path), SELECTION_COLUMNS), 0
        for index in range(mixtures):
            numbers = [0.1 * number + 1 / (index + 1) for number in range(2 + len(SELECTION_SCORES))]
            written += parts.append(
                [
                    (index, "speech", f"a{index}|b{index}", model, source, "", *numbers, int(model == "speech"))
                    for model in ("speech", "music", "environmental")
                    for source in range(2)
                ],
                rank=0,
            )
        parts.close()
        parts.merge(path, written)
        read_evaluated([path])


def _train(device: torch.device, data: MixtureDataModule) -> Any:
    module = separator("frame", data, {"network": partial(BLSTM, units=64, layers=1)}, SMALL)
    return train(module, data, device, steps=STEPS)
