"""What random numbers of an epoch depend on."""

from itertools import product
from types import SimpleNamespace

import torch

from lightning_modules.resumable_epochs import ResumableEpochs


def test_every_epoch_rank_and_seed_draws_numbers_of_its_own_and_the_same_ones_again():
    def drawn(epoch: int, rank: int, seed: int) -> tuple[float, ...]:
        running, module = SimpleNamespace(current_epoch=epoch, global_rank=rank), SimpleNamespace(data_seed=seed)
        numbers = []
        for batch in range(2):  # the second goes on where the first ended
            ResumableEpochs().on_train_batch_start(running, module, None, batch)
            numbers.append(float(torch.rand(())))
        return tuple(numbers)

    cases = [*product(range(3), repeat=3)]
    numbers = [drawn(*case) for case in cases]
    assert len({number for pair in numbers for number in pair}) == 2 * len(cases)
    assert [drawn(*case) for case in reversed(cases)] == numbers[::-1]
