"""Readers of corpora: what they list, how they read it, and what they refuse in one line."""

import csv
import hashlib
import json
import os
import pickle
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.esc50 import ESC50
from datamodules.corpora.folder_per_class import FolderPerClass, fold_of
from datamodules.corpora.fsd50k import FSD50K
from datamodules.corpora.joined import JoinedCorpora
from datamodules.corpora.librispeech import LibriSpeech
from datamodules.corpora.musdb18 import MUSDB18, section_bounds
from datamodules.corpora.urbansound8k import UrbanSound8K
from lightning_modules.errors import InputError

RATE = 8_000
STEMS = ("drums", "bass", "other", "vocals")
SONG, HELD_OUT, TESTED = "train/Ann - Song", "train/leaf - SUMMERGHOST", "test/Bob - Song"
SPEAKERS = {"train-clean-100": ("19", "26", "27", "32", "39"), "dev-other": ("116",), "test-other": ("367", "533")}
HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
FIRST = "1-1-0-0.wav,1,0,1,1,1,1,car_horn\n"
ESC = "filename,fold,target,category,esc10,src_file,take\n"
# Names of FSD50K's clips, their labels, part and uploader.
SOUNDS = {
    "11": ("Bark,Dog,Animal", "train", "ann"),
    "12": ("Meow,Bark,Cat,Dog,Animal", "train", "ann"),
    "13": ("Meow,Cat,Animal", "train", "bob"),
    "14": ("Meow,Cat,Animal", "val", "bob"),
    "15": ("Bark,Dog,Animal", "val", "cleo"),
    "21": ("Bark,Dog,Animal", "eval", "cleo"),
    "22": ("Meow,Cat,Animal", "eval", "dan"),
}


def write(root: Path, *names: str) -> Path:
    """Audio files of these names, each of mono noise of its own."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(name.encode())).uniform(-0.5, 0.5, 500)
        soundfile.write(path, noise, RATE, format="AIFF" if path.suffix == ".aif" else None)
    return root


def write_utterance(root: Path, subset: str, speaker: str, number: int = 0) -> Path:
    name = f"{subset}/{speaker}/{10 * number + 7}/{speaker}-{10 * number + 7}-{number:04d}.flac"
    return write(root, name) / name


def write_track(folder: Path, samples: int, suffix: str = "wav") -> None:
    """Stereo stems of noise, 16 bit."""
    folder.mkdir(parents=True)
    for number, stem in enumerate(STEMS):
        noise = np.random.default_rng([samples, number]).uniform(-0.9, 0.9, (samples, 2))
        soundfile.write(folder / f"{stem}.{suffix}", noise, RATE, subtype="PCM_16")


@pytest.fixture
def urbansound(urbansound_factory) -> UrbanSound8K:
    return UrbanSound8K(urbansound_factory(folds=(1, 10), clips_per_class=1))


@pytest.fixture
def speech(tmp_path) -> Path:
    """Every speaker says two utterances, in one chapter each."""
    for subset, speakers in SPEAKERS.items():
        for speaker in speakers:
            for number in range(2):
                write_utterance(tmp_path / "LibriSpeech", subset, speaker, number)
    return tmp_path / "LibriSpeech"


@pytest.fixture
def songs(tmp_path) -> MUSDB18:
    root = tmp_path / "musdb18hq"
    write_track(root / SONG, int(2.6 * RATE))
    write_track(root / HELD_OUT, int(1.2 * RATE), "flac")
    write_track(root / TESTED, int(0.3 * RATE))
    return MUSDB18(root, section_seconds=1.0)


@pytest.fixture
def esc50(tmp_path) -> ESC50:
    root = write(tmp_path / "ESC-50-master", "audio/1-1-A.wav", "audio/1-1-B.wav", "audio/5-7-A.wav")
    (root / "meta").mkdir()
    rows = ["1-1-A.wav,1,0,dog,True,1,A", "1-1-B.wav,1,0,dog,True,1,B", "5-7-A.wav,5,10,rain,True,7,A"]
    (root / "meta/esc50.csv").write_text(ESC + "\n".join(rows))
    return ESC50(root)


@pytest.fixture
def fsd50k(tmp_path) -> FSD50K:
    root = tmp_path / "FSD"
    for part in ("dev", "eval"):
        of_part = {name: row for name, row in SOUNDS.items() if (row[1] == "eval") == (part == "eval")}
        write(root, *(f"FSD50K.{part}_audio/{name}.wav" for name in of_part))
        for kind in ("ground_truth", "metadata"):
            (root / f"FSD50K.{kind}").mkdir(exist_ok=True)
        with open(root / f"FSD50K.ground_truth/{part}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["fname", "labels", "mids", "split"][: 4 if part == "dev" else 3])
            for name, (labels, split, _) in of_part.items():
                writer.writerow([name, labels, "/m/1", split][: 4 if part == "dev" else 3])
        clips = {name: {"title": "x", "uploader": uploader} for name, (_, _, uploader) in of_part.items()}
        (root / f"FSD50K.metadata/{part}_clips_info_FSD50K.json").write_text(json.dumps(clips))
    return FSD50K(root)


class Reader(NamedTuple):
    """A corpus, its class, settings other than the root, and the file that a clip's audio is in."""

    corpus: Corpus
    cls: Callable[..., Corpus]
    settings: dict
    file: Callable[[Clip], Path]


@pytest.fixture(params=["urbansound8k", "esc50", "fsd50k", "librispeech", "musdb18", "folder_per_class"])
def reader(request, tmp_path) -> Reader:
    if request.param == "urbansound8k":
        corpus = request.getfixturevalue("urbansound")
        return Reader(corpus, UrbanSound8K, {}, lambda clip: corpus.root / clip.name)
    if request.param in ("esc50", "fsd50k"):
        corpus = request.getfixturevalue(request.param)
        return Reader(corpus, type(corpus), {}, lambda clip: corpus.root / clip.name)
    if request.param == "librispeech":
        root, settings = request.getfixturevalue("speech"), {"validation_speakers": 1}
        return Reader(LibriSpeech(root, **settings), LibriSpeech, settings, lambda clip: root / clip.name)
    if request.param == "musdb18":
        corpus = request.getfixturevalue("songs")
        file = lambda clip: corpus.root / clip.name.rpartition("/")[0] / "vocals.wav"  # noqa: E731
        return Reader(corpus, MUSDB18, {"section_seconds": 1.0}, file)
    root = write(tmp_path / "classes", "dog/a.wav", "dog/b.wav")
    return Reader(FolderPerClass(root), FolderPerClass, {}, lambda clip: root / clip.name)


def error_of(corpus: Corpus, clip: Clip | None = None) -> str:
    with pytest.raises(InputError) as caught:
        corpus.clips() if clip is None else corpus.read(clip)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_clip_reads_as_the_file_that_was_written(reader):
    clip = reader.corpus.clips()[0]
    expected, rate = soundfile.read(reader.file(clip), dtype="float32", always_2d=True)
    samples, found = pickle.loads(pickle.dumps(reader.corpus)).read(clip)
    np.testing.assert_array_equal(samples, expected.mean(1)[: len(samples)])
    assert found == rate and len(samples) >= min(len(expected), rate)


def test_a_missing_file_and_one_that_a_link_leads_to_elsewhere_are_named(reader, tmp_path):
    clip = reader.corpus.clips()[0]
    name = clip.name.split("@")[0]
    os.replace(reader.file(clip), tmp_path / "elsewhere")
    message = error_of(reader.corpus, clip)
    assert message.startswith(f"{name}: no such file; ") or f"no {name.rsplit('/')[-1]}.wav" in message
    reader.file(clip).symlink_to(tmp_path / "elsewhere")
    message = error_of(reader.corpus, clip)
    assert message.startswith(f"{name}: leads out of ") and "--follow-links" in message
    expected, _ = soundfile.read(tmp_path / "elsewhere", dtype="float32", always_2d=True)
    following = reader.cls(reader.corpus.root, follow_links=True, **reader.settings)
    assert following.clips() == reader.corpus.clips() if reader.cls in (UrbanSound8K, ESC50, FSD50K) else True
    samples, _ = following.read(clip)
    np.testing.assert_array_equal(samples, expected.mean(1)[: len(samples)])


def test_a_missing_root_and_an_empty_one_say_what_was_expected(reader, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no such folder" in error_of(reader.cls(tmp_path / "nowhere"))
    assert any(word in error_of(reader.cls(tmp_path / "empty")) for word in ("expected ", "no subset"))


def test_the_root_may_be_the_folder_that_holds_the_corpus(reader):
    if reader.cls is not FolderPerClass:
        outer = reader.cls(reader.corpus.root.parent, **reader.settings)
        assert outer.clips() == reader.corpus.clips()
        assert outer.fingerprint(outer.clips()) == reader.corpus.fingerprint(outer.clips())


def test_the_fingerprint_changes_with_rows_sizes_times_and_missing_files(reader):
    corpus, clips = reader.corpus, reader.corpus.clips()
    file = reader.file(clips[0])
    seen = {corpus.fingerprint(clips), corpus.fingerprint(clips[1:]), corpus.fingerprint(clips[::-1])}
    seen.add(corpus.fingerprint([clips[0]._replace(label="siren", fold=7), *clips[1:]]))
    os.utime(file, ns=(0, 123))
    seen.add(corpus.fingerprint(clips))
    file.write_bytes(b"changed")
    os.utime(file, ns=(0, 123))
    seen.add(corpus.fingerprint(clips))
    file.unlink()
    seen.add(corpus.fingerprint(clips))
    assert len(seen) == 7 and corpus.fingerprint(clips) in seen


@pytest.mark.parametrize(
    ("cls", "setting", "reason"),
    [
        (LibriSpeech, {"train_subsets": (), "test_subsets": ()}, "all empty"),
        (LibriSpeech, {"test_subsets": ("train-clean-100",)}, "train-clean-100 is in train_subsets already"),
        (LibriSpeech, {"test_subsets": ("../secret",)}, "'../secret' is not a folder name"),
        (LibriSpeech, {"validation_speakers": -1}, "validation_speakers: -1; at least 0"),
        (MUSDB18, {"section_seconds": float("nan")}, "section_seconds"),
        (FolderPerClass, {"folds": 0}, "folds: "),
        (FolderPerClass, {"recording_separator": ""}, "recording_separator: "),
    ],
)
def test_settings_are_checked_before_anything_is_read(tmp_path, cls, setting, reason):
    with pytest.raises(InputError, match=reason):
        cls(tmp_path / "nowhere", **setting)


# UrbanSound8K


def write_table(corpus: UrbanSound8K, text: str, encoding: str = "utf-8") -> None:
    (corpus.root / "metadata/UrbanSound8K.csv").write_text(text, encoding=encoding)


def test_urbansounds_table_becomes_clips_in_its_order_and_flac_stands_in_for_wav(urbansound):
    clip, *others = urbansound.clips()
    assert clip == Clip("audio/fold1/1001-1-0-0.wav", "car_horn", 1, "1001", 1)
    assert [clip.fold for clip in others] == [1, 10, 10]
    samples, rate = soundfile.read(urbansound.root / clip.name, dtype="int16")
    (urbansound.root / clip.name).unlink()
    soundfile.write((urbansound.root / clip.name).with_suffix(".flac"), samples, rate)
    np.testing.assert_array_equal(urbansound.read(clip)[0], samples / np.float32(2**15))
    write_table(urbansound, HEADER + FIRST, "utf-8-sig")
    assert len(urbansound.clips()) == 1


def test_a_table_that_is_none_is_an_error(urbansound):
    lacking = [(HEADER.replace(name, "other"), "utf-8", f"no column '{name}'") for name in ("fsID", "salience", "fold")]
    unreadable = (HEADER + FIRST, "utf-16", "not readable as CSV in UTF-8")
    for text, encoding, reason in (unreadable, (HEADER, "utf-8", "lists no clips"), ("", "utf-8", "no col"), *lacking):
        write_table(urbansound, text, encoding)
        assert reason in error_of(urbansound)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2.wav,1,0,1,1,2.5,1,car_horn", "fold '2.5' is not a positive integer"),
        ("2.wav,1,0,1,1," + "9" * 5000 + ",1,car_horn", "is not a positive integer"),
        ("2.wav,1,0,1,3,1,1,car_horn", "salience '3' is neither 1 nor 2"),
        ("2.wav,1,0,1,1,1,1,", "class '' is no printable name"),
        ("2.wav,,0,1,1,1,1,car_horn", "fsID '' is no printable name"),
        ("2.wav,1,0,1,1,1", "6 values, expected 8"),
        *((f'"{name}",1,0,1,1,1,1,car_horn', "is not a plain file") for name in ("", "..", "../2.wav", "2\x1b.wav")),
        ("1-1-0-0.flac,1,0,1,1,2,1,car_horn", "was already listed on line 2"),
    ],
)
def test_a_bad_row_is_named_by_its_line(urbansound, row, reason):
    write_table(urbansound, HEADER + FIRST + row + "\n")
    message = error_of(urbansound)
    assert "UrbanSound8K.csv, line 3: " in message and reason in message


def test_a_link_within_the_corpus_and_a_linked_root_are_followed(urbansound, tmp_path):
    first, second, *_ = urbansound.clips()
    (urbansound.root / first.name).unlink()
    (urbansound.root / first.name).symlink_to(urbansound.root / second.name)
    (tmp_path / "linked").symlink_to(urbansound.root)
    np.testing.assert_array_equal(UrbanSound8K(tmp_path / "linked").read(first)[0], urbansound.read(second)[0])


def test_urbansound_as_kaggle_ships_it_has_the_same_clips(urbansound, tmp_path):
    flat = tmp_path / "archive"
    os.rename(urbansound.root / "audio", flat)
    os.rename(urbansound.root / "metadata/UrbanSound8K.csv", flat / "UrbanSound8K.csv")
    clips = UrbanSound8K(flat).clips()
    assert clips[0] == Clip("fold1/1001-1-0-0.wav", "car_horn", 1, "1001", 1) and len(clips) == 4
    assert len(UrbanSound8K(tmp_path).read(clips[3])[0]) > 1000


# ESC-50 and FSD50K


def test_clips_of_esc50_are_of_the_recordings_that_they_were_cut_from(esc50):
    clips = [
        ("audio/1-1-A.wav", "dog", 1, "1"),
        ("audio/1-1-B.wav", "dog", 1, "1"),
        ("audio/5-7-A.wav", "rain", 5, "7"),
    ]
    assert esc50.clips() == [Clip(*clip) for clip in clips]
    for row, reason in (
        ("../a.wav,1,0,dog,True,1,A", "filename '../a.wav' is not a plain file name"),
        ("a.wav,0,0,dog,True,1,A", "fold '0' is not a positive integer"),
        ("a.wav,1,0,dog,True,,A", "src_file '' is no printable name"),
        ("a.wav,1,0,dog,True,1,A\na.wav,2,0,dog,True,1,A", "a.wav was already listed"),
    ):
        (esc50.root / "meta/esc50.csv").write_text(ESC + row)
        assert reason in error_of(esc50)


def test_a_clip_of_fsd50k_belongs_to_the_only_one_of_its_labels_that_is_asked_for(fsd50k):
    assert {clip.name[-6:-4]: clip.label for clip in fsd50k.clips()} == {
        **{"11": "Bark", "12": "Meow", "14": "Meow", "21": "Bark", "22": "Meow"}
    }
    found = {clip.name[-6:-4]: clip.label for clip in fsd50k.labelled(["Dog", "Cat"])}
    assert found == {"11": "Dog", "14": "Cat", "21": "Dog", "22": "Cat"}  # without 12, a dog and a cat
    assert {clip.label for clip in fsd50k.labelled(["Animal"])} == {"Animal"}
    with pytest.raises(InputError, match=r"^Animal: all of its clips are of Cat or Dog too; ask for one of these"):
        fsd50k.labelled(["Animal", "Cat", "Dog"])


def test_an_uploader_of_fsd50k_is_in_one_fold_the_last_of_his(fsd50k):
    folds = {clip.name: (clip.fold, clip.recording) for clip in fsd50k.labelled(["Bark", "Meow"])}
    assert folds == {
        "FSD50K.dev_audio/11.wav": ("train", "ann"),
        "FSD50K.dev_audio/14.wav": ("validation", "bob"),  # and not his 13, in train
        "FSD50K.eval_audio/21.wav": ("test", "cleo"),  # and not her 15, in validation
        "FSD50K.eval_audio/22.wav": ("test", "dan"),
    }
    (fsd50k.root / "FSD50K.metadata/dev_clips_info_FSD50K.json").write_text('{"11": 3}')
    assert "not the description of FSD50K's clips" in error_of(fsd50k)
    (fsd50k.root / "FSD50K.metadata/dev_clips_info_FSD50K.json").unlink()
    assert "set uploaders to false" in error_of(fsd50k)
    each_its_own = FSD50K(fsd50k.root, uploaders=False).labelled(["Bark", "Meow"])
    assert [clip.recording for clip in each_its_own] == ["11", "13", "14", "15", "21", "22"]


# LibriSpeech


def speakers_of(corpus: LibriSpeech, fold: str) -> set[str]:
    return {clip.label for clip in corpus.clips() if clip.fold == fold}


def test_utterances_become_clips_of_their_speakers_sorted_by_name(speech):
    clips = LibriSpeech(speech, validation_speakers=2).clips()
    assert clips[0] == Clip("test-other/367/17/367-17-0001.flac", "367", "test", "367")
    assert [clip.name for clip in clips] == sorted(clip.name for clip in clips)
    assert Counter(clip.fold for clip in clips) == {"train": 6, "validation": 4, "test": 4}


def test_speakers_with_the_lowest_digests_or_of_a_validation_subset_validate_and_two_are_left_to_train(speech):
    ranked = sorted(SPEAKERS["train-clean-100"], key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())
    for count in range(4):
        corpus = LibriSpeech(speech, validation_speakers=count)
        assert speakers_of(corpus, "validation") == set(ranked[:count])
        assert speakers_of(corpus, "train") == set(ranked[count:])
    assert "validation_speakers: 4 of the 5 speakers" in error_of(LibriSpeech(speech, validation_speakers=4))
    corpus = LibriSpeech(speech, validation_subsets=("dev-other",), validation_speakers=0)
    assert speakers_of(corpus, "validation") == {"116"}
    corpus = LibriSpeech(speech, train_subsets=(), test_subsets=("test-other", "dev-other"))
    assert {clip.fold for clip in corpus.clips()} == {"test"}


def test_wav_is_read_and_other_and_hidden_files_and_folders_are_ignored(speech):
    corpus = LibriSpeech(speech, validation_speakers=1)
    clips = corpus.clips()
    for name in ("367/7/367-7.trans.txt", "367/7/._367-7-0000.flac", "SPEAKERS.TXT", ".cache/1/a.flac", "367/deep.wav"):
        (speech / "test-other" / name).parent.mkdir(parents=True, exist_ok=True)
        (speech / "test-other" / name).touch()
    assert corpus.clips() == clips
    write(speech, "test-other/367/7/367-7-0009.wav")
    assert {clip.name for clip in corpus.clips()} - {clip.name for clip in clips} == {"test-other/367/7/367-7-0009.wav"}


def test_what_is_wrong_with_a_speech_corpus_is_named(speech):
    message = error_of(LibriSpeech(speech, train_subsets=("train-other-500",)))
    assert f"{speech}: no subset train-other-500, found dev-other, test-other, train-clean-100;" in message
    (speech / "dev-clean/84").mkdir(parents=True)
    assert "dev-clean: no utterances" in error_of(LibriSpeech(speech, test_subsets=("dev-clean",)))
    corpus = LibriSpeech(speech, validation_speakers=1)
    twice = write(speech, "test-other/367/7/367-7-0000.wav") / "test-other/367/7/367-7-0000.wav"
    assert "367-7-0000.flac is there as test-other/367/7/367-7-0000.wav too" in error_of(corpus)
    twice.rename(twice.with_name("367\n.flac"))
    assert "'367\\n.flac' is not a printable name" in error_of(corpus)
    twice.with_name("367\n.flac").unlink()
    write_utterance(speech, "test-other", "26", number=5)
    assert "speaker 26 of test-other (test) is in train-clean-100 (train) too" in error_of(corpus)


# MUSDB18


def mono(corpus: MUSDB18, track: str, stem: str) -> np.ndarray:
    (path,) = (corpus.folder / track).glob(f"{stem}.*")
    return soundfile.read(path, dtype="float32")[0].mean(axis=1)


def clip_named(corpus: MUSDB18, name: str) -> Clip:
    (clip,) = (clip for clip in corpus.clips() if clip.name == name)
    return clip


def test_every_section_is_a_clip_of_vocals_and_one_of_accompaniment(songs):
    assert [clip for clip in songs.clips() if clip.recording == "Ann - Song"] == [
        Clip(f"{SONG}/{label}@{section}", label, "train", "Ann - Song", section=section)
        for section in range(3)
        for label in ("vocals", "accompaniment")
    ]


def test_the_authors_validation_tracks_are_known_in_any_case_among_the_train_tracks(songs):
    write_track(songs.root / "test/Young Griffo - Pennies", 100)
    folds = {"Ann - Song": "train", "leaf - SUMMERGHOST": "validation"}
    folds |= {"Bob - Song": "test", "Young Griffo - Pennies": "test"}
    assert {clip.recording: clip.fold for clip in songs.clips()} == folds
    write_track(songs.root / "test/Ann - Song", 100)
    assert "Ann - Song is in both train and test" in error_of(songs)


def test_without_an_accompaniment_every_stem_is_a_clip_and_their_sum_the_accompaniment(songs):
    four = MUSDB18(songs.root, section_seconds=1.0, accompaniment=False)
    clips = [clip for clip in four.clips() if clip.name.endswith("@1") and clip.name.startswith(SONG)]
    assert [clip.label for clip in clips] == list(STEMS)
    accompaniment = songs.read(clip_named(songs, f"{SONG}/accompaniment@1"))[0]
    np.testing.assert_allclose(sum(four.read(clip)[0] for clip in clips[:3]), accompaniment, atol=1e-6)
    assert four.fingerprint(clips) != songs.fingerprint(songs.clips())


@given(length=st.integers(1, 10_000), section=st.integers(1, 3_000))
def test_sections_follow_one_another_and_none_but_a_short_track_is_below_half(length, section):
    bounds = section_bounds(length, section)
    assert bounds[0][0] == 0 and bounds[-1][1] == length
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    assert all(stop - start == section for start, stop in bounds[:-1])
    last = bounds[-1][1] - bounds[-1][0]
    assert last < 1.5 * section and (last >= section / 2 or len(bounds) == 1)


@pytest.mark.parametrize("track", [SONG, HELD_OUT, TESTED])
def test_sections_are_equal_slices_of_the_track_and_accompaniment_is_the_sum_of_the_other_stems(songs, track):
    for label, stems in (("vocals", STEMS[3:]), ("accompaniment", STEMS[:3])):
        clips = [clip for clip in songs.clips() if clip.name.startswith(f"{track}/{label}")]
        parts = [songs.read(clip)[0] for clip in clips]
        assert all(len(samples) == RATE and samples.dtype == np.float32 for samples in parts[:-1])
        expected = sum(mono(songs, track, stem) for stem in stems)
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)
    assert np.abs(np.concatenate(parts)).max() > 1  # nothing is clipped


def test_of_two_copies_in_the_root_one_has_to_be_chosen(songs, tmp_path):
    for track in (SONG, TESTED):
        write_track(tmp_path / "another" / track, 100)
    assert "several copies of MUSDB18, another, musdb18hq; give one" in error_of(MUSDB18(tmp_path))


@pytest.mark.parametrize("stem", ["drums", "vocals"])
def test_every_stem_is_needed_and_in_the_fingerprint_and_a_mixture_is_ignored(songs, stem):
    clips = songs.clips()
    seen = {songs.fingerprint(clips), MUSDB18(songs.root, 0.99).fingerprint(clips)}
    (songs.root / SONG / "mixture.wav").write_bytes(b"not even audio")
    assert songs.clips() == clips and songs.fingerprint(clips) in seen
    os.utime(songs.root / SONG / f"{stem}.wav", ns=(0, 1))
    assert len({*seen, songs.fingerprint(clips)}) == 3
    (songs.root / TESTED / f"{stem}.wav").unlink()
    assert f"{TESTED}: no {stem}.wav or {stem}.flac" in error_of(songs)


def test_a_stem_that_does_not_fit_or_is_broken_is_named(songs):
    first, second = (clip_named(songs, f"{SONG}/accompaniment@{section}") for section in (0, 1))
    for rate, samples in ((RATE, int(2.6 * RATE) - 1), (2 * RATE, int(2.6 * RATE))):
        soundfile.write(songs.root / SONG / "bass.wav", np.zeros(samples), rate)
        expected = f"{SONG}/bass: {samples} samples at {rate} Hz, expected 20800 at 8000 Hz"
        assert error_of(songs, second).startswith(expected)
    soundfile.write(songs.root / SONG / "bass.wav", np.zeros(int(2.6 * RATE)), RATE)
    samples = np.zeros(int(2.6 * RATE), np.float32)
    samples[RATE + 5] = np.nan
    soundfile.write(songs.root / SONG / "drums.wav", samples, RATE, subtype="FLOAT")
    assert len(songs.read(first)[0]) == RATE and error_of(songs, second).startswith(f"{SONG}/drums: holds NaN")
    file = songs.root / SONG / "other.wav"
    (songs.root / SONG / "drums.wav").write_bytes(file.read_bytes())
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert error_of(songs, first).startswith(f"{SONG}/other: truncated")


# A folder for each class


def test_folders_are_classes_and_files_at_any_depth_are_their_recordings(tmp_path):
    corpus = FolderPerClass(write(tmp_path, "dog/b.wav", "dog/a/1.flac", "train/x.ogg", "train/Y.AIFF"), folds=5)
    clips = [("dog/a/1.flac", "a/1"), ("dog/b.wav", "b"), ("train/Y.AIFF", "Y"), ("train/x.ogg", "x")]
    expected = [Clip(name, name.split("/")[0], fold_of(recording, 5), recording) for name, recording in clips]
    assert corpus.clips() == expected
    write(tmp_path, "top.wav", ".cache/a.wav", "dog/._a.wav", "dog/.cache/a.wav")
    (tmp_path / "dog/notes.txt").touch()
    (tmp_path / "papers").mkdir()
    (tmp_path / "dog/again").symlink_to(tmp_path / "dog")  # round in a circle
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert corpus.clips() == expected


def test_recordings_are_dealt_evenly_and_for_good_and_those_of_one_name_up_to_the_separator_are_one(tmp_path):
    counts = np.bincount([fold_of(str(recording), 10) for recording in range(10_000)])
    assert len(counts) == 11 and counts[0] == 0 and counts[1:].min() > 900
    assert [fold_of(name, 10) for name in ("7061", "a/1", "")] == [2, 8, 10]
    write(tmp_path, "dog/7061-6-0-0.wav", "dog/deep/7061-6-1-0.wav", "car/7061-1-0-0.wav", "car/42.wav")
    clips = FolderPerClass(tmp_path, recording_separator="-").clips()
    assert [clip.recording for clip in clips] == ["42", "7061", "7061", "7061"]
    assert len({clip.fold for clip in clips[1:]}) == 1


def test_train_validation_and_test_folders_are_the_folds(tmp_path):
    names = ("test/car/2.wav", "test/dog/7-1.wav", "train/dog/7-1.wav", "validation/dog/1.wav")
    corpus = FolderPerClass(write(tmp_path, *names, "extra/dog/1.wav"))
    assert [(clip.name, clip.fold) for clip in corpus.clips()] == [(name, name.split("/")[0]) for name in names]
    assert len({clip.recording for clip in corpus.clips()}) == 4
    message = error_of(FolderPerClass(tmp_path, recording_separator="-"))
    assert "test/dog/7-1.wav: recording 7 is in train too" in message
    for name in names[:2]:
        (tmp_path / name).unlink()
    assert f"{tmp_path / 'test'}: no recordings in class folders, found car, dog;" in error_of(FolderPerClass(tmp_path))


@pytest.mark.parametrize("linked", ["dog", "dog/deep", "dog/a.wav"])
def test_a_folder_of_links_is_refused_before_anything_is_read_or_followed_in_no_circle(tmp_path, linked):
    write(tmp_path / "mine", "dog/deep/b.wav", "dog/a.wav", "rain/c.wav")
    os.rename(tmp_path / "mine" / linked, tmp_path / "elsewhere")
    (tmp_path / "mine" / linked).symlink_to(tmp_path / "elsewhere")
    assert error_of(FolderPerClass(tmp_path / "mine")).startswith(f"{linked}: leads out of ")
    (tmp_path / "mine/rain/again").symlink_to(tmp_path / "mine/rain")
    (tmp_path / "mine/dog/up").symlink_to(tmp_path / "mine")
    clips = FolderPerClass(tmp_path / "mine", follow_links=True).clips()
    assert {clip.name for clip in clips} >= {"dog/a.wav", "dog/deep/b.wav", "rain/c.wav"} and len(clips) < 20


# Several as one


def test_one_class_of_several_corpora_is_made_by_other_names_and_no_recording_of_freesound_is_taken_twice(
    urbansound, esc50, fsd50k
):
    table = urbansound.root / "metadata/UrbanSound8K.csv"
    table.write_text(table.read_text().replace("1002,", "1,"))  # a dog bark of ESC-50's recording 1
    joined = JoinedCorpora([urbansound, esc50, fsd50k], {"dog": "dog_bark", "Bark": "dog_bark"})
    own = {clip.name: clip.label for clip in joined.labelled(["dog_bark", "rain"])}
    assert own == {
        **{f"1/{clip.name}": "dog_bark" for clip in urbansound.clips() if clip.label == "dog_bark"},
        **{"2/audio/5-7-A.wav": "rain"},
        **{f"3/FSD50K.{name}.wav": "dog_bark" for name in ("dev_audio/11", "dev_audio/12", "eval_audio/21")},
    }
    clip = joined.labelled(["dog_bark"])[-1]
    assert joined.freesound_id(clip) == fsd50k.freesound_id(fsd50k.clips()[-2]) is not None
    np.testing.assert_array_equal(joined.read(clip)[0], fsd50k.read(fsd50k.clips()[-2])[0])
    with pytest.raises(InputError, match=r"^labels: no clip of dgo in the corpora; correct the name"):
        JoinedCorpora([urbansound, esc50], {"dgo": "dog_bark"}).clips()
    JoinedCorpora([urbansound, esc50], follow_links=True)
    assert urbansound.follow_links and esc50.follow_links


def test_joined_corpora_keep_labels_and_folds_and_tell_names_and_recordings_apart(urbansound_factory, tmp_path):
    urbansound = UrbanSound8K(urbansound_factory())
    birds = FolderPerClass(write(tmp_path / "birds", *(f"blackbird/{n}.wav" for n in range(30))), folds=3)
    joined = JoinedCorpora([urbansound, birds, birds])
    clips, own = joined.clips(), [(corpus, clip) for corpus in joined.corpora for clip in corpus.clips()]
    assert len({clip.name for clip in clips}) == len({clip.recording for clip in clips}) == len(own)
    for clip, (corpus, original) in zip(clips, own, strict=True):
        assert (clip.label, clip.fold, clip.salience) == (original.label, original.fold, original.salience)
        np.testing.assert_array_equal(joined.read(clip)[0], corpus.read(original)[0])
    whole = joined.fingerprint(clips)
    assert joined.fingerprint(clips[1:]) != whole != joined.fingerprint(clips[:-1])
    os.utime(tmp_path / "birds/blackbird/0.wav", ns=(0, 1))
    assert joined.fingerprint(clips) != whole
    with pytest.raises(InputError, match="corpora: none; give one at least"):
        JoinedCorpora([])


# Real recordings


def test_the_excerpts_of_real_recordings_are_what_their_corpora_say(real_data):
    urbansound = UrbanSound8K(real_data)
    assert len(urbansound.clips()) == 1791 and {clip.fold for clip in urbansound.clips()} == set(range(1, 11))
    by_name = FolderPerClass(real_data / "UrbanSound8K/audio", recording_separator="-").clips()
    table = {Path(clip.name).stem: clip.recording for clip in urbansound.clips()}
    assert {Path(clip.name).stem: clip.recording for clip in by_name} == table
    folds = defaultdict(set)
    for clip in by_name:
        folds[clip.recording].add(clip.fold)
    assert all(len(found) == 1 for found in folds.values()) and set.union(*folds.values()) == set(range(1, 11))

    utterances = LibriSpeech(real_data).clips()
    # Three of the speakers to learn from read for half a minute, in several utterances.
    for fold, speakers, count in (("train", 206, 214), ("validation", 45, 45), ("test", 5, 50)):
        counts = Counter(clip.recording for clip in utterances if clip.fold == fold)
        assert len(counts) == speakers and counts.total() == count

    songs = MUSDB18(real_data)
    for label in ("vocals", "accompaniment"):
        counts = Counter(clip.fold for clip in songs.clips() if clip.label == label)
        assert counts == {"train": 80, "validation": 14, "test": 25}
    assert len(songs.read(songs.clips()[0])[0]) == 89_600


def test_no_two_folds_of_the_whole_table_share_a_recording_of_the_five_classes(real_data, tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "metadata").mkdir()
    table = (real_data / "UrbanSound8K-all-8732-clips.csv").read_bytes()
    (tmp_path / "metadata/UrbanSound8K.csv").write_bytes(table)
    clips = UrbanSound8K(tmp_path).clips()
    assert len(clips) == 8732
    # Of all ten classes five recordings do, one class in each fold.
    five = [c for c in clips if c.label in ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren")]
    assert len({(clip.recording, clip.fold) for clip in five}) == len({clip.recording for clip in five})
