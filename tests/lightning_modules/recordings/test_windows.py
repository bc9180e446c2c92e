"""Windows: they cover a recording, are read without holding it, and join to what they were cut from."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.recordings.running_moments import RunningMoments
from lightning_modules.recordings.windows import WindowedRecording, in_one_order, joined, windows

LENGTH, OVERLAP, FADE, GRID = 160, 48, 16, 8


@given(st.integers(1, 5000))
def test_windows_cover_a_recording_and_their_own_parts_tile_it(samples):
    plan = windows(samples, LENGTH, OVERLAP, GRID)
    assert [window.own_start for window in plan] == [0, *(window.own_stop for window in plan[:-1])]
    assert plan[-1].own_stop == plan[-1].stop == samples
    for before, after in itertools.pairwise(plan):
        assert before.stop - after.start == OVERLAP
        assert after.own_start == after.start + OVERLAP // 2
        assert after.start % GRID == after.own_start % GRID == 0
    assert all(window.stop - window.start <= LENGTH + GRID for window in plan)
    # None is a mere remainder.
    assert min(window.stop - window.start for window in plan) >= min(samples, (LENGTH - OVERLAP) // 2 + OVERLAP - GRID)


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(1, 300))
def test_windows_join_to_the_recording_that_they_were_cut_from(samples, block):
    signal = torch.randn(2, samples, generator=torch.Generator().manual_seed(block))
    recording = WindowedRecording(lambda: signal.split(block, -1), windows(samples, LENGTH, OVERLAP, GRID))
    found = torch.cat(list(joined(recording, FADE)), -1)
    torch.testing.assert_close(found, signal, rtol=0, atol=1e-6)


def test_one_window_fades_into_the_next_with_weights_that_add_up_to_one():
    plan = windows(400, LENGTH, OVERLAP, GRID)
    pieces = [(window, torch.full((1, window.stop - window.start), float(n))) for n, window in enumerate(plan)]
    (found,) = torch.cat(list(joined(pieces, FADE)), -1)
    assert found[0] == 0 and found[-1] == len(plan) - 1
    steps = found.diff()
    assert (steps >= 0).all() and steps.max() < 1.01 / FADE
    assert (steps > 0).sum() <= (len(plan) - 1) * (FADE + 1)


def test_no_more_of_a_recording_is_read_than_the_window_needs():
    plan, read = windows(100_000, LENGTH, OVERLAP, GRID), [0]

    def blocks():
        for block in torch.zeros(1, 100_000).split(64, -1):
            read[0] += 64
            yield block

    for excerpt in WindowedRecording(blocks, plan):
        assert read[0] < excerpt.window.stop + 64


@pytest.mark.parametrize("sources", [2, 3])
def test_sources_keep_their_order_whatever_order_a_window_has_them_in(sources):
    signals = torch.randn(sources, 1, 1000, generator=torch.Generator().manual_seed(sources))
    plan = windows(1000, LENGTH, OVERLAP, GRID)
    shuffled = []
    for number, window in enumerate(plan):
        order = torch.randperm(sources, generator=torch.Generator().manual_seed(number)) if number else slice(None)
        shuffled.append((window, signals[order][..., window.start : window.stop]))
    found = torch.cat(list(joined(in_one_order(shuffled), FADE)), -1)
    torch.testing.assert_close(found, signals, rtol=0, atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(-1e3, 1e3))
def test_moments_of_parts_are_those_of_the_whole(lengths, offset):
    values = offset + torch.randn(sum(lengths) + 2, generator=torch.Generator().manual_seed(len(lengths)))
    moments = RunningMoments()
    for part in values.split([*lengths, 2]):
        moments.add(part.view(1, 1, -1))
    deviation, mean = moments.deviation_and_mean()
    expected = torch.std_mean(values.double())
    torch.testing.assert_close(deviation.double().squeeze(), expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mean.double().squeeze(), expected[1], rtol=1e-5, atol=1e-6)
