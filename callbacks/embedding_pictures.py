"""Pictures of what deep clustering clusters: the embedding of a mixture's loudest bins, under every model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from scipy.optimize import linear_sum_assignment

from lightning_modules.atomic_file import atomic_file
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.run_files import RunFiles
from lightning_modules.scores.figures import embedding_figure, write_figure


class EmbeddingPictures(Callback):
    """In a test of a model selection, leaves embeddings/INDEX-MODEL.npz and the picture drawn from it as PNG.

    Each holds bins that are drawn from those that k-means looked at: their embedding [n, D], the number of their
    cluster [n], numbered like the source that it fits best, and of their true dominant source [n].

    Args:
        mixtures: indices of the test mixtures to picture.
        bins: how many of each, n.
        folder: that holds `embeddings`; in a command of `separatrix`, that of the run.
    """

    def __init__(self, mixtures: Sequence[int] = (0,), bins: int = 2000, folder: str | None = None) -> None:
        self.folder = folder
        self.mixtures = frozenset(mixtures)
        self.bins = bins

    def on_test_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        for place, index in enumerate(batch.indices.tolist()):
            if index in self.mixtures:
                mixture = Batch(*(field[place : place + 1] for field in batch))
                for name, model in zip(pl_module.names, pl_module.models, strict=True):
                    if not isinstance(model, DeepClustering):
                        continue
                    path = RunFiles(self.folder or "").embedding(index, name)
                    self._picture(path, model, mixture, f"{name} model, mixture {index}")

    def _picture(self, path: Path, model: DeepClustering, mixture: Batch, title: str) -> None:
        embedded = model.embed(mixture.mixture)
        separated = model.separate(embedded, mixture.indices, mixture.mixture.shape[-1])
        bins = embedded.loudest[0]
        drawn = np.random.default_rng(0).permutation(len(bins))[: self.bins]
        bins = bins[torch.from_numpy(drawn).to(bins)]
        points = embedded.embedding[0, bins].double()
        embedding = points.cpu().numpy()
        sources = model.source_magnitudes(mixture.sources)[0, :, bins].argmax(0).cpu().numpy()
        nearest = torch.cdist(points, separated.centres[0]).argmin(-1).cpu().numpy()
        # Numbered like the sources that they fit best: the same colours mean the same in both halves of the picture.
        shared = np.zeros((model.sources, model.sources))
        np.add.at(shared, (nearest, sources), 1)
        clusters = linear_sum_assignment(shared, maximize=True)[1][nearest]
        with atomic_file(path) as file:
            np.savez(file, embedding=embedding, clusters=clusters, sources=sources)
        write_figure(path.with_suffix(".png"), embedding_figure(embedding, clusters, sources, title))
