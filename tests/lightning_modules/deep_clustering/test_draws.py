"""Draws against splitmix64 in whole numbers, and their independence of each other and of what must not decide them."""

import torch

from lightning_modules.deep_clustering.draws import uniform, uniform_at


def test_uniform_follows_splitmix64():
    def mix(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    identity = torch.tensor([0, 1, -1, 2**62, -(2**63)])
    numbers = uniform(identity, 50, stream=3)
    assert numbers.dtype == torch.float64
    for b, number in enumerate(identity.tolist()):
        key = mix((mix(number % 2**64) + 3) % 2**64)
        expected = [(mix((key + i * 0x9E3779B97F4A7C15) % 2**64) >> 11) / 2**53 for i in range(1, 51)]
        assert numbers[b].tolist() == expected


def test_uniform_at_picks_from_the_sequence():
    identity = torch.tensor([5, -6])
    place = torch.tensor([[0, 99, 3], [7, 7, 0]])
    assert torch.equal(uniform_at(identity, place, 2), uniform(identity, 100, 2).gather(1, place))
