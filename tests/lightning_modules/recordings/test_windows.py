"""Windows: they cover a recording, and join to what they were cut from."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.recordings.windows import in_one_order, joined, windows

LENGTH, OVERLAP, FADE, GRID = 160, 48, 16, 8


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5000))
def test_windows_cover_a_recording_and_join_to_it(samples):
    plan = windows(samples, LENGTH, OVERLAP, GRID)
    assert [window.own_start for window in plan] == [0, *(window.own_stop for window in plan[:-1])]
    assert plan[-1].own_stop == plan[-1].stop == samples
    for before, after in itertools.pairwise(plan):
        assert before.stop - after.start == OVERLAP
        assert after.own_start == after.start + OVERLAP // 2
        assert after.start % GRID == 0
    assert all(window.stop - window.start <= LENGTH for window in plan)
    signal = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    found = torch.cat(list(joined([(one, signal[:, one.start : one.stop]) for one in plan], FADE)), -1)
    torch.testing.assert_close(found, signal, rtol=0, atol=1e-6)


def test_one_window_fades_into_the_next_in_the_middle_of_their_overlap():
    plan = windows(400, LENGTH, OVERLAP, GRID)
    pieces = [(window, torch.full((1, window.stop - window.start), float(n))) for n, window in enumerate(plan)]
    (found,) = torch.cat(list(joined(pieces, FADE)), -1)
    ramp = (torch.arange(FADE) + 0.5) / FADE
    for n, window in enumerate(plan[1:], 1):
        first = window.own_start - FADE // 2
        torch.testing.assert_close(found[first : first + FADE], n - 1 + ramp)
        assert found[first - 1] == n - 1 and found[first + FADE] == n


@pytest.mark.parametrize("sources", [2, 3])
def test_sources_keep_their_order_whatever_order_a_window_has_them_in(sources):
    signals = torch.randn(sources, 1, 1000, generator=torch.Generator().manual_seed(sources))
    shuffled = []
    for number, window in enumerate(windows(1000, LENGTH, OVERLAP, GRID)):
        order = torch.randperm(sources, generator=torch.Generator().manual_seed(number)) if number else slice(None)
        shuffled.append((window, signals[order][..., window.start : window.stop]))
    found = torch.cat(list(joined(in_one_order(shuffled), FADE)), -1)
    torch.testing.assert_close(found, signals, rtol=0, atol=1e-6)
