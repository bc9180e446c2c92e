import hashlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from datamodules.corpora.corpus import Clip
from datamodules.corpora.librispeech import LibriSpeech
from datamodules.corpora.musdb18 import MUSDB18
from datamodules.corpora.procedural import Procedural, ProceduralMusic, ProceduralVoices
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.inspection import inspect_table
from datamodules.pair_recipes import PairRules
from datamodules.source_pairs import SourcePairs
from experiments.command_line.configurations import CONFIGS
from lightning_modules.errors import InputError

REPOSITORY = Path(__file__).parents[2]
RATE = 8_000
SETTINGS = {
    "sample_rate": RATE,
    "window": 256,
    "hop": 128,
    "duration": 2.0,
    "train_folds": (1,),
    "validation_folds": (2,),
    "test_folds": (3,),
    "train_mixtures": 23,
    "validation_mixtures": 9,
    "test_mixtures": 11,
    "batch_size": 4,
    "evaluation_batch_size": 4,
}
SONGS = {"stems": ("vocals", "accompaniment"), "quietest": 10, "loudest": 10, "evaluation_coherent": 1.0}
VOICES = ProceduralVoices(speakers=7, utterances_per_speaker=2, sample_rate=RATE, folds=3)
MUSIC = ProceduralMusic(songs=7, sections_per_song=1, sample_rate=RATE, folds=3)


class Noises:
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


def pairs(corpus: Any, folder: Path, **changes) -> SourcePairs:
    return SourcePairs(corpus, "speech", bank_folder=str(folder), **{**SETTINGS, **changes})


def built(corpus: Any, folder: Path, **changes) -> SourcePairs:
    module = pairs(corpus, folder, **changes)
    module.build(workers=0)
    return module


@pytest.fixture(scope="module")
def banks(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("banks")


@pytest.fixture(scope="module")
def voices(banks) -> SourcePairs:
    return built(VOICES, banks)


@pytest.fixture(scope="module")
def songs(banks) -> SourcePairs:
    return built(MUSIC, banks, **SONGS, train_coherent=0.5)


def digest(batches) -> str:
    sha = hashlib.sha256()
    for batch in batches:
        for field in batch:
            sha.update(field.numpy().tobytes())
    return sha.hexdigest()


def clips_of(module: SourcePairs, split) -> Iterator[list[Clip]]:
    recipes = module.recipes(split)
    for index in range(module.mixtures[split]):
        yield [module.bank.clips[number] for number in recipes(index).clips]


def test_batches_have_the_shapes_of_the_contract(voices):
    batch = next(iter(voices.train_dataloader()))
    frames = voices.geometry.frames(2 * RATE)
    assert [tuple(field.shape) for field in batch] == [(4, 16_000), (4, 2, 16_000), (4, 2, frames), (4, 2), (4,)]
    assert batch.clip_labels.all()


def test_an_item_is_its_row_of_any_batch(voices, songs):
    for module in (voices, songs):
        dataset = module.dataset("train")
        for indices in ([2, 5], [5, 4, 3, 2], [5, 5]):
            batch = dataset.batch(indices)
            for row, index in enumerate(indices):
                assert all(torch.equal(alone, many[row]) for alone, many in zip(dataset[index], batch, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_worker_processes_give_the_same_bits(voices, banks):
    alone = list(voices.val_dataloader())
    shared = list(built(VOICES, banks, workers=4).val_dataloader())
    assert len(alone) == len(shared) == 3 and digest(alone) == digest(shared)


def test_a_fresh_process_gives_the_same_bits(songs, banks, tmp_path):
    pickle_file = tmp_path / "pairs.pickle"
    settings = {**SETTINGS, **SONGS, "train_coherent": 0.5, "bank_folder": str(banks)}
    pickle_file.write_bytes(pickle.dumps((MUSIC, settings)))
    program = f"""
import hashlib, pickle, random
import numpy, torch
random.seed(5); numpy.random.seed(5); torch.manual_seed(5)
from datamodules.source_pairs import SourcePairs
corpus, settings = pickle.load(open({str(pickle_file)!r}, "rb"))
sha = hashlib.sha256()
for batch in SourcePairs(corpus, "music", **settings).train_dataloader():
    for field in batch:
        sha.update(field.numpy().tobytes())
print(sha.hexdigest())
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == digest(songs.train_dataloader())


def test_another_split_of_the_same_size_has_other_mixtures(banks):
    counts = {f"{split}_mixtures": 5 for split in ("train", "validation", "test")}
    module = built(VOICES, banks, **counts)
    assert len({digest([module.dataset(split).batch(range(5))]) for split in module.folds}) == 3


def test_mixtures_are_of_two_speakers_of_the_splits_own_folds(voices):
    for split, folds in voices.folds.items():
        for clips in clips_of(voices, split):
            assert len({clip.recording for clip in clips}) == 2 and {clip.fold for clip in clips} == folds
    assert voices.classes == ("source_1", "source_2")


def test_a_mixture_is_the_sum_of_its_sources_at_the_ratio_of_the_rules(voices, songs):
    for module, limits in ((voices, (-2.5, 2.5)), (songs, (10, 10))):
        batch = module.dataset("validation").batch(range(9))
        torch.testing.assert_close(batch.sources.sum(1), batch.mixture, rtol=0, atol=1e-6)
        for index in range(9):
            first, second = module.recipes("validation")(index).loudness
            assert limits[0] <= first - second <= limits[1]


def test_songs_are_coherent_where_they_are_evaluated_and_by_a_share_where_they_train(songs):
    coherent = {
        split: [clips[0].recording == clips[1].recording for clips in clips_of(songs, split)] for split in songs.folds
    }
    assert all(coherent["validation"]) and all(coherent["test"]) and 0 < sum(coherent["train"]) < 23
    assert songs.classes == ("vocals", "accompaniment")
    assert all([clip.label for clip in clips] == list(songs.classes) for clips in clips_of(songs, "train"))


def test_the_mixture_of_a_song_is_the_song_but_for_the_level_of_its_vocals(songs):
    recipe, item = songs.recipes("test")(4), songs.dataset("test")[4]
    start = round(recipe.starts[0] * RATE)
    for number, source in zip(recipe.clips, item.sources.double().numpy(), strict=True):
        stem, _ = MUSIC.read(songs.bank.clips[number])
        excerpt = stem[start : start + 2 * RATE].astype(np.float64)
        np.testing.assert_allclose(source, excerpt * (source @ excerpt) / (excerpt @ excerpt), atol=1e-6)


def test_only_the_labels_that_are_named_take_part(banks):
    labels = ["siren", "car_horn"]
    module = built(Procedural(6, RATE, folds=3), banks, labels=labels)
    assert {clip.label for clip in module.bank.clips} == set(labels)
    assert all({clip.label for clip in clips} == set(labels) for clips in clips_of(module, "train"))


@pytest.mark.parametrize("sources", [3, 4])
def test_more_than_two_sources_sum_to_the_mixture(banks, sources):
    module = built(Procedural(6, RATE, folds=3), banks, sources=sources)
    batch = next(iter(module.val_dataloader()))
    assert batch.sources.shape == (4, sources, 2 * RATE) and len(module.classes) == sources
    torch.testing.assert_close(batch.sources.sum(1), batch.mixture, rtol=0, atol=1e-6)
    assert all(len({clip.label for clip in clips}) == sources for clips in clips_of(module, "validation"))


def test_the_recordings_of_a_mixture_are_named_once_in_the_order_of_its_sources(voices, songs):
    for module in (voices, songs):
        dataset = module.dataset("train")
        for index, clips in enumerate(clips_of(module, "train")):
            recordings = [clip.recording for clip in clips]
            assert dataset.recordings(index) == (recordings if recordings[0] != recordings[1] else recordings[:1])


def test_the_identity_of_a_split_says_what_its_mixtures_depend_on(voices, banks):
    same = pairs(VOICES, banks, batch_size=2, workers=3, train_coherent=0.0)
    assert same.identity("test") == voices.identity("test")
    others = [
        pairs(VOICES, banks, **change).identity("test")
        for change in ({"seed": 1}, {"loudest": 3.0}, {"duration": 1.0}, {"test_mixtures": 12}, {"hop": 64})
    ]
    assert len({voices.identity("test"), voices.identity("train"), *others}) == 7


def clip(label: str, fold: int | str, recording: str) -> Clip:
    return Clip(f"{label}/{fold}/{recording}", label, fold, recording)


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        (("train", "test"), r"train_folds and test_folds share 1 recordings of noises \(x\); choose other folds"),
        (("train", "validation"), r"train_folds and validation_folds share 1 recordings of noises \(x\)"),
        (("validation", "test"), r"validation_folds and test_folds share 1 recordings of noises \(x\)"),
    ],
)
def test_splits_that_share_a_recording_are_refused_when_the_bank_is_built(tmp_path, shared, message):
    folds = {"train_folds": ("train",), "validation_folds": ("validation",), "test_folds": ("test",)}
    own = [clip(label, fold, label + fold) for label in "ab" for fold in ("train", "validation", "test")]
    built(Noises(*own), tmp_path, **folds)
    with pytest.raises(InputError, match=message) as caught:
        built(Noises(*own, *(clip("b", fold, "x") for fold in shared)), tmp_path, **folds)
    assert "\n" not in str(caught.value)


def test_of_many_shared_recordings_the_first_three_are_named(tmp_path):
    corpus = Noises(*(clip(label, fold, f"r{n}") for label in "ab" for fold in (1, 2) for n in range(5)))
    with pytest.raises(InputError, match=r"share 5 recordings of noises \(r0, r1, r2, ...\)"):
        built(corpus, tmp_path, test_folds=())


def test_a_split_without_folds_is_not_needed(tmp_path):
    module = built(Noises(*(clip(label, 1, label) for label in "ab")), tmp_path, validation_folds=(), test_folds=())
    assert len(list(module.train_dataloader())) == 5
    with pytest.raises(InputError, match=r"validation_folds \[\]: no clip of noises"):
        module.val_dataloader()


@pytest.mark.parametrize(
    ("clips", "changes", "message"),
    [
        ([], {}, r"test_folds \[3\]: no clip of noises; choose other folds or labels"),
        ([clip("a", 3, "x")], {}, "test split: 1 of the 2 labels that a mixture needs"),
        ([clip("a", 3, "x"), clip("b", 3, "x")], {}, "test split: no 2 labels of different recordings"),
        ([clip("a", 3, "x"), clip("c", 3, "y")], {"labels": ["a", "b"]}, r"labels: no clip of b in test_folds \[3\]"),
        ([clip("a", 3, "x"), clip("c", 3, "y")], {"stems": ["a", "b"]}, "test split: no clip of b"),
        (
            [clip("a", 3, "x"), clip("b", 3, "y")],
            {"stems": ["a", "b"], "evaluation_coherent": 1.0},
            r"validation split: no section has all stems \(a, b\)",
        ),
    ],
)
def test_splits_that_make_no_mixture_are_refused_when_the_bank_is_built(tmp_path, clips, changes, message):
    others = (clip(label, fold, f"{label}{fold}") for fold in (1, 2) for label in "ab")
    with pytest.raises(InputError, match=message) as caught:
        built(Noises(*others, *clips), tmp_path, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": 1}, "sources: 1; at least 2"),
        ({"sources": 0}, "sources: 0; at least 2"),
        ({"duration": -1.0}, "duration: -1.0; a number above 0"),
        ({"quietest": 5.0}, "quietest: 5.0 dB is louder than loudest"),
        ({"train_coherent": 0.5}, "coherent: 0.5; only stems sound together"),
        ({**SONGS, "evaluation_coherent": 2.0}, "coherent: 2.0; a number from 0 to 1"),
        ({"stems": ("vocals",)}, r"stems: \['vocals'\]; 2 different labels are needed, one for each source"),
        ({"stems": ("vocals", "vocals")}, "stems: .*; 2 different labels are needed"),
        ({"stems": ("vocals", "drums"), "sources": 3}, "stems: .*; 3 different labels are needed"),
        ({**SONGS, "labels": ("vocals", "bass")}, r"labels: .* leave out stems \(accompaniment\); give stems alone"),
        ({"test_folds": (1, 3)}, "test_folds: fold 1 is in train_folds too"),
    ],
)
def test_an_impossible_setting_is_named_in_one_line_before_anything_is_read(tmp_path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        pairs(VOICES, tmp_path, **changes)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def configured(names: list[str], corpus: Any, folder: Path) -> SourcePairs:
    """The data that shipped configurations describe, with a corpus from elsewhere."""
    settings: dict[str, Any] = {}
    for name in names:
        settings |= yaml.safe_load((CONFIGS / "deep_clustering" / f"{name}.yaml").read_text())["data"]["init_args"]
    return SourcePairs(**{**settings, "corpus": corpus, "bank_folder": str(folder)})


@pytest.mark.parametrize(
    ("domain", "quietest", "loudest", "train_coherent", "evaluation_coherent"),
    [("speech", -2.5, 2.5, 0, 0), ("music", 10, 10, 0.5, 1), ("environmental", -2.5, 2.5, 0, 0)],
)
def test_the_shipped_pairs_are_the_published_ones(
    tmp_path, domain, quietest, loudest, train_coherent, evaluation_coherent
):
    module = configured(["base", domain], VOICES, tmp_path)
    shares = {"train": train_coherent, "validation": evaluation_coherent, "test": evaluation_coherent}
    assert {split: module.rules(split) for split in module.folds} == {
        split: PairRules(2, 5.0, quietest, loudest, coherent) for split, coherent in shares.items()
    }
    assert module.mixtures == {"train": 20_000, "validation": 5_000, "test": 3_000}


@pytest.mark.parametrize(
    ("names", "corpus"),
    [
        (["base", "speech"], LibriSpeech),
        (["base", "music"], MUSDB18),
        (["base", "environmental", "small/environmental"], UrbanSound8K),
    ],
)
def test_real_recordings_make_the_mixtures_of_the_shipped_configurations(real_data, tmp_path, names, corpus):
    module = configured(names, corpus(real_data), tmp_path)
    bank = module.build()
    recordings = [{bank.clips[number].recording for number in module.clip_numbers(split)} for split in module.folds]
    assert all(recordings) and sum(map(len, recordings)) == len(set.union(*recordings))
    for split in module.folds:
        batch = module.dataset(split).batch(range(30))
        assert batch.mixture.shape == (30, 80_000) and batch.sources.isfinite().all()
        torch.testing.assert_close(batch.sources.sum(1), batch.mixture, rtol=0, atol=1e-6)
        assert (batch.mixture.abs().amax(-1) > 1e-3).all()


def test_the_published_folds_share_no_recording_of_the_published_classes(real_data):
    # Five recordings of the official table are in two folds each, with a class of its own in each.
    clips = [found.clip for found in inspect_table(real_data / "UrbanSound8K-all-8732-clips.csv", RATE)]
    settings = yaml.safe_load((CONFIGS / "deep_clustering" / "environmental.yaml").read_text())["data"]["init_args"]
    recordings = [
        {clip.recording for clip in clips if clip.fold in settings[folds] and clip.label in settings["labels"]}
        for folds in ("train_folds", "validation_folds", "test_folds")
    ]
    assert all(recordings) and sum(map(len, recordings)) == len(set.union(*recordings))
