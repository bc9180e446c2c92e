"""Programmes: recordings in which mixtures of different domains follow each other: a pure function of (seed, index)."""

from collections.abc import Mapping
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from datamodules.mixture_dataset import MixtureDataset
from datamodules.recipes import generator_for
from lightning_modules.batch import Split


class Programme(NamedTuple):
    """S mixtures, one straight after the other, T samples together.

    Attributes:
        mixture: [T].
        sources: those of every mixture, in the order of its own, [Q, T].
        bounds: first sample of each mixture, and T, S + 1 of them.
        domains: of the mixtures, S of them.
        indices: of the mixtures in their domain's set.
        recordings: that each mixture is made of.
    """

    mixture: Tensor
    sources: Tensor
    bounds: list[int]
    domains: list[str]
    indices: list[int]
    recordings: list[list[str]]


def programme(domains: Mapping[str, MixtureDataset], seed: int, split: Split, index: int, segments: int) -> Programme:
    """Draw the domains of a programme, each as likely and none twice in a row, and put its mixtures together.

    Programme n has the mixtures n·S to n·S + S - 1 of the domains drawn, counted round.

    Args:
        domains: the mixtures of each, two at least, of one rate and number of sources.
        seed: of the programmes.
        split: that the mixtures are of.
        index: of the programme.
        segments: number of mixtures, S.
    """
    generator, names = generator_for(seed, split, "programme", index), list(domains)
    places = [int(generator.integers(len(names)))]
    while len(places) < segments:
        places.append((places[-1] + int(generator.integers(1, len(names)))) % len(names))
    drawn = [names[place] for place in places]
    indices = [(index * segments + number) % len(domains[name]) for number, name in enumerate(drawn)]
    batches = [domains[name].batch([number]) for name, number in zip(drawn, indices, strict=True)]
    return Programme(
        torch.cat([batch.mixture[0] for batch in batches]),
        torch.cat([batch.sources[0] for batch in batches], -1),
        [0, *accumulate(batch.mixture.shape[-1] for batch in batches)],
        drawn,
        indices,
        [domains[name].recordings(number) for name, number in zip(drawn, indices, strict=True)],
    )
