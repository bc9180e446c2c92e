"""A recording in overlapping windows, and what was made of them joined again: memory follows the window's length."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


class Window(NamedTuple):
    """A stretch of a recording, in samples from its beginning.

    Attributes:
        start: its first sample.
        stop: the one after its last.
        own_start: the first that no other window speaks for: the middle of the overlap with the window before.
        own_stop: the one after the last: the middle of the overlap with the next window.
    """

    start: int
    stop: int
    own_start: int
    own_stop: int


class Excerpt(NamedTuple):
    """The samples of a window, [channels, n].

    Attributes:
        window: where they lie.
        samples: [channels, n].
    """

    window: Window
    samples: Tensor


def windows(samples: int, length: int, overlap: int, grid: int) -> list[Window]:
    """Windows of about equal lengths that cover a recording; one where it is no longer than a window.

    Args:
        samples: of the recording.
        length: of a window, at most (to the grid).
        overlap: of neighbouring windows, an even number of grid steps.
        grid: of which starts and middles of overlaps are multiples: frames then lie alike in all windows.
    """
    if samples <= length:
        return [Window(0, samples, 0, samples)]
    number = -(-(samples - overlap) // (length - overlap))
    starts = [(samples - overlap) * n // (number * grid) * grid for n in range(number)]
    stops = [*(start + overlap for start in starts[1:]), samples]
    joins = [0, *(start + overlap // 2 for start in starts[1:]), samples]
    return [Window(*four) for four in zip(starts, stops, joins[:-1], joins[1:], strict=True)]


class WindowedRecording:
    """A recording in windows, as often as one iterates over it; no more than a window and a block are held.

    Args:
        blocks: begins to read the recording: consecutive samples, [channels, n] each.
        plan: the windows, from first to last.
    """

    def __init__(self, blocks: Callable[[], Iterable[Tensor]], plan: Sequence[Window]) -> None:
        self._blocks = blocks
        self._plan = plan
        self.samples = plan[-1].stop

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._plan)

    def __iter__(self) -> Iterator[Excerpt]:
        """Read the recording from the beginning."""
        blocks = iter(self._blocks())
        held: list[Tensor] = []
        first = length = 0  # of what is held: its place in the recording, and how much it is
        for window in self._plan:
            while first + length < window.stop:
                held.append(next(blocks))
                length += held[-1].shape[-1]
            rest = torch.cat(held, -1)[..., window.start - first :]
            yield Excerpt(window, rest[..., : window.stop - window.start])
            held, first, length = [rest], window.start, rest.shape[-1]


def joined(pieces: Iterable[tuple[Window, Tensor]], fade: int) -> Iterator[Tensor]:
    """Windows as one signal: in the middle of an overlap one fades into the other, linearly, so that weights add to 1.

    The rest of an overlap is dropped: there a network has heard too little of what comes before or after.

    Args:
        pieces: consecutive windows and what was made of them, [..., n].
        fade: length of the cross-fade in samples, even, no longer than an overlap.

    Yields:
        Consecutive samples, [..., m].
    """
    tail: Tensor | None = None
    for window, piece in pieces:
        begin = 0 if window.own_start == window.start else window.own_start - window.start - fade // 2
        end = piece.shape[-1] if window.own_stop == window.stop else window.own_stop - window.start - fade // 2
        if tail is not None:
            weight = (torch.arange(fade, device=piece.device) + 0.5) / fade
            yield torch.lerp(tail, piece[..., begin : begin + fade], weight.to(piece.dtype))
            begin += fade
        yield piece[..., begin:end]
        tail = piece[..., end : end + fade]


def in_one_order(pieces: Iterable[tuple[Window, Tensor]]) -> Iterator[tuple[Window, Tensor]]:
    """Windows whose sources, [Q, channels, n], come in any order, in the order of the first one's.

    Of all orders the one in which neighbours resemble each other most in what they share: the sum over the sources of
    the inner products is the largest, and so the squared difference the smallest.
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
