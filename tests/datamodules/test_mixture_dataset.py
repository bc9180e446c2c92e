"""Mixtures as a plain torch data set, with a loader that knows nothing of this project."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader, Subset, default_collate

from separatrix import Batch, FolderPerClass, MixtureDataset, SourcePairs, UrbanScenes

RATE, CLASSES = 8000, ("bell", "drum", "whistle")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """A folder of recordings: DIR/{train,validation,test}/CLASS/*.wav."""
    root, noise = tmp_path_factory.mktemp("recordings"), np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for label in CLASSES:
            (root / split / label).mkdir(parents=True)
            for take in range(2):
                soundfile.write(root / split / label / f"{split}{take}.wav", 0.1 * noise.standard_normal(6000), RATE)
    return root


@pytest.fixture(scope="module", params=["scenes", "pairs"])
def dataset(request, recordings, tmp_path_factory) -> MixtureDataset:
    folds = {f"{split}_folds": [split] for split in ("train", "validation", "test")}
    settings = {**folds, "sample_rate": RATE, "window": 256, "duration": 1.0, "test_mixtures": 12}
    settings["bank_folder"] = str(tmp_path_factory.mktemp("banks"))
    corpus = FolderPerClass(str(recordings))
    if request.param == "scenes":
        module = UrbanScenes(corpus, classes=CLASSES, latest_onset=0.5, **settings)
    else:
        module = SourcePairs(corpus, domain="birds", **settings)
    module.build()
    return module.dataset("test")


def assert_same(one: Batch, other: Batch) -> None:
    for name, mine, its in zip(Batch._fields, one, other, strict=True):
        assert torch.equal(mine, its), name


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_own_loader_collates_mixtures(dataset, workers):
    batches = list(DataLoader(dataset, batch_size=5, num_workers=workers))
    assert [type(batch) for batch in batches] == [Batch] * 3 and len(dataset) == 12
    assert_same(Batch(*map(torch.cat, zip(*batches, strict=True))), dataset.batch(range(12)))


def test_a_shuffled_loader_gives_each_mixture_once_and_unchanged(dataset):
    shuffled = DataLoader(dataset, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(1))
    batches = list(shuffled)
    order = torch.cat([batch.indices for batch in batches]).tolist()
    assert order != sorted(order) == list(range(12))
    assert_same(Batch(*map(torch.cat, zip(*batches, strict=True))), dataset.batch(order))


def test_mixtures_are_to_be_had_in_any_order_and_by_any_integer(dataset):
    last = dataset[11]
    assert_same(dataset[np.int64(11)], last)
    assert_same(dataset[torch.tensor(11)], last)
    assert_same(default_collate([last]), dataset.batch([11]))
    assert_same(next(iter(DataLoader(Subset(dataset, [11, 3]), batch_size=2))), dataset.batch([11, 3]))
    assert [int(mixture.indices) for mixture in dataset] == list(range(12))
    for number in (-1, 12):
        with pytest.raises(IndexError, match=f"mixture {number} of 12"):
            dataset[number]


def test_a_pickled_data_set_takes_no_samples_along(dataset):
    sounds = dataset.bank.samples.nbytes
    pickled = pickle.dumps(dataset)
    assert len(pickled) < sounds / 10
    assert_same(pickle.loads(pickled).batch([3]), dataset.batch([3]))
