import os
import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datamodules.corpora.corpus import Clip
from datamodules.corpora.folder_per_class import FolderPerClass, fold_of
from datamodules.corpora.urbansound8k import UrbanSound8K
from lightning_modules.errors import InputError


def write(root: Path, *names: str) -> Path:
    """Audio files of these names, each of noise of its own."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(name.encode())).uniform(-0.5, 0.5, 500)
        soundfile.write(path, noise, 8_000, format="AIFF" if path.suffix == ".aif" else None)
    return root


def error_of(corpus: FolderPerClass) -> str:
    with pytest.raises(InputError) as caught:
        corpus.clips()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_are_classes_and_files_at_any_depth_are_their_recordings(tmp_path):
    corpus = FolderPerClass(write(tmp_path, "dog/b.wav", "dog/a/1.flac", "car horn/x.ogg", "car horn/y.aiff"), folds=5)
    assert corpus.clips() == [
        Clip("car horn/x.ogg", "car horn", fold_of("x", 5), "x"),
        Clip("car horn/y.aiff", "car horn", fold_of("y", 5), "y"),
        Clip("dog/a/1.flac", "dog", fold_of("a/1", 5), "a/1"),
        Clip("dog/b.wav", "dog", fold_of("b", 5), "b"),
    ]


def test_other_files_and_hidden_ones_are_ignored(tmp_path):
    corpus = FolderPerClass(write(tmp_path, "dog/a.wav", "dog/B.WAV"))
    clips = corpus.clips()
    write(tmp_path, "top.wav", ".cache/a.wav", "dog/._a.wav", "dog/.cache/a.wav")
    (tmp_path / "dog/notes.txt").touch()
    (tmp_path / "papers").mkdir()
    assert corpus.clips() == clips and [clip.name for clip in clips] == ["dog/B.WAV", "dog/a.wav"]


def test_clips_of_one_name_up_to_the_separator_are_of_one_recording_and_in_one_fold(tmp_path):
    write(tmp_path, "dog/7061-6-0-0.wav", "dog/deep/7061-6-1-0.wav", "car/7061-1-0-0.wav", "car/42.wav")
    clips = FolderPerClass(tmp_path, recording_separator="-").clips()
    assert [clip.recording for clip in clips] == ["42", "7061", "7061", "7061"]
    assert len({clip.fold for clip in clips[1:]}) == 1


def test_recordings_are_dealt_evenly_and_for_good():
    counts = np.bincount([fold_of(str(recording), 10) for recording in range(10_000)])
    assert counts[0] == 0 and counts[1:].min() > 900 and counts[1:].max() < 1100
    assert [fold_of(name, 10) for name in ("7061", "a/1", "")] == [2, 8, 10]


def test_train_validation_and_test_folders_are_the_folds(tmp_path):
    write(tmp_path, "train/dog/1.wav", "validation/dog/1.wav", "test/dog/1.wav", "test/car/2.wav", "extra/dog/1.wav")
    assert [(clip.name, clip.label, clip.fold) for clip in FolderPerClass(tmp_path).clips()] == [
        ("test/car/2.wav", "car", "test"),
        ("test/dog/1.wav", "dog", "test"),
        ("train/dog/1.wav", "dog", "train"),
        ("validation/dog/1.wav", "dog", "validation"),
    ]


def test_equal_names_in_two_splits_are_different_recordings_unless_names_tell_recordings(tmp_path):
    write(tmp_path, "train/dog/7-1.wav", "test/dog/7-1.wav")
    assert len({clip.recording for clip in FolderPerClass(tmp_path).clips()}) == 2
    message = error_of(FolderPerClass(tmp_path, recording_separator="-"))
    assert "test/dog/7-1.wav: recording 7 is in train too" in message


def test_train_alone_is_a_class_like_others(tmp_path):
    clips = FolderPerClass(write(tmp_path, "train/1.wav", "tram/2.wav")).clips()
    assert [clip.label for clip in clips] == ["train", "tram"]


def test_a_missing_and_an_empty_root_and_one_without_audio_are_errors(tmp_path):
    assert "no such folder" in error_of(FolderPerClass(tmp_path / "nowhere"))
    assert "no recordings in class folders, found nothing; expected CLASS/*.wav" in error_of(FolderPerClass(tmp_path))
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog/a.mp3").touch()
    assert "no recordings in class folders, found dog;" in error_of(FolderPerClass(tmp_path))


@pytest.mark.parametrize(("setting", "value"), [("folds", 0), ("recording_separator", "")])
def test_settings_are_checked_before_anything_is_read(tmp_path, setting, value):
    with pytest.raises(InputError, match=f"^{setting}: "):
        FolderPerClass(tmp_path / "nowhere", **{setting: value})


@pytest.mark.parametrize("name", ["dog/a.wav", "dog/deep/a.flac", "dog/a.aif"])
def test_a_clip_reads_as_the_file_that_was_written(tmp_path, name):
    corpus = FolderPerClass(write(tmp_path, name))
    samples, rate = pickle.loads(pickle.dumps(corpus)).read(corpus.clips()[0])
    np.testing.assert_array_equal(samples, soundfile.read(tmp_path / name, dtype="float32")[0])
    assert rate == 8_000


def test_a_link_to_nothing_is_listed_and_named_on_reading(tmp_path):
    corpus = FolderPerClass(write(tmp_path, "dog/a.wav"))
    (tmp_path / "dog/b.wav").symlink_to(tmp_path / "dog/gone.wav")
    with pytest.raises(InputError, match=r"^dog/b\.wav: no such file; "):
        corpus.read(corpus.clips()[1])


def test_a_link_that_leads_out_of_the_root_is_not_followed(tmp_path):
    corpus = FolderPerClass(write(tmp_path / "root", "dog/a.wav"))
    write(tmp_path, "elsewhere.wav")
    (tmp_path / "root/dog/b.wav").symlink_to(tmp_path / "elsewhere.wav")
    with pytest.raises(InputError, match=r"^dog/b\.wav: leads out of "):
        corpus.read(corpus.clips()[1])


def test_links_that_lead_round_in_circles_end(tmp_path):
    corpus = FolderPerClass(write(tmp_path, "dog/a.wav"))
    (tmp_path / "dog/again").symlink_to(tmp_path / "dog")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert [clip.name for clip in corpus.clips()] == ["dog/a.wav"]


def test_the_fingerprint_changes_with_folds_sizes_times_and_missing_files(tmp_path):
    corpus, fewer = (FolderPerClass(write(tmp_path, "dog/a.wav", "dog/b.wav"), folds=folds) for folds in (1000, 2))
    clips = corpus.clips()
    seen = {corpus.fingerprint(clips), corpus.fingerprint(clips[1:]), fewer.fingerprint(fewer.clips())}
    os.utime(tmp_path / "dog/a.wav", ns=(0, 123))
    seen.add(corpus.fingerprint(clips))
    (tmp_path / "dog/a.wav").write_bytes(b"changed")
    os.utime(tmp_path / "dog/a.wav", ns=(0, 123))
    seen.add(corpus.fingerprint(clips))
    (tmp_path / "dog/a.wav").unlink()
    seen.add(corpus.fingerprint(clips))
    assert len(seen) == 6


def test_real_recordings_by_freesound_name_are_those_of_their_table(real_data):
    corpus = FolderPerClass(real_data / "UrbanSound8K/audio", recording_separator="-")
    clips = corpus.clips()
    table = {Path(clip.name).stem: clip.recording for clip in UrbanSound8K(real_data).clips()}
    assert {Path(clip.name).stem: clip.recording for clip in clips} == table
    folds = defaultdict(set)
    for clip in clips:
        folds[clip.recording].add(clip.fold)
    assert all(len(found) == 1 for found in folds.values()) and set.union(*folds.values()) == set(range(1, 11))
    samples, rate = corpus.read(clips[0])
    assert rate in (16_000, 22_050) and len(samples) > 0
