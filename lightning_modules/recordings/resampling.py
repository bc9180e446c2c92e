"""Resampling of a recording block by block, to the samples that its resampling as a whole gives."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import torch
from torch import Tensor
from torchaudio.transforms import Resample


def rate_ratio(rate: int, new_rate: int) -> Fraction:
    """rate / new_rate, or within 10⁻⁶ of it: a filter with a phase for each of 22,049 samples would fill gigabytes."""
    return Fraction(rate, new_rate).limit_denominator(1000)


def resampled_length(samples: int, ratio: Fraction) -> int:
    """Length of so many samples once they are resampled by this ratio of the old rate to the new one."""
    return math.ceil(samples / ratio)


class Resampler:
    """Band-limited resampling without seams: each output sample is computed from all the input that its filter reaches.

    Args:
        ratio: old rate / new rate.
    """

    def __init__(self, ratio: Fraction) -> None:
        self.ratio = ratio
        self.old, self.new = ratio.as_integer_ratio()
        self._resample = Resample(self.old, self.new)
        # A group of `old` samples becomes one of `new`, by a filter that reaches so many groups beyond it.
        self._margin = 0 if ratio == 1 else math.ceil(self._resample.width / self.old)

    def __call__(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Resample one signal.

        Args:
            blocks: its consecutive samples, [..., n] each; before the first and after the last lie zeros.

        Yields:
            Consecutive samples at the new rate, [..., m], `resampled_length` of them in all.
        """
        if self.ratio == 1:
            yield from blocks
            return
        waiting: Tensor | None = None
        taken = given = 0
        for block in blocks:
            if waiting is None:
                waiting = block.new_zeros(*block.shape[:-1], self._margin * self.old)
            taken += block.shape[-1]
            done, waiting = self._groups(torch.cat([waiting, block], -1))
            given += done.shape[-1]
            yield done
        if waiting is not None:
            silence = waiting.new_zeros(*waiting.shape[:-1], (self._margin + 1) * self.old)
            done, _ = self._groups(torch.cat([waiting, silence], -1))
            yield done[..., : resampled_length(taken, self.ratio) - given]

    def _groups(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """What the groups with a margin on both sides become, and the samples that later groups need."""
        groups = samples.shape[-1] // self.old - 2 * self._margin
        if groups <= 0:
            return samples[..., :0], samples
        within = samples[..., : (groups + 2 * self._margin) * self.old]
        done = self._resample.to(samples.device)(within)
        return done.narrow(-1, self._margin * self.new, groups * self.new), samples[..., groups * self.old :]
