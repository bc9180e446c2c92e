"""Data modules of both systems: which mixtures their loaders and data sets give, and what they refuse."""

import hashlib
import pickle
import subprocess
import sys
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.utils.data import DataLoader, default_collate

from datamodules.augmentation import Augmentation
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.librispeech import LibriSpeech
from datamodules.corpora.musdb18 import MUSDB18
from datamodules.corpora.procedural import Procedural, ProceduralMusic, ProceduralVoices
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.inspection import integrated_loudness
from datamodules.mixtures import MixtureDataModule
from datamodules.pair_recipes import PairRules
from datamodules.recipes import SceneRules
from datamodules.source_pairs import SourcePairs
from datamodules.stem_scenes import StemScenes
from datamodules.urban_scenes import UrbanScenes
from experiments.command_line.configurations import CONFIGS
from lightning_modules.batch import Batch
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_unchanged

REPOSITORY = Path(__file__).parents[2]
RATE = 8_000
SETTINGS = {"sample_rate": RATE, "window": 256, "hop": 128, "duration": 2.0}
SETTINGS |= {"train_folds": (1,), "validation_folds": (2,), "test_folds": (3,)}
SETTINGS |= {"train_mixtures": 23, "validation_mixtures": 9, "test_mixtures": 11}
SETTINGS |= {"batch_size": 4, "evaluation_batch_size": 4}
SOUNDS = Procedural(6, RATE, folds=3)
VOICES = ProceduralVoices(speakers=7, utterances_per_speaker=2, sample_rate=RATE, folds=3)
MUSIC = ProceduralMusic(songs=7, sections_per_song=1, sample_rate=RATE, folds=3)
SONGS = {"stems": ("vocals", "accompaniment"), "quietest": 10, "loudest": 10}
KINDS: dict[str, tuple[type[MixtureDataModule], dict[str, Any]]] = {
    "scenes": (UrbanScenes, {"corpus": SOUNDS, "classes": ("car_horn", "dog_bark", "siren"), "latest_onset": 1.8}),
    "voices": (SourcePairs, {"corpus": VOICES, "domain": "speech"}),
    "songs": (
        SourcePairs,
        {"corpus": MUSIC, "domain": "music", "train_coherent": 0.5, "evaluation_coherent": 1.0, **SONGS},
    ),
}


class Noises(Corpus):
    """Clips of a second of noise, made from their names."""

    name = "noises"

    def __init__(self, *clips: Clip) -> None:
        self._clips = list(clips)

    def clips(self) -> list[Clip]:
        return self._clips

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        generator = np.random.default_rng(list(clip.name.encode()))
        return (0.1 * generator.standard_normal(RATE)).astype(np.float32), RATE

    def fingerprint(self, clips: list[Clip]) -> str:
        return repr(clips)


def module_of(kind: str, folder: Path, **changes) -> MixtureDataModule:
    cls, settings = KINDS[kind]
    return cls(**{**SETTINGS, **settings, "bank_folder": str(folder), **changes})


def built(kind: str, folder: Path, **changes) -> MixtureDataModule:
    module = module_of(kind, folder, **changes)
    module.build(workers=0)
    return module


@pytest.fixture(scope="module")
def banks(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("banks")


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def module(kind, banks) -> MixtureDataModule:
    return built(kind, banks)


def digest(batches) -> str:
    sha = hashlib.sha256()
    for batch in batches:
        for field in batch:
            sha.update(field.numpy().tobytes())
    return sha.hexdigest()


def assert_same(one: Batch, other: Batch) -> None:
    assert all(torch.equal(mine, its) for mine, its in zip(one, other, strict=True))


def clips_of(module: MixtureDataModule, split) -> list[list[Clip]]:
    recipes = module.recipes(split)
    return [[module.bank.clips[n] for n in recipes(index).clips] for index in range(module.mixtures[split])]


def test_batches_have_the_shapes_of_the_contract(module):
    batch, classes = next(iter(module.train_dataloader())), len(module.classes)
    shapes = [(4, 16_000), (4, classes, 16_000), (4, classes, module.geometry.frames(16_000)), (4, classes), (4,)]
    assert [tuple(field.shape) for field in batch] == shapes and batch.indices.dtype == torch.int64
    assert torch.equal(batch.clip_labels, batch.frame_labels.amax(-1))
    torch.testing.assert_close(batch.sources.sum(1), batch.mixture, rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")
def test_worker_processes_give_the_same_bits(module, kind, banks):
    alone, shared = list(module.val_dataloader()), list(built(kind, banks, workers=2).val_dataloader())
    assert len(alone) == 3 and digest(alone) == digest(shared)


FRESH = """
import pickle, random, sys
import numpy, torch
random.seed(5); numpy.random.seed(5); torch.manual_seed(5)
dataset, corpora = pickle.load(sys.stdin.buffer)
sounds = [corpus.read(corpus.clips()[7])[0] for corpus in corpora]
pickle.dump((tuple(dataset.batch(range(9))), sounds), sys.stdout.buffer)
"""


def test_a_fresh_process_gives_the_same_mixtures_and_procedural_sounds_bit_for_bit(banks):
    dataset, corpora = built("songs", banks).dataset("train"), (SOUNDS, VOICES, MUSIC)
    given = pickle.dumps((dataset, corpora))
    done = subprocess.run([sys.executable, "-c", FRESH], cwd=REPOSITORY, input=given, capture_output=True, check=True)
    batch, sounds = pickle.loads(done.stdout)
    assert_same(batch, dataset.batch(range(9)))
    assert all(np.array_equal(s, c.read(c.clips()[7])[0]) for c, s in zip(corpora, sounds, strict=True))


def test_torchs_own_loader_takes_the_data_set_as_it_is(module):
    dataset = module.dataset("test")
    batches = list(DataLoader(dataset, 4, shuffle=True, generator=torch.Generator().manual_seed(1)))
    order = torch.cat([batch.indices for batch in batches]).tolist()
    assert {type(batch) for batch in batches} == {Batch} and order != sorted(order) == list(range(11))
    assert_same(Batch(*map(torch.cat, zip(*batches, strict=True))), dataset.batch(order))


def test_mixtures_are_available_in_any_order_and_by_any_integer_and_pickled_without_samples(module):
    dataset = module.dataset("test")
    assert_same(default_collate([dataset[np.int64(10)], dataset[torch.tensor(3)]]), dataset.batch([10, 3]))
    assert len(list(dataset)) == len(dataset) == 11
    for number in (-1, 11):
        with pytest.raises(IndexError, match=f"mixture {number} of 11"):
            dataset[number]
    pickled = pickle.dumps(dataset)
    assert len(pickled) < dataset.bank.samples.nbytes / 10
    assert_same(pickle.loads(pickled)[3], dataset[3])


def test_a_split_is_of_its_own_folds_and_recordings_are_named_in_the_order_of_the_events(module):
    for split, folds in module.folds.items():
        drawn = clips_of(module, split)
        assert {clip.fold for clips in drawn for clip in clips} == folds
        recordings = [list(dict.fromkeys(clip.recording for clip in clips)) for clips in drawn]
        assert [module.dataset(split).recordings(index) for index in range(len(drawn))] == recordings
        for label in (None, drawn[0][0].label):
            expected = [
                n for n, clip in enumerate(module.bank.clips) if clip.fold in folds and label in (None, clip.label)
            ]
            assert module.clip_numbers(split, label).tolist() == expected


def test_the_identity_of_a_split_says_what_its_mixtures_depend_on(module, kind, banks):
    assert module_of(kind, banks, batch_size=2, workers=3).signature("test") == module.signature("test")
    changes = ({"seed": 1}, {"loudest": 13.0}, {"duration": 1.9}, {"test_mixtures": 12}, {"hop": 64})
    others = [module_of(kind, banks, **change).signature("test") for change in changes]
    assert len({module.signature("test"), module.signature("train"), *others}) == 7


def test_the_class_prior_is_the_share_of_active_frames_over_all_training_mixtures(module):
    dataset = module.dataset("train")
    labels = dataset.batch(range(len(dataset))).frame_labels
    for ranks in (1, 3, 40):
        counted = sum(dataset.active_frames(rank, ranks) for rank in range(ranks))
        assert counted.dtype == torch.int64 and torch.equal(counted[0], labels.sum((0, 2)).long())
        assert (counted[1] == labels[:, 0].numel()).all()
    torch.testing.assert_close(module.class_prior(), labels.mean((0, 2)))


def test_loaders_visit_whole_training_batches_and_every_mixture_to_evaluate_that_is_not_left_out(module, kind, banks):
    assert [len(batch.indices) for batch in module.train_dataloader()] == [4] * 5
    assert len(list(built(kind, banks, epoch_mixtures=8).train_dataloader())) == 2
    for loader, count in ((module.val_dataloader(), 9), (module.predict_dataloader(), 11)):
        assert torch.cat([batch.indices for batch in loader]).tolist() == list(range(count))
    resumed = built(kind, banks)
    resumed.leave_out({0, 3, 10})
    assert torch.cat([batch.indices for batch in resumed.test_dataloader()]).tolist() == [1, 2, 4, 5, 6, 7, 8, 9]


def test_ranks_visit_every_mixture_to_evaluate_once_and_the_rest_on_another_number_of_ranks(banks):
    module = built("voices", banks)

    def visited(ranks: int) -> list[list[int]]:
        orders = []
        for rank in range(ranks):
            module.trainer = SimpleNamespace(world_size=ranks, global_rank=rank)
            orders.append([index for batch in module.test_dataloader() for index in batch.indices.tolist()])
        return orders

    parts = visited(3)
    assert sorted(chain.from_iterable(parts)) == list(range(11)) and [len(part) for part in parts] == [4, 4, 3]
    done = {index for rank, part in enumerate(parts) for index in part[: 1 + rank]}
    module.leave_out(done)
    rest = visited(2)
    assert sorted([*done, *chain.from_iterable(rest)]) == list(range(11)) and abs(len(rest[0]) - len(rest[1])) <= 1
    assert sum(map(bool, visited(11))) == 11 - len(done)


def test_training_without_sources_gives_the_same_mixtures(module, kind, banks):
    bare = built(kind, banks, train_sources=False)
    for with_sources, without in zip(module.train_dataloader(), bare.train_dataloader(), strict=True):
        assert without.sources.shape == (4, 0, 16_000) and torch.equal(with_sources.mixture, without.mixture)
    assert next(iter(bare.val_dataloader())).sources.shape[1] == len(bare.classes)


def test_clips_of_other_saliences_and_labels_take_no_part(urbansound_factory, banks, tmp_path):
    root = urbansound_factory(classes=("car_horn", "dog_bark"), folds=(1, 2, 3), clips_per_class=2)
    module = module_of("scenes", tmp_path, corpus=UrbanSound8K(root), classes=("car_horn", "dog_bark"), saliences=(1,))
    assert {clip.salience for clip in module.clips()} == {1} and len(module.clips()) == 6
    pairs = built("voices", banks, corpus=SOUNDS, labels=["siren", "car_horn"])
    assert all({clip.label for clip in clips} == {"siren", "car_horn"} for clips in clips_of(pairs, "train"))


def test_songs_are_coherent_where_they_are_evaluated_and_by_a_share_where_they_train(banks):
    songs = built("songs", banks)
    coherent = {
        split: [clips[0].recording == clips[1].recording for clips in clips_of(songs, split)] for split in songs.folds
    }
    assert all(coherent["validation"]) and all(coherent["test"]) and 0 < sum(coherent["train"]) < 23
    assert songs.classes == ("vocals", "accompaniment") and built("voices", banks).classes == ("source_1", "source_2")
    # Cut from one moment, at the ratio of the rules: the song but for the level of its vocals.
    recipe, item = songs.recipes("test")(4), songs.dataset("test")[4]
    assert recipe.loudness[0] - recipe.loudness[1] == 10
    start = round(recipe.starts[0] * RATE)
    for number, source in zip(recipe.clips, item.sources.double().numpy(), strict=True):
        excerpt = MUSIC.read(songs.bank.clips[number])[0][start : start + 2 * RATE].astype(np.float64)
        np.testing.assert_allclose(source, excerpt * (source @ excerpt) / (excerpt @ excerpt), atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("scenes", {"classes": ()}, r"classes: \[\]; a list of different names"),
        ("scenes", {"classes": ("siren", "siren")}, "classes: .*; a list of different names"),
        ("scenes", {"test_folds": (1, 3)}, "test_folds: fold 1 is in train_folds too"),
        *(("scenes", {name: -2}, f"{name}: -2; at least 1") for name in ("train_mixtures", "epoch_mixtures")),
        *(("scenes", {name: 0}, f"{name}: 0; at least 1") for name in ("batch_size", "evaluation_batch_size")),
        ("scenes", {"window": 255}, "window: 255; an even number"),
        ("scenes", {"seed": -1}, "seed: -1; at least 0"),
        ("scenes", {"unlabelled_events": -1}, "unlabelled_events: -1; a number from 0 to"),
        ("scenes", {"hierarchy": {"alarm": ["siren", "bell"]}}, "hierarchy: bell is not among the classes"),
        ("scenes", {"level_shares": [0.5, 0.5]}, r"level_shares: \[0.5, 0.5\]; 1, one for each depth"),
        (
            "scenes",
            {"level_shares": [0.5]},
            r"level_shares: \[0.5\]; 1, one for each depth of the hierarchy, which add",
        ),
        ("scenes", {"unlabelled_classes": ["siren"]}, "unlabelled_classes: siren among `classes`, too; leave it out"),
        ("voices", {"sources": 1}, "sources: 1; at least 2"),
        ("voices", {"train_coherent": 0.5}, "coherent: 0.5; only stems sound together"),
        ("songs", {"fewest_sources": 2}, "fewest_sources: 2; a mixture of stems has all of them: leave it out"),
        ("songs", {"evaluation_coherent": 2.0}, "coherent: 2.0; a number from 0 to 1"),
        ("voices", {"stems": ("vocals",)}, r"stems: \['vocals'\]; 2 different labels are needed, one for each source"),
        ("songs", {"labels": ("vocals", "bass")}, r"labels: .* leave out stems \(accompaniment\); give stems alone"),
    ],
)
def test_an_impossible_setting_is_named_in_one_line_before_anything_is_read(tmp_path, kind, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        module_of(kind, tmp_path, **changes)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def clip(label: str, fold: int, recording: str) -> Clip:
    return Clip(f"{label}/{fold}/{recording}", label, fold, recording)


OWN = [clip(label, fold, f"{label}{fold}") for fold in (1, 2) for label in "ab"]
STEMS = {"stems": ["a", "b"], "evaluation_coherent": 1.0}
ALL = ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren")


@pytest.mark.parametrize(
    ("kind", "clips", "changes", "message"),
    [
        ("voices", [], {}, "test split: 0 of the 2 labels that a mixture needs; give other folds"),
        ("voices", [clip("a", 3, "x"), clip("b", 3, "x")], {}, "test split: no 2 labels of different recordings"),
        ("voices", [clip("a", 3, "x"), clip("c", 3, "y")], {"labels": ["a", "b"]}, r"b: no clip in test_folds \[3\]"),
        ("voices", [clip("a", 3, "x"), clip("b", 3, "y")], STEMS, r"validation split: no section has all stems"),
        (
            "voices",
            [clip(label, fold, f"r{n}") for label in "ab" for fold in (1, 3) for n in range(5)],
            {},
            r"train_folds and test_folds share 5 recordings of noises \(r0, r1, r2, 2 more\); choose other folds",
        ),
        ("scenes", None, {"classes": ("siren", "thunder")}, r"thunder: no clip in train_folds \[1\] of procedural"),
        ("scenes", None, {"validation_folds": (8,)}, r"no clip in validation_folds \[8\] of procedural"),
        ("scenes", None, {"unlabelled_events": 1, "unlabelled_classes": ["rain"]}, "no clip of rain in procedural"),
        ("scenes", None, {"unlabelled_events": 1, "classes": ALL}, r"unlabelled_events: no clip .* train_folds \[1\]"),
        ("scenes", None, {"batch_size": 24}, "epoch_mixtures: 23 over 1 ranks do not fill a batch of 24"),
    ],
)
def test_data_that_cannot_be_mixed_are_named_in_one_line(banks, kind, clips, changes, message):
    corpus = {} if clips is None else {"corpus": Noises(*OWN, *clips)}
    with pytest.raises(InputError, match=message) as caught:
        built(kind, banks, **corpus, **changes).train_dataloader()
    assert "\n" not in str(caught.value)


class Muted(Noises):
    """All of label b is silent in fold 3."""

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        samples, rate = super().read(clip)
        return samples * (clip.label != "b" or clip.fold != 3), rate


@pytest.mark.parametrize(
    "data",
    [
        lambda **settings: UrbanScenes(classes="ab", latest_onset=1, **settings),
        lambda **settings: StemScenes(classes="ab", **settings),
        lambda **settings: SourcePairs(domain="x", stems="ab", train_coherent=1, evaluation_coherent=1, **settings),
    ],
)
def test_a_label_whose_clips_in_a_split_are_silent_is_named_in_one_line(data, tmp_path):
    corpus = Muted(*(clip(label, fold, f"r{fold}") for label in "ab" for fold in (1, 2, 3)))
    module = data(corpus=corpus, bank_folder=str(tmp_path), **SETTINGS)
    with pytest.raises(InputError, match=r"^b: no clip in test_folds \[3\] of noises; choose other folds, or leave"):
        module.build(workers=0)


def test_a_split_without_folds_is_not_needed(tmp_path):
    module = built("voices", tmp_path, corpus=Noises(*OWN), validation_folds=(), test_folds=())
    assert len(list(module.train_dataloader())) == 5


def test_events_of_other_classes_are_added_to_the_same_scenes_and_their_sum_is_the_last_source(banks):
    plain, scenes = (built("scenes", banks, **more) for more in ({}, {"unlabelled_events": 2, "unlabelled_level": 3}))
    others = {"gun_shot", "jackhammer"}
    without, batch = (module.dataset("test").batch(range(11)) for module in (plain, scenes))
    assert torch.equal(batch.sources[:, :3], without.sources) and torch.equal(batch.frame_labels, without.frame_labels)
    torch.testing.assert_close(batch.sources.sum(1), batch.mixture, rtol=0, atol=1e-6)
    for index in range(11):
        recipe, expected, recordings = scenes.recipes("test")(index), np.zeros(16_000), []
        for number, of, onset, loudness in zip(*recipe[:4], strict=True):
            clip = scenes.bank.clips[number]
            assert (of == 3) == (clip.label in others) and clip.fold == 3
            if of == 3:
                assert -27 <= loudness <= -22 and 0 <= onset <= 1.8
                sound, begin = SOUNDS.read(clip)[0], round(onset * RATE)
                sound = sound * 10 ** ((loudness - integrated_loudness(sound, RATE)) / 20)
                expected[begin : begin + len(sound)] += sound[: 16_000 - begin]
                recordings.append(clip.recording)
        np.testing.assert_allclose(batch.sources[index, 3], expected, atol=1e-6)
        assert scenes.dataset("test").recordings(index, 3) == list(dict.fromkeys(recordings))
    assert 0 < batch.sources[:, 3].any(-1).sum() < 11  # some have none
    assert next(iter(scenes.train_dataloader())).sources.shape[1] == 4
    assert plain.signature("test") == built("scenes", banks, unlabelled_level=3).signature("test")
    states = [built("scenes", banks, **more).state_dict() for more in ({}, {"unlabelled_events": 2})]
    changed = {name for name, value in states[0].items() if value != states[1][name]}
    assert changed == {"unlabelled_events", "train_clips", "validation_clips"}


def test_labels_of_a_hierarchy_reach_down_to_the_level_of_each_mixture(banks):
    plain = built("scenes", banks)
    labelled: dict[str, Any] = {"hierarchy": {"alarm": ["car_horn", "siren"]}, "level_shares": [0.6, 0.4]}
    scenes = built("scenes", banks, **labelled)
    for split in ("train", "validation", "test"):
        without, batch = (module.dataset(split).batch(range(9)) for module in (plain, scenes))
        assert torch.equal(batch.mixture, without.mixture) and torch.equal(batch.sources, without.sources)
        labels = torch.cat((without.frame_labels, without.frame_labels[:, [0, 2]].amax(1, keepdim=True)), 1)
        coarse = batch.frame_labels[:, 0, 0].isnan()
        assert coarse.any() == (split != "test") and not coarse.all()
        labels[coarse.nonzero(), torch.tensor([0, 2])] = torch.nan
        torch.testing.assert_close(batch.frame_labels, labels, equal_nan=True)
        torch.testing.assert_close(batch.clip_labels, labels.amax(-1), equal_nan=True)
        assert torch.equal(scenes.dataset(split)[5].frame_labels.isnan(), labels[5].isnan())  # of the index alone
    known = scenes.dataset("train").batch(range(23)).frame_labels
    torch.testing.assert_close(scenes.class_prior(), known.nanmean((0, 2)))
    varied = built("scenes", banks, **labelled, augmentation=Augmentation(tilt=1.0)).dataset("train")
    for begin in (0, 23):  # at every pass
        assert torch.equal(varied.batch(range(begin, begin + 23)).frame_labels.isnan(), known.isnan())
    coarse = built("scenes", banks, hierarchy=scenes.hierarchy, level_shares=[1, 0])
    assert coarse.class_prior()[[0, 2]].tolist() == [0.5, 0.5]
    assert len({module.signature("train") for module in (plain, scenes, coarse)}) == 3
    with pytest.raises(InputError, match="level_shares"):
        require_unchanged(coarse.state_dict(), scenes.state_dict())


def test_unlabelled_clips_are_of_recordings_that_lie_in_one_fold_and_have_no_clip_of_a_class(tmp_path):
    known = [clip(label, fold, f"{label}{fold}") for fold in (1, 2, 3) for label in "ab"]
    alone = [clip("rain", fold, f"rain{fold}") for fold in (1, 2, 3)] + [clip("wind", 2, "w")]
    spread = [clip("rain", 1, "r"), clip("wind", 3, "r"), clip("rain", 2, "s"), clip("rain", 7, "s")]
    corpus = Noises(clip("wind", 1, "a1"), *alone, *spread, *known)
    settings = {"corpus": corpus, "classes": ("a", "b"), "unlabelled_events": 1}
    assert module_of("scenes", tmp_path, **settings).clips() == known + alone
    settings["unlabelled_classes"] = ["wind"]
    assert module_of("scenes", tmp_path, **settings).clips() == [*known, alone[-1], spread[1]]
    assert module_of("scenes", tmp_path, **settings, saliences=(2,)).included() == []


class OfFreesound(Noises):
    """Recordings by their numbers, as two corpora have them."""

    def freesound_id(self, clip: Clip) -> str:
        return clip.recording.rpartition("/")[2]


def test_a_recording_of_freesound_that_two_corpora_have_is_no_class_here_and_unlabelled_there(tmp_path):
    known = [clip(label, fold, f"1/{label}{fold}") for fold in (1, 2, 3) for label in "ab"]
    alone = [clip("rain", fold, f"2/rain{fold}") for fold in (1, 2, 3)]
    corpus = OfFreesound(clip("wind", 1, "2/a3"), clip("wind", 1, "1/w"), clip("rain", 2, "2/w"), *alone, *known)
    settings = {"corpus": corpus, "classes": ("a", "b"), "unlabelled_events": 1}
    assert module_of("scenes", tmp_path, **settings).clips() == known + alone


def test_a_damaged_bank_of_all_splits_is_told_where_one_is_needed(tmp_path):
    bank = built("scenes", tmp_path).bank
    (bank.path / "index.npz").write_bytes(b"cut")
    with pytest.raises(InputError, match="damaged sound bank"):
        module_of("scenes", tmp_path).build(split="test")
    assert len(list(tmp_path.glob("*/index.npz"))) == 1


def configured(names: list[str], corpus: Any, folder: Path) -> SourcePairs:
    """The data that shipped configurations describe, with a corpus from elsewhere."""
    settings: dict[str, Any] = {}
    for name in names:
        settings |= yaml.safe_load((CONFIGS / "deep_clustering" / f"{name}.yaml").read_text())["data"]["init_args"]
    return SourcePairs(**{**settings, "corpus": corpus, "bank_folder": str(folder)})


@pytest.mark.parametrize(
    ("domain", "quietest", "loudest", "coherent"),
    [("speech", -2.5, 2.5, (0, 0, 0)), ("music", 10, 10, (0.5, 1, 1)), ("environmental", -2.5, 2.5, (0, 0, 0))],
)
def test_shipped_scenes_and_pairs_are_the_published_ones(tmp_path, domain, quietest, loudest, coherent):
    module = configured(["base", domain], VOICES, tmp_path)
    rules = [PairRules(2, 5.0, quietest, loudest, share) for share in coherent]
    assert [module.rules(split) for split in module.folds] == rules
    assert module.mixtures == {"train": 20_000, "validation": 5_000, "test": 3_000}
    scenes = UrbanScenes(Procedural(), str(tmp_path))
    assert scenes.rules("train") == SceneRules(4.0, event_rate=5.0, latest_onset=3.5, quietest=-30.0, loudest=-25.0)
    assert scenes.mixtures == {"train": 20_000, "validation": 5_000, "test": 5_000}


def test_levels_of_training_mixtures_may_be_spread_wider_than_those_of_evaluation(tmp_path):
    module = SourcePairs(MUSIC, "music", **SONGS, train_quietest=0, train_loudest=15, bank_folder=str(tmp_path))
    of_split = {split: (module.rules(split).quietest, module.rules(split).loudest) for split in module.folds}
    assert of_split == {"train": (0, 15), "validation": (10, 10), "test": (10, 10)}
    with pytest.raises(InputError, match="quietest: 10 dB is louder than loudest, 9 dB"):
        SourcePairs(MUSIC, "music", **SONGS, train_loudest=9)


def test_a_training_of_before_mixtures_of_several_numbers_of_sources_resumes_and_with_them_is_another(banks):
    before = built("voices", banks).state_dict()
    for split in ("train", "validation"):
        del before[f"{split}_rules"]["fewest_sources"]
    require_unchanged(built("voices", banks).state_dict(), before)
    with pytest.raises(InputError, match=r"^train_rules\.fewest_sources: 2, but None when the training began"):
        require_unchanged(built("voices", banks, fewest_sources=2).state_dict(), before)


@pytest.mark.parametrize(("names", "corpus"), [(["base", "speech"], LibriSpeech), (["base", "music"], MUSDB18)])
def test_real_recordings_make_the_mixtures_of_the_shipped_configurations(real_data, tmp_path, names, corpus):
    module = configured(names, corpus(real_data), tmp_path)
    module.build()
    for split in module.folds:
        batch = module.dataset(split).batch(range(10))
        assert batch.mixture.shape == (10, 80_000) and batch.sources.isfinite().all()
        torch.testing.assert_close(batch.sources.sum(1), batch.mixture, rtol=0, atol=1e-6)
        assert (batch.mixture.abs().amax(-1) > 1e-3).all()
