import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datamodules.corpora.corpus import Clip
from datamodules.corpora.librispeech import LibriSpeech
from lightning_modules.errors import InputError

SUBSETS = {"train-clean-100": ("19", "26", "27", "32", "39"), "dev-other": ("116",), "test-other": ("367", "533")}


def write_utterance(root: Path, subset: str, speaker: str, chapter: str = "7", number: int = 0) -> Path:
    path = root / subset / speaker / chapter / f"{speaker}-{chapter}-{number:04d}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([int(speaker), number]).uniform(-0.5, 0.5, 800)
    soundfile.write(path, noise, 16_000)
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    """Every speaker says two utterances, in one chapter each."""
    root = tmp_path / "LibriSpeech"
    for subset, speakers in SUBSETS.items():
        for speaker in speakers:
            for number in range(2):
                write_utterance(root, subset, speaker, str(10 * number + 7), number)
    return root


def error_of(corpus: LibriSpeech) -> str:
    with pytest.raises(InputError) as caught:
        corpus.clips()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def speakers_of(corpus: LibriSpeech, fold: str) -> set[str]:
    return {clip.label for clip in corpus.clips() if clip.fold == fold}


def test_utterances_become_clips_of_their_speakers_sorted_by_name(root):
    clips = LibriSpeech(root, validation_speakers=2).clips()
    assert clips[0] == Clip("test-other/367/17/367-17-0001.flac", "367", "test", "367")
    assert [clip.name for clip in clips] == sorted(clip.name for clip in clips)
    assert Counter(clip.fold for clip in clips) == {"train": 6, "validation": 4, "test": 4}


def test_the_root_may_be_the_folder_that_holds_the_corpus(root):
    outer, inner = (LibriSpeech(folder, validation_speakers=2) for folder in (root.parent, root))
    assert outer.clips() == inner.clips()
    assert outer.fingerprint(outer.clips()) == inner.fingerprint(inner.clips())


def test_speakers_with_the_lowest_digests_validate(root):
    ranked = sorted(SUBSETS["train-clean-100"], key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())
    for count in range(4):
        corpus = LibriSpeech(root, validation_speakers=count)
        assert speakers_of(corpus, "validation") == set(ranked[:count])
        assert speakers_of(corpus, "train") == set(ranked[count:])


def test_a_test_subset_alone_needs_no_train_speakers(root):
    corpus = LibriSpeech(root, train_subsets=(), test_subsets=("test-other", "dev-other"))
    assert {clip.fold for clip in corpus.clips()} == {"test"}
    corpus = LibriSpeech(root, validation_subsets=("dev-other",), validation_speakers=0)
    assert speakers_of(corpus, "validation") == {"116"}
    assert speakers_of(corpus, "train") == set(SUBSETS["train-clean-100"])


def test_wav_is_read_and_transcripts_and_hidden_files_and_folders_are_ignored(root):
    corpus = LibriSpeech(root, validation_speakers=1)
    clips = corpus.clips()
    chapter = root / "test-other/367/7"
    (chapter / "367-7.trans.txt").write_text("367-7-0000 HELLO\n")
    (chapter / "._367-7-0000.flac").write_bytes(b"resource fork")
    (root / "test-other/SPEAKERS.TXT").write_text("367 | F\n")
    (root / "test-other/.cache/1").mkdir(parents=True)
    (root / "test-other/.cache/1/a.flac").touch()
    assert corpus.clips() == clips
    soundfile.write(chapter / "367-7-0009.wav", np.zeros(100), 16_000)
    assert {clip.name for clip in corpus.clips()} - {clip.name for clip in clips} == {"test-other/367/7/367-7-0009.wav"}


def test_an_utterance_that_is_there_in_two_formats_is_an_error(root):
    soundfile.write(root / "test-other/367/7/367-7-0000.wav", np.zeros(100), 16_000)
    assert "367-7-0000.flac is there as test-other/367/7/367-7-0000.wav too" in error_of(
        LibriSpeech(root, validation_speakers=1)
    )


def test_a_missing_root_and_a_missing_subset_say_what_is_there(root, tmp_path):
    assert "no such folder" in error_of(LibriSpeech(tmp_path / "nowhere"))
    message = error_of(LibriSpeech(root, train_subsets=("train-other-500",)))
    assert f"{root}: no subset train-other-500, found dev-other, test-other, train-clean-100;" in message
    (tmp_path / "empty").mkdir()
    assert "no subset train-clean-100, found nothing;" in error_of(LibriSpeech(tmp_path / "empty"))


def test_a_subset_without_utterances_is_an_error(root):
    (root / "dev-clean/84").mkdir(parents=True)
    assert "dev-clean: no utterances" in error_of(LibriSpeech(root, test_subsets=("dev-clean",)))


def test_a_speaker_in_two_splits_is_named_with_both(root):
    write_utterance(root, "test-other", "26", number=5)
    message = error_of(LibriSpeech(root, validation_speakers=1))
    assert "speaker 26 of test-other (test) is in train-clean-100 (train) too" in message


def test_a_speaker_in_two_subsets_of_one_split_is_none_the_worse(root):
    write_utterance(root, "dev-other", "367", number=5)
    corpus = LibriSpeech(root, test_subsets=("test-other", "dev-other"), validation_speakers=1)
    assert Counter(clip.label for clip in corpus.clips())["367"] == 3


def test_two_speakers_at_least_are_left_to_train_with(root):
    assert len(speakers_of(LibriSpeech(root, validation_speakers=3), "train")) == 2
    assert "validation_speakers: 4 of the 5 speakers" in error_of(LibriSpeech(root, validation_speakers=4))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"train_subsets": (), "test_subsets": ()}, "all empty"),
        ({"test_subsets": ("train-clean-100",)}, "test_subsets: train-clean-100 is in train_subsets already"),
        ({"test_subsets": ("../secret",)}, "'../secret' is not a folder name"),
        ({"validation_subsets": ("..",)}, "'..' is not a folder name"),
        ({"validation_speakers": -1}, "validation_speakers: -1; at least 0"),
    ],
)
def test_settings_are_checked_before_anything_is_read(tmp_path, setting, reason):
    with pytest.raises(InputError, match=reason):
        LibriSpeech(tmp_path / "nowhere", **setting)


def test_a_name_that_cannot_be_printed_is_an_error(root):
    write_utterance(root, "test-other", "367").rename(root / "test-other/367/7/367\n.flac")
    assert "'367\\n.flac' is not a printable name" in error_of(LibriSpeech(root, validation_speakers=1))


def test_the_fingerprint_changes_with_splits_sizes_times_and_missing_files(root):
    corpus = LibriSpeech(root, validation_speakers=1)
    clips = corpus.clips()
    other = LibriSpeech(root, validation_speakers=2)
    seen = {corpus.fingerprint(clips), corpus.fingerprint(clips[1:]), other.fingerprint(other.clips())}
    os.utime(root / clips[0].name, ns=(0, 123))
    seen.add(corpus.fingerprint(clips))
    (root / clips[0].name).write_bytes(b"changed")
    os.utime(root / clips[0].name, ns=(0, 123))
    seen.add(corpus.fingerprint(clips))
    (root / clips[0].name).unlink()
    seen.add(corpus.fingerprint(clips))
    assert len(seen) == 6


def test_the_excerpt_of_real_speech_has_its_speakers_and_is_read_whole(real_data):
    corpus = LibriSpeech(real_data)
    clips = corpus.clips()
    # Three of the speakers to learn from read for half a minute, in several utterances.
    for fold, speakers, utterances in (("train", 206, 214), ("validation", 45, 45), ("test", 5, 50)):
        counts = Counter(clip.recording for clip in clips if clip.fold == fold)
        assert len(counts) == speakers and counts.total() == utterances
    samples, rate = corpus.read(clips[0])
    assert rate == 16_000 and 0 < len(samples) <= 12 * rate and samples.any()
