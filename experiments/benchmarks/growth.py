"""How the cost of one item grows with their number: the large case is "ours", the small one the reference."""

import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from callbacks.row_parts import RowParts
from datamodules.mixtures import MixtureDataModule
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.noise_corpus import scenes
from experiments.benchmarks.trainer import train
from lightning_modules.deep_clustering.losses import deep_clustering_loss
from lightning_modules.networks import BLSTM, CRNN
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, read_evaluated
from lightning_modules.scores.summary import SCORES_FILE
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

FEW, MANY = 100, 20_000  # mixtures
FEW_CLASSES, MANY_CLASSES = 2, 10
MIXTURES = 250
BATCH = 10
BINS = 257 * 501
WITHIN = 0.9  # the cost of one stays within 10 %
RUNS = 3


def benchmark_growth(device: torch.device) -> Iterator[Comparison]:
    """From 100 to 20,000 mixtures, and from 2 to 10 classes."""
    plain: dict[str, Any] = {"train_sources": False, "batch_size": BATCH}
    with scenes(MANY, **plain) as many, scenes(FEW, **plain) as few:
        yield _flat("an epoch of mixtures without sources, loaded in one process", _load, many, few)
    yield _flat("rows of 3 models and 2 sources: written, merged, read for the table", _write_rows, MANY, FEW)
    with (
        scenes(MIXTURES, classes=MANY_CLASSES, batch_size=BATCH) as many,
        scenes(MIXTURES, classes=FEW_CLASSES, batch_size=BATCH) as few,
    ):
        yield _linear("class of mixtures with their sources", partial(_load, many), partial(_load, few), MIXTURES)
        yield _linear(
            "class of a weak-label training step with a small judge",
            partial(_train, many, device),
            partial(_train, few, device),
            1,
        )
    yield _linear(
        "source of the deep clustering loss, forward and backward",
        _loss(MANY_CLASSES, device),
        _loss(FEW_CLASSES, device),
        1,
    )


def _flat(work: str, way: Callable[[Any], None], many: Any, few: Any) -> Comparison:
    repeats = math.ceil(MANY / FEW / 10)  # long enough to be timed

    def small() -> None:
        for _ in range(repeats):
            way(few)

    name = f"a mixture of {FEW}"
    return Comparison(
        f"{work}: a mixture of {MANY:,}",
        partial(way, many),
        small,
        name,
        MANY,
        repeats * FEW,
        WITHIN,
        RUNS,
        both_ours=True,
    )


def _linear(work: str, large: Callable[[], Any], small: Callable[[], Any], items: int) -> Comparison:
    many, few = MANY_CLASSES, FEW_CLASSES
    return Comparison(
        f"{work}: one of {many}", large, small, f"one of {few}", items * many, items * few, WITHIN, RUNS, both_ours=True
    )


def _load(data: MixtureDataModule) -> None:
    for _ in data.train_dataloader():
        pass


def _write_rows(mixtures: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / SCORES_FILE
        parts, written = RowParts(path.with_suffix(".parts"), SELECTION_COLUMNS), 0
        for index in range(mixtures):
            measures = [0.1 * number + 1 / (index + 1) for number in range(len(SELECTION_COLUMNS) - 7)]
            models = enumerate(("speech", "music", "environmental"))
            written += parts.append(
                [
                    (index, "speech", f"a{index}|b{index}", model, source, "", *measures, int(number == 0))
                    for number, model in models
                    for source in range(2)
                ],
                rank=0,
            )
        parts.close()
        parts.merge(path, written)
        read_evaluated([path])


def _train(data: MixtureDataModule, device: torch.device) -> Any:
    separator = WeakLabelSeparator("frame", classes=data.classes, network=partial(BLSTM, units=64, layers=1))
    network = partial(CRNN, channels=(2, 4, 8), units=16)
    separator.judge = EventClassifier("frame", classes=data.classes, network=network)
    separator.judge.requires_grad_(False)
    return train(separator, data, 2, device)


def _loss(sources: int, device: torch.device) -> Callable[[], Any]:
    generator = torch.Generator().manual_seed(0)
    embedding = torch.nn.functional.normalize(torch.rand(2, BINS, 20, generator=generator), dim=-1).to(device)
    number = torch.randint(sources, (2, BINS), generator=generator)
    dominant = torch.nn.functional.one_hot(number, sources).mT.bool().contiguous().to(device)
    weight = torch.ones(2, BINS, device=device)

    def both() -> None:
        leaf = embedding.detach().requires_grad_()
        deep_clustering_loss(leaf, dominant, weight).sum().backward()

    return both
