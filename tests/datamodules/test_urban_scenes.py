import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from datamodules.corpora.procedural import Procedural
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.recipes import SceneRules
from datamodules.urban_scenes import UrbanScenes
from lightning_modules.errors import InputError

REPOSITORY = Path(__file__).parents[2]
CLASSES = ("car_horn", "dog_bark", "siren")
SETTINGS = {
    "classes": CLASSES,
    "sample_rate": 8_000,
    "window": 256,
    "hop": 128,
    "train_folds": (1,),
    "validation_folds": (2,),
    "test_folds": (3,),
    "train_mixtures": 23,
    "validation_mixtures": 9,
    "test_mixtures": 11,
    "duration": 1.0,
    "latest_onset": 0.8,
    "batch_size": 4,
    "evaluation_batch_size": 4,
}


def scenes(folder: Path, **changes) -> UrbanScenes:
    module = UrbanScenes(Procedural(6, 8_000, folds=3), str(folder), **{**SETTINGS, **changes})
    module.build(workers=0)
    return module


@pytest.fixture(scope="module")
def banks(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("banks")


@pytest.fixture(scope="module")
def small(banks) -> UrbanScenes:
    return scenes(banks)


def digest(batches) -> str:
    sha = hashlib.sha256()
    for batch in batches:
        for field in batch:
            sha.update(field.numpy().tobytes())
    return sha.hexdigest()


def test_by_default_scenes_are_the_published_ones(tmp_path):
    module = UrbanScenes(Procedural(), str(tmp_path))
    published = SceneRules(duration=4.0, event_rate=5.0, latest_onset=3.5, quietest=-30.0, loudest=-25.0)
    assert module.scene_rules == published
    assert module.mixtures == {"train": 20_000, "validation": 5_000, "test": 5_000}


def test_batches_have_the_shapes_of_the_contract(small):
    batch = next(iter(small.train_dataloader()))
    frames = small.geometry.frames(8_000)
    assert [tuple(field.shape) for field in batch] == [(4, 8_000), (4, 3, 8_000), (4, 3, frames), (4, 3), (4,)]
    assert batch.indices.dtype == torch.int64
    assert torch.equal(batch.clip_labels, batch.frame_labels.amax(-1))


def test_an_item_is_its_row_of_a_batch(small):
    dataset = small.dataset("validation")
    batch = dataset.batch([2, 5])
    assert all(torch.equal(alone, many[1]) for alone, many in zip(dataset[5], batch, strict=True))
    assert len(dataset) == 9
    with pytest.raises(IndexError, match="mixture 9 of 9"):
        dataset[9]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_worker_processes_give_the_same_bits(small, banks):
    alone = list(small.val_dataloader())
    shared = list(scenes(banks, workers=4).val_dataloader())
    assert len(alone) == len(shared) == 3 and digest(alone) == digest(shared)


def test_a_fresh_process_gives_the_same_bits(small, banks, tmp_path):
    pickle_file = tmp_path / "scenes.pickle"
    pickle_file.write_bytes(pickle.dumps((Procedural(6, 8_000, folds=3), str(banks), SETTINGS)))
    program = f"""
import hashlib, pickle, random
import numpy, torch
random.seed(5); numpy.random.seed(5); torch.manual_seed(5)
from datamodules.urban_scenes import UrbanScenes
corpus, folder, settings = pickle.load(open({str(pickle_file)!r}, "rb"))
sha = hashlib.sha256()
for batch in UrbanScenes(corpus, folder, **settings).train_dataloader():
    for field in batch:
        sha.update(field.numpy().tobytes())
print(sha.hexdigest())
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == digest(small.train_dataloader())


def test_a_split_hears_only_clips_of_its_own_folds(small):
    for split, folds in small.folds.items():
        recipes = small.recipes(split)
        clips = {clip for index in range(50) for clip in recipes(index).clips.tolist()}
        assert {small.bank.clips[clip].fold for clip in clips} == folds


def test_clips_are_numbered_by_split_and_label(small):
    clips = small.bank.clips
    for split, folds in small.folds.items():
        for label in (None, *CLASSES, "of no clip"):
            expected = [n for n, clip in enumerate(clips) if clip.fold in folds and label in (None, clip.label)]
            numbers = small.clip_numbers(split, label)
            assert numbers.dtype == "int64" and numbers.tolist() == expected


def test_clips_of_other_saliences_take_no_part(urbansound_factory, tmp_path):
    root = urbansound_factory(classes=("car_horn", "dog_bark"), folds=(1, 2, 3), clips_per_class=2)
    settings = {**SETTINGS, "classes": ("car_horn", "dog_bark")}
    module = UrbanScenes(UrbanSound8K(root), str(tmp_path), **settings, saliences=(1,))
    assert {clip.salience for clip in module.clips()} == {1} and len(module.clips()) == 6


def test_the_class_prior_is_the_share_of_active_frames_over_all_training_mixtures(small):
    dataset = small.dataset("train")
    labels = torch.stack([dataset[index].frame_labels for index in range(len(dataset))])
    torch.testing.assert_close(small.class_prior(), labels.mean((0, 2)))


@pytest.mark.parametrize("ranks", [1, 2, 5, 40])
def test_the_active_frames_that_ranks_count_add_up(small, ranks):
    dataset = small.dataset("train")
    labels = torch.stack([dataset[index].frame_labels for index in range(len(dataset))])
    counted = sum(dataset.active_frames(rank, ranks) for rank in range(ranks))
    assert counted.dtype == torch.int64 and torch.equal(counted, labels.sum((0, 2)).long())


def test_the_training_loader_leaves_out_a_batch_that_does_not_fill(small):
    assert [len(batch.indices) for batch in small.train_dataloader()] == [4] * 5


def test_an_epoch_is_a_number_of_mixtures(banks):
    assert len(list(scenes(banks, epoch_mixtures=8).train_dataloader())) == 2


def test_validation_and_test_visit_every_mixture_once_in_order(small):
    for loader, count in ((small.val_dataloader(), 9), (small.test_dataloader(), 11)):
        assert torch.cat([batch.indices for batch in loader]).tolist() == list(range(count))


def test_a_test_goes_on_with_the_mixtures_that_have_no_row(banks):
    module = scenes(banks)
    module.leave_out({0, 3, 10})
    assert torch.cat([batch.indices for batch in module.test_dataloader()]).tolist() == [1, 2, 4, 5, 6, 7, 8, 9]


def test_training_without_sources_gives_the_same_mixtures(small, banks):
    bare = scenes(banks, train_sources=False)
    for with_sources, without in zip(small.train_dataloader(), bare.train_dataloader(), strict=True):
        assert without.sources.shape == (4, 0, 8_000) and torch.equal(with_sources.mixture, without.mixture)
    assert next(iter(bare.val_dataloader())).sources.shape == (4, 3, 8_000)


def test_preparing_data_only_verifies_that_the_bank_is_there(small, tmp_path):
    small.prepare_data()
    unbuilt = UrbanScenes(Procedural(6, 8_000, folds=3), str(tmp_path), **SETTINGS)
    with pytest.raises(InputError, match="build it with `separatrix bank`"):
        unbuilt.prepare_data()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ()}, r"classes: \[\]; a list of different names"),
        ({"classes": ("siren", "siren")}, "classes: .*; a list of different names"),
        ({"test_folds": (1, 3)}, "test_folds: fold 1 is in train_folds too"),
        ({"train_mixtures": 0}, "train_mixtures: 0; at least 1"),
        ({"epoch_mixtures": -2}, "epoch_mixtures: -2; at least 1"),
        ({"batch_size": 0}, "batch_size: 0; at least 1"),
        ({"evaluation_batch_size": 0}, "evaluation_batch_size: 0; at least 1"),
        ({"sample_rate": 0}, "sample_rate: 0; at least 1"),
        ({"window": 255}, "window: 255; an even number"),
        ({"hop": 0}, "hop: 0; between 1 and half the window"),
        ({"latest_onset": 1.0}, "latest_onset: 1.0 s; between 0 and the duration"),
        ({"event_rate": 0.0}, "event_rate: 0.0; a number above 0"),
    ],
)
def test_an_impossible_setting_is_named_in_one_line(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        UrbanScenes(Procedural(6, 8_000, folds=3), str(tmp_path), **{**SETTINGS, **changes})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("siren", "thunder")}, r"thunder: no clip in train_folds \[1\] of procedural"),
        ({"train_folds": (1, 9), "validation_folds": (8,)}, r"no clip in validation_folds \[8\] of procedural"),
        ({"batch_size": 24}, "epoch_mixtures: 23 over 1 ranks do not fill a batch of 24"),
    ],
)
def test_data_that_cannot_be_mixed_are_named_in_one_line(banks, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        scenes(banks, **changes).train_dataloader()
    assert "\n" not in str(caught.value)


def test_real_recordings_make_audible_mixtures_and_those_without_loudness_are_left_out(real_data, tmp_path):
    settings = {"train_folds": (1,), "validation_folds": (2,), "test_folds": (10,), "test_mixtures": 20}
    module = UrbanScenes(UrbanSound8K(real_data), str(tmp_path), ("car_horn", "gun_shot", "siren"), **settings)
    left_out = [line.split(":")[0].removeprefix("audio/") for line in module.build().left_out]
    assert left_out == ["fold2/159747-8-0-21.wav", *(f"fold10/159742-8-0-{take}.wav" for take in range(3))]
    mixtures = torch.cat([batch.mixture for batch in module.test_dataloader()])
    assert mixtures.shape == (20, 64_000) and mixtures.isfinite().all()
    assert (mixtures.abs().amax(-1) > 1e-3).all()
