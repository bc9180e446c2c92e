"""Resampling block by block: the samples of the whole, whatever the blocks."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.corpora.audio_file import resample
from lightning_modules.recordings.resampling import Resampler, rate_ratio, resampled_length

RATES = st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000, 15_999])


def in_blocks(signal: torch.Tensor, ends: list[int]) -> list[torch.Tensor]:
    edges = [0, *sorted({end for end in ends if 0 < end < signal.shape[-1]}), signal.shape[-1]]
    return [signal[..., first:last] for first, last in itertools.pairwise(edges)]


@settings(deadline=None, max_examples=40)
@given(RATES, RATES, st.integers(1, 3000), st.lists(st.integers(1, 3000), max_size=6))
def test_any_blocks_give_the_samples_of_the_whole(rate, new_rate, samples, ends):
    signal = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    ratio = rate_ratio(rate, new_rate)
    found = torch.cat(list(Resampler(ratio)(in_blocks(signal, ends))), -1)
    assert found.shape[-1] == resampled_length(samples, ratio)
    expected = torch.stack([torch.from_numpy(resample(channel.numpy(), rate, new_rate)) for channel in signal])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(RATES, RATES, st.integers(1, 100_000))
def test_forth_and_back_a_signal_is_as_long_as_it_was_or_a_little_longer(rate, new_rate, samples):
    ratio = rate_ratio(rate, new_rate)
    back = resampled_length(resampled_length(samples, ratio), 1 / ratio)
    assert samples <= back < samples + ratio + 1


def test_equal_rates_leave_the_blocks_as_they_are():
    blocks = [torch.randn(1, 5), torch.randn(1, 2)]
    assert all(a is b for a, b in zip(Resampler(rate_ratio(8000, 8000))(blocks), blocks, strict=True))
