from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from datamodules.sampling import EpochLoader, EpochSampler
from lightning_modules.errors import InputError


def epoch(mixtures, epoch_mixtures, number, rank=0, ranks=1, seed=0, batch=1):
    """The order of one rank in an epoch."""
    sampler = EpochSampler(mixtures, epoch_mixtures, batch, seed, rank, ranks)
    sampler.set_epoch(number)
    order = list(sampler)
    assert len(order) == len(sampler)
    return order


def test_an_epoch_of_the_whole_set_visits_every_mixture_once_in_another_order_each_time():
    orders = [epoch(50, 50, number) for number in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2] and orders[0] != list(range(50))


@pytest.mark.parametrize("epoch_mixtures", [7, 30, 120])
def test_epochs_of_any_size_go_through_the_set_evenly(epoch_mixtures):
    epochs = 50 * 6 // epoch_mixtures
    visits = Counter(chain.from_iterable(epoch(50, epoch_mixtures, number) for number in range(epochs)))
    passes, rest = divmod(epochs * epoch_mixtures, 50)
    assert len(visits) == 50 and set(visits.values()) <= ({passes, passes + 1} if rest else {passes})


@given(st.integers(2, 5), st.integers(1, 6), st.integers(1, 80), st.integers(1, 90), st.integers(0, 5))
def test_ranks_see_in_every_step_what_one_rank_sees_in_a_batch_as_large_as_all_of_theirs(
    ranks, batch, mixtures, epoch_mixtures, number
):
    alone = epoch(mixtures, epoch_mixtures, number, batch=ranks * batch)
    shared = [epoch(mixtures, epoch_mixtures, number, rank, ranks, batch=batch) for rank in range(ranks)]
    assert len({len(order) for order in shared}) == 1
    for step in range(len(alone) // (ranks * batch)):
        together = [index for order in shared for index in order[step * batch : (step + 1) * batch]]
        assert sorted(together) == sorted(alone[step * ranks * batch : (step + 1) * ranks * batch])
    assert sum(map(len, shared)) == len(alone) == epoch_mixtures // (ranks * batch) * ranks * batch


def test_what_does_not_fill_a_batch_comes_in_the_next_epoch():
    whole = epoch(100, 100, 0)
    assert [*epoch(100, 10, 0, batch=4), *epoch(100, 10, 1, batch=4)] == whole[:16]


def test_an_order_depends_on_seed_and_epoch_alone():
    assert epoch(40, 25, 6) == epoch(40, 25, 6)
    assert epoch(40, 25, 6) != epoch(40, 25, 6, seed=1)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_worker_that_is_killed_while_it_hands_a_batch_over_is_named(error, monkeypatch):
    def hand_over(loader):
        yield 0
        raise error

    monkeypatch.setattr(DataLoader, "__iter__", hand_over)
    with pytest.raises(InputError, match=r"DataLoader worker is gone.*--data.workers 0$"):
        list(EpochLoader(range(3)))
