"""A folder of one's own: which layout it has, and which recordings are for training and for evaluation."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from datamodules.corpora.corpus import Clip
from datamodules.corpora.flat_folder import FlatFolder
from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.corpora.librispeech import LibriSpeech
from datamodules.corpora.musdb18 import MUSDB18
from datamodules.corpora.own_recordings import OwnRecordings, dealt, reader_of
from datamodules.corpora.urbansound8k import UrbanSound8K
from lightning_modules.errors import InputError

PARTS = ("train", "validation", "test")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def parts(clips) -> dict[str, Counter]:
    """How many clips of each label are in each part."""
    found = defaultdict(Counter)
    for clip in clips:
        found[clip.label][clip.fold] += 1
    return found


@given(st.lists(st.integers(0, 60), min_size=1, max_size=5), st.randoms())
def test_every_part_has_every_label_of_three_recordings_whatever_the_order(sizes, random):
    clips = [
        Clip(f"{label}/{n}.wav", str(label), 0, f"{label}/{n}") for label, size in enumerate(sizes) for n in range(size)
    ]
    found = dealt(clips, PARTS)
    assert found.keys() == {clip.recording for clip in clips}
    for label, of in parts([clip._replace(fold=found[clip.recording]) for clip in clips]).items():
        size = sizes[int(label)]
        if size >= 3:
            held_out = max(1, round(0.15 * size))
            assert of == {"train": size - 2 * held_out, "validation": held_out, "test": held_out}
    random.shuffle(clips)
    assert dealt(clips, PARTS) == found


def test_a_recording_of_several_labels_and_all_that_was_cut_from_one_stay_together(tmp_path):
    cuts = [f"{label}/{recording}_{n}.wav" for label in ("rain", "wind") for recording in "abcdef" for n in range(3)]
    clips = OwnRecordings(touch(tmp_path, *cuts), recording_separator="_").clips()
    assert len(clips) == 36 and len({(clip.recording, clip.fold) for clip in clips}) == 6
    assert all(of.keys() == {*PARTS} for of in parts(clips).values())


def test_single_recordings_of_many_labels_are_dealt_so_that_pairs_are_possible_in_every_part(tmp_path):
    clips = OwnRecordings(touch(tmp_path, *(f"{n}.wav" for n in range(6)))).clips()
    assert Counter(clip.fold for clip in clips) == dict.fromkeys(PARTS, 2)
    clips = OwnRecordings(touch(tmp_path, *(f"{n}.wav" for n in range(20)), "notes/list.txt")).clips()
    assert Counter(clip.fold for clip in clips) == {"train": 14, "validation": 3, "test": 3}
    assert {clip.label for clip in clips} == {clip.recording for clip in clips} == {str(n) for n in range(20)}


def test_what_is_divided_already_stays_as_it_is(tmp_path):
    names = [f"{part}/{label}/{n}.wav" for part in ("train", "test") for label in ("a", "b") for n in range(6)]
    clips = OwnRecordings(touch(tmp_path, *names)).clips()
    assert {clip.fold for clip in clips if clip.name.startswith("test/")} == {"test"}
    assert parts(clips)["a"] == {"train": 5, "validation": 1, "test": 6}
    clips = OwnRecordings(touch(tmp_path, "validation/a/1.wav")).clips()
    assert all(clip.fold == clip.name.split("/")[0] for clip in clips)


def test_layouts_are_told_apart(urbansound_factory, tmp_path):
    assert reader_of(urbansound_factory()) is UrbanSound8K
    assert reader_of(touch(tmp_path / "speech", "dev-clean/84/12/84-12-0000.flac")) is LibriSpeech
    assert reader_of(touch(tmp_path / "songs", "train/A/vocals.wav", "test/B/vocals.wav")) is MUSDB18
    assert reader_of(touch(tmp_path / "birds", "2020-wood/05/01/2020-05-01.wav", "top.wav")) is FolderPerClass
    assert reader_of(touch(tmp_path / "flat", "a.wav", "papers/b.txt")) is FlatFolder
    assert reader_of(touch(tmp_path / "empty", "papers/b.txt")) is FolderPerClass
    with pytest.raises(InputError, match=r"^\S+empty: no recordings in class folders, found papers;"):
        OwnRecordings(tmp_path / "empty").clips()
    with pytest.raises(InputError, match=r"^\S+: holds corpora \(songs, speech\), not classes; give one of them$"):
        reader_of(tmp_path)
    with pytest.raises(InputError, match=r"^/nowhere: no such folder; give the folder of recordings$"):
        OwnRecordings("/nowhere").clips()


def test_an_urbansound8k_of_other_classes_is_dealt_by_its_tables_recordings(urbansound_factory):
    root = urbansound_factory(folds=(1, 2, 3), clips_per_class=2)
    table = root / "metadata" / "UrbanSound8K.csv"
    table.write_text(table.read_text().replace("car_horn", "frog").replace("dog_bark", "owl"))
    corpus = OwnRecordings(root)
    clips = corpus.clips()
    assert parts(clips) == {label: {"train": 4, "validation": 1, "test": 1} for label in ("frog", "owl")}
    samples, rate = corpus.read(clips[0])
    np.testing.assert_array_equal(samples, soundfile.read(root / clips[0].name, dtype="float32")[0])
    fingerprint = corpus.fingerprint(clips)
    (root / clips[0].name).touch()
    assert rate == 22_050 and corpus.fingerprint(clips) != fingerprint
