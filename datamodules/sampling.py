"""In which order, and on which rank, the mixtures of a training are visited."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from datamodules.loader_worker import lost_worker
from datamodules.recipes import generator_for


class EpochSampler(Sampler[int]):
    """Training order: an epoch is a number of mixtures, whatever the size of the training set.

    Epochs follow each other through the training set, shuffled anew at each pass. Ranks take every n-th position, so n
    ranks with batches of b see in every step, and so in every epoch, exactly the mixtures that one rank with batches of
    n·b sees.

    Args:
        mixtures: size of the training set.
        epoch_mixtures: mixtures an epoch, over all ranks; what does not fill a batch on every rank is left to the next
            epoch.
        batch_size: mixtures a step on each rank.
        seed: of the order.
        rank: of this process.
        ranks: number of processes.
        variants: whether a mixture has another number at each pass: its index plus that of passes times `mixtures`.
    """

    def __init__(
        self,
        mixtures: int,
        epoch_mixtures: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        variants: bool = False,
    ) -> None:
        self.mixtures = mixtures
        step = batch_size * ranks
        self.epoch_mixtures = epoch_mixtures // step * step
        self.seed = seed
        self.rank = rank
        self.ranks = ranks
        self.variants = variants
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch, also the first one after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.epoch_mixtures // self.ranks

    def __iter__(self) -> Iterator[int]:
        begin = self.epoch * self.epoch_mixtures
        positions = np.arange(begin + self.rank, begin + self.epoch_mixtures, self.ranks)
        passes, places = np.divmod(positions, self.mixtures)
        for number in np.unique(passes):
            order = generator_for(self.seed, "train", "order", int(number)).permutation(self.mixtures)
            first = number * self.mixtures if self.variants else 0
            yield from (first + order[places[passes == number]]).tolist()


class EpochLoader(DataLoader[Any]):
    """Torch's loader, whose workers take the first indices when the first batch is asked for, and not before.

    Lightning makes a loader's iterator before it has restored a checkpoint and calls `set_epoch`; torch's would have
    its workers begin with another epoch's mixtures by then.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its own iterator's class
        try:
            yield from super().__iter__()
        except (ConnectionError, EOFError) as error:
            raise lost_worker(error) or error from error
