"""How the cost of a mixture grows with their number: the large case is "ours", the small one the reference."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from callbacks.row_parts import RowParts
from datamodules.mixtures import MixtureDataModule
from datamodules.urban_scenes import UrbanScenes
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.data import exhaust, noise_mixtures
from lightning_modules.run_files import RunFiles
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, SELECTION_SCORES, read_evaluated

MANY, FEW, REPEATS = 20_000, 100, 20  # mixtures; the few are gone through so often that it can be timed
BATCH = 10


def benchmark_growth(device: torch.device) -> Iterator[Comparison]:
    """From 100 to 20,000 mixtures: one of many is to cost at most 10 % more than one of few."""

    def growth(work: str, way: Callable[[Any], Any], many: Any, few: Any) -> Comparison:
        names = f"{work}: a mixture of {MANY:,}", f"a mixture of {FEW}"
        ways = partial(way, many), lambda: [way(few) for _ in range(REPEATS)]
        return Comparison(names[0], *ways, names[1], MANY, FEW * REPEATS, wanted=0.9, runs=3, both_ours=True)

    many, few = (noise_mixtures(UrbanScenes, n, batch_size=BATCH, train_sources=False) for n in (MANY, FEW))
    with many as many_mixtures, few as few_mixtures:
        work = "an epoch of mixtures without sources, loaded in one process"
        yield growth(work, _load, many_mixtures, few_mixtures)
    yield growth("rows of 3 models and 2 sources: written, merged, read for the table", _write_rows, MANY, FEW)


def _load(data: MixtureDataModule) -> None:
    exhaust(data.train_dataloader())


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
