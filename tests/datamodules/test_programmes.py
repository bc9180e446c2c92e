"""Programmes of alternating domains: made of the domains' own mixtures, and of nothing but seed and index."""

from itertools import pairwise

import pytest
import torch

from datamodules.corpora.procedural import Procedural, ProceduralVoices
from datamodules.programmes import programme
from datamodules.source_pairs import SourcePairs

SETTINGS = {"sample_rate": 8000, "window": 256, "hop": 128, "validation_mixtures": 5}
SETTINGS |= {"train_folds": [1], "validation_folds": [2], "test_folds": [3]}


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """Mixtures of three domains, of different lengths."""
    banks, datasets = str(tmp_path_factory.mktemp("banks")), {}
    corpora = {"environmental": Procedural(6, 8000, folds=3), "speech": ProceduralVoices(9, 2, 8000, folds=3)}
    corpora["other"] = corpora["environmental"]
    for (name, corpus), duration in zip(corpora.items(), (0.5, 0.7, 0.6), strict=True):
        data = SourcePairs(corpus, name, duration=duration, bank_folder=banks, seed=len(datasets), **SETTINGS)
        data.build(workers=0)
        datasets[name] = data.dataset("validation")
    return datasets


def test_a_programme_is_its_domains_own_mixtures_one_after_the_other(domains):
    drawn = programme(domains, 3, "validation", 1, 7)
    assert len(drawn.bounds) == 8 and drawn.bounds[-1] == len(drawn.mixture) == drawn.sources.shape[-1]
    for place, (start, stop) in enumerate(pairwise(drawn.bounds)):
        name, index = drawn.domains[place], drawn.indices[place]
        mixture = domains[name][index]
        assert torch.equal(drawn.mixture[start:stop], mixture.mixture)
        assert torch.equal(drawn.sources[:, start:stop], mixture.sources)
        assert drawn.recordings[place] == domains[name].recordings(index)


def test_domains_change_at_every_join_and_mixtures_come_again_only_when_all_have_come(domains):
    drawn = [programme(domains, 0, "validation", index, 10) for index in range(30)]
    names = [name for each in drawn for name in each.domains]
    assert all(one != other for each in drawn for one, other in pairwise(each.domains))
    assert all(60 < names.count(name) < 140 for name in domains)
    changes = {pair for each in drawn for pair in pairwise(each.domains)}
    assert len(changes) == 6 and {each.domains[0] for each in drawn} == {*domains}
    assert [each.indices for each in drawn] == [[number % 5 for number in range(10)]] * 30
    assert programme(domains, 0, "validation", 1, 3).indices == [3, 4, 0]


def test_it_depends_on_seed_and_index_alone(domains):
    torch.manual_seed(1)
    one, same, other = (programme(domains, seed, "validation", 4, 9) for seed in (5, 5, 6))
    assert one.domains == same.domains != other.domains and torch.equal(one.mixture, same.mixture)
