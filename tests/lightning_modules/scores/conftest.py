"""Synthetic evaluations of the model-selection task."""

from collections.abc import Callable

import numpy as np
import pytest

from lightning_modules.scores.ensembles import choose
from lightning_modules.scores.selection_rows import SELECTION_SCORES, Evaluated

DOMAINS = ("speech", "music", "environmental")


@pytest.fixture(scope="session")
def evaluated_factory() -> Callable[..., Evaluated]:
    """A function that makes an evaluation: a domain's own model separates best, and confidence tells how well."""

    def make(
        mixtures: int = 60,
        models: tuple[str, ...] = DOMAINS,
        domains: tuple[str, ...] = DOMAINS,
        recordings: int = 12,
        seed: int = 0,
    ) -> Evaluated:
        generator = np.random.default_rng(seed)
        domain = np.repeat(domains, mixtures)
        own = domain[:, None] == np.array(models)
        quality = np.where(own, generator.normal(9, 4, own.shape), generator.normal(2, 3, own.shape))
        source_si_sdr = quality[..., None] + generator.normal(0, 1.5, (*own.shape, 2))
        scores = {name: 0.3 + 0.02 * quality + generator.normal(0, 0.08, own.shape) for name in SELECTION_SCORES}
        made_of = generator.integers(recordings, size=(len(domain), 2))
        return Evaluated(
            models=models,
            domains=domains,
            index=np.tile(np.arange(mixtures), len(domains)),
            domain=domain,
            recordings=tuple(tuple(dict.fromkeys(f"{d}{i}" for i in r)) for d, r in zip(domain, made_of, strict=True)),
            source_si_sdr=source_si_sdr,
            scores=scores,
            picked=np.eye(len(models), dtype=bool)[choose(scores["confidence"])],
            left_out={},
            silent_estimates={},
        )

    return make
