"""Overlapping windows of a recording, and one signal again of what was made of them."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

SHORTEST = 8  # of the grid's lengths in a window


class Window(NamedTuple):
    """A stretch of a recording, in samples from its beginning."""

    start: int
    stop: int
    own_start: int  # the middle of the overlap with the window before, or the beginning
    own_stop: int  # the middle of the overlap with the next window, or the end


def windows(samples: int, length: int, overlap: int, grid: int) -> list[Window]:
    """Windows of about equal lengths that cover a recording; a single one where it is no longer than a window.

    `length` is that of a window at most, above `overlap` + `grid`. Starts are multiples of the grid: the frames of a
    spectrogram then lie alike in all windows.
    """
    if samples <= length:
        return [Window(0, samples, 0, samples)]
    number = -(-(samples - overlap) // (length - overlap - grid))
    starts = [(samples - overlap) * n // (number * grid) * grid for n in range(number)]
    stops = [*(start + overlap for start in starts[1:]), samples]
    middles = [0, *(start + overlap // 2 for start in starts[1:]), samples]
    return [Window(*four) for four in zip(starts, stops, middles[:-1], middles[1:], strict=True)]


def planned(samples: int, length: int, grid: int) -> tuple[list[Window], int]:
    """The windows of a recording, which overlap by a quarter, and the length of the fade from one to the next.

    `length` is that of a window at most; a short one is lengthened to `SHORTEST` times the grid.
    """
    length = max(length, SHORTEST * grid)
    return windows(samples, length, length // 4, grid), length // 16


def joined(pieces: Iterable[tuple[Window, Tensor]], fade: int) -> Iterator[Tensor]:
    """Windows as one signal: in the middle of an overlap one fades into the other, linearly, so that weights add to 1.

    The rest of an overlap is dropped: there a network knows too little of what comes before or after. The fade, in
    samples, is no longer than an overlap. Consecutive windows and their signals, [..., n], become samples, [..., m].
    """
    tail: Tensor | None = None
    for window, piece in pieces:
        begin = 0 if tail is None else window.own_start - window.start - fade // 2
        end = piece.shape[-1] if window.own_stop == window.stop else window.own_stop - window.start - fade // 2
        if tail is not None:
            weight = (torch.arange(fade, device=piece.device) + 0.5) / fade
            yield torch.lerp(tail, piece[..., begin : begin + fade], weight)
            begin += fade
        yield piece[..., begin:end]
        tail = piece[..., end : end + fade]


def in_one_order(pieces: Iterable[tuple[Window, Tensor]]) -> Iterator[tuple[Window, Tensor]]:
    """Windows whose sources, [Q, channels, n], come in any order, in the order of the first one's.

    Of all orders the one whose squared difference from the window before, where both overlap, is the smallest.
    """
    before: tuple[Window, Tensor] | None = None
    for window, piece in pieces:
        if before is not None:
            shared = before[0].stop - window.start
            ours, theirs = (part.flatten(1).double() for part in (piece[..., :shared], before[1][..., -shared:]))
            _, order = linear_sum_assignment((theirs @ ours.mT).cpu().numpy(), maximize=True)
            piece = piece[torch.from_numpy(order).to(piece.device)]
        before = window, piece
        yield before
