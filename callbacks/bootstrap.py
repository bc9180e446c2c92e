"""The pigeonhole bootstrap (Owen, Annals of Applied Statistics, 2007): few recordings make many mixtures.

It resamples recordings, not mixtures, and gives a mixture the product of its recordings' multiplicities.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from callbacks.selection_rows import Floats


def multiplicities(recordings: Sequence[Sequence[str]], draws: int, seed: int) -> Iterator[Floats]:
    """How often each mixture comes in each draw of as many recordings as there are, with replacement.

    Args:
        recordings: what each of the N mixtures is made of.
        draws: number of draws.
        seed: of the generator.

    Yields:
        Products of the multiplicities of each mixture's distinct recordings, [N].
    """
    distinct = [list(dict.fromkeys(mixture)) for mixture in recordings]
    names = sorted({name for mixture in distinct for name in mixture})
    number = {name: i for i, name in enumerate(names)}
    # The number after the last one stands for "no further recording" and comes exactly once in every draw.
    made_of = np.full((len(distinct), max(map(len, distinct))), len(names))
    for i, mixture in enumerate(distinct):
        made_of[i, : len(mixture)] = [number[name] for name in mixture]
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)))
        yield np.append(counts, 1)[made_of].prod(1).astype(np.float64)
