import os
import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from datamodules.corpora.corpus import Clip
from datamodules.corpora.musdb18 import MUSDB18, section_bounds
from lightning_modules.errors import InputError

RATE = 8_000
STEMS = ("drums", "bass", "other", "vocals")
SONG, HELD_OUT, TESTED = "train/Ann - Song", "train/leaf - SUMMERGHOST", "test/Bob - Song"


def write_track(folder: Path, samples: int, suffix: str = "wav") -> None:
    """Stereo stems of noise, 16 bit."""
    folder.mkdir(parents=True)
    for number, stem in enumerate(STEMS):
        noise = np.random.default_rng([samples, number]).uniform(-0.9, 0.9, (samples, 2))
        soundfile.write(folder / f"{stem}.{suffix}", noise, RATE, subtype="PCM_16")


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "musdb18hq"
    write_track(root / SONG, int(2.6 * RATE))
    write_track(root / HELD_OUT, int(1.2 * RATE), "flac")
    write_track(root / TESTED, int(0.3 * RATE))
    return root


@pytest.fixture
def corpus(root) -> MUSDB18:
    return MUSDB18(root, section_seconds=1.0)


def mono(corpus: MUSDB18, track: str, stem: str) -> np.ndarray:
    (path,) = (corpus.folder / track).glob(f"{stem}.*")
    return soundfile.read(path, dtype="float32")[0].mean(axis=1)


def error_of(corpus: MUSDB18) -> str:
    with pytest.raises(InputError) as caught:
        corpus.clips()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def clip_named(corpus: MUSDB18, name: str) -> Clip:
    (clip,) = (clip for clip in corpus.clips() if clip.name == name)
    return clip


def test_every_section_is_a_clip_of_vocals_and_one_of_accompaniment(corpus):
    song = [clip for clip in corpus.clips() if clip.recording == "Ann - Song"]
    assert song[:3] == [
        Clip(f"{SONG}/vocals@0", "vocals", "train", "Ann - Song", section=0),
        Clip(f"{SONG}/accompaniment@0", "accompaniment", "train", "Ann - Song", section=0),
        Clip(f"{SONG}/vocals@1", "vocals", "train", "Ann - Song", section=1),
    ]
    assert [(clip.label, clip.section) for clip in song[3:]] == [
        ("accompaniment", 1),
        ("vocals", 2),
        ("accompaniment", 2),
    ]


def test_the_authors_validation_tracks_are_known_in_any_case(corpus):
    assert {clip.recording: clip.fold for clip in corpus.clips()} == {
        "Ann - Song": "train",
        "leaf - SUMMERGHOST": "validation",
        "Bob - Song": "test",
    }


def test_a_test_track_of_a_validation_tracks_name_stays_a_test_track(corpus):
    write_track(corpus.root / "test/Young Griffo - Pennies", 100)
    assert {clip.fold for clip in corpus.clips() if clip.recording == "Young Griffo - Pennies"} == {"test"}


@given(length=st.integers(1, 10_000), section=st.integers(1, 3_000))
def test_sections_follow_one_another_and_none_but_a_short_track_is_below_half(length, section):
    bounds = section_bounds(length, section)
    assert bounds[0][0] == 0 and bounds[-1][1] == length
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    assert all(stop - start == section for start, stop in bounds[:-1])
    last = bounds[-1][1] - bounds[-1][0]
    assert last < 1.5 * section and (last >= section / 2 or len(bounds) == 1)


def test_a_rest_of_half_a_section_is_one_of_its_own_and_a_shorter_one_joins_the_one_before():
    assert section_bounds(25, 10) == [(0, 10), (10, 20), (20, 25)]
    assert section_bounds(24, 10) == [(0, 10), (10, 24)]
    assert section_bounds(4, 10) == [(0, 4)]


@pytest.mark.parametrize("track", [SONG, HELD_OUT, TESTED])
def test_sections_are_equal_slices_of_the_whole_track(corpus, track):
    clips = [clip for clip in corpus.clips() if clip.name.startswith(f"{track}/vocals")]
    parts = [pickle.loads(pickle.dumps(corpus)).read(clip) for clip in clips]
    assert {rate for _, rate in parts} == {RATE}
    assert all(len(samples) == RATE for samples, _ in parts[:-1])
    np.testing.assert_array_equal(np.concatenate([samples for samples, _ in parts]), mono(corpus, track, "vocals"))


@pytest.mark.parametrize("track", [SONG, HELD_OUT])
def test_accompaniment_is_the_sum_of_the_stems_but_for_the_vocals(corpus, track):
    samples, rate = corpus.read(clip_named(corpus, f"{track}/accompaniment@0"))
    expected = sum(mono(corpus, track, stem) for stem in ("drums", "bass", "other"))[: len(samples)]
    np.testing.assert_allclose(samples, expected, atol=1e-6)
    assert rate == RATE and samples.dtype == np.float32 and np.abs(samples).max() > 1


def test_the_root_may_hold_the_corpus_under_any_name_beside_others(corpus, tmp_path):
    (tmp_path / "UrbanSound8K/audio/fold1").mkdir(parents=True)
    (tmp_path / "LibriSpeech/train-clean-100/19").mkdir(parents=True)
    (tmp_path / "classes/train/dog").mkdir(parents=True)
    (tmp_path / "classes/test/dog").mkdir(parents=True)
    outer = MUSDB18(tmp_path, 1.0)
    assert outer.folder == corpus.root and outer.clips() == corpus.clips()
    assert outer.fingerprint(outer.clips()) == corpus.fingerprint(corpus.clips())


def test_of_two_copies_in_the_root_one_has_to_be_chosen(corpus, tmp_path):
    write_track(tmp_path / "another" / SONG, 100)
    write_track(tmp_path / "another" / TESTED, 100)
    assert "several copies of MUSDB18, another, musdb18hq; give one" in error_of(MUSDB18(tmp_path))


def test_a_missing_root_and_another_folder_say_what_was_expected(tmp_path):
    assert "no such folder" in error_of(MUSDB18(tmp_path / "nowhere"))
    (tmp_path / "train").mkdir()
    (tmp_path / "train/Ann - Song.stem.mp4").touch()
    assert "not MUSDB18, found train; expected train/TRACK/vocals.wav" in error_of(MUSDB18(tmp_path))


@pytest.mark.parametrize("stem", STEMS)
def test_a_missing_stem_is_named_with_its_track(corpus, stem):
    (corpus.root / TESTED / f"{stem}.wav").unlink()
    assert f"{TESTED}: no {stem}.wav or {stem}.flac" in error_of(corpus)


def test_a_mixture_and_hidden_folders_are_ignored(corpus):
    clips, before = corpus.clips(), corpus.fingerprint(corpus.clips())
    (corpus.root / SONG / "mixture.wav").write_bytes(b"not even audio")
    (corpus.root / "train/.cache").mkdir()
    (corpus.root / "train/notes.txt").touch()
    assert corpus.clips() == clips and corpus.fingerprint(clips) == before


def test_a_track_in_both_train_and_test_is_an_error(corpus):
    write_track(corpus.root / "test/Ann - Song", 100)
    assert "Ann - Song is in both train and test" in error_of(corpus)


@pytest.mark.parametrize(("rate", "samples"), [(RATE, int(2.6 * RATE) - 1), (2 * RATE, int(2.6 * RATE))])
def test_a_stem_of_another_length_or_rate_than_the_vocals_is_named(corpus, rate, samples):
    soundfile.write(corpus.root / SONG / "bass.wav", np.zeros(samples), rate)
    clip = clip_named(corpus, f"{SONG}/accompaniment@1")
    with pytest.raises(InputError, match=rf"^{SONG}/bass: {samples} samples at {rate} Hz, expected 20800 at 8000 Hz"):
        corpus.read(clip)
    assert len(corpus.read(clip._replace(name=f"{SONG}/vocals@1"))[0]) == RATE


@pytest.mark.parametrize(("track", "suffix"), [(SONG, "wav"), (HELD_OUT, "flac")])
def test_a_truncated_stem_is_named(corpus, track, suffix):
    clip = [clip for clip in corpus.clips() if clip.name.startswith(f"{track}/accompaniment")][-1]
    file = corpus.root / track / f"other.{suffix}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=f"^{track}/other: "):
        corpus.read(clip)


def test_samples_that_are_not_finite_spoil_their_section_alone(corpus):
    samples = np.zeros(int(2.6 * RATE), np.float32)
    samples[RATE + 5] = np.nan
    soundfile.write(corpus.root / SONG / "drums.wav", samples, RATE, subtype="FLOAT")
    corpus.read(clip_named(corpus, f"{SONG}/accompaniment@0"))
    with pytest.raises(InputError, match=f"^{SONG}/drums: holds NaN"):
        corpus.read(clip_named(corpus, f"{SONG}/accompaniment@1"))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_sections_have_a_duration(tmp_path, seconds):
    with pytest.raises(InputError, match="section_seconds"):
        MUSDB18(tmp_path / "nowhere", seconds)


def test_the_fingerprint_changes_with_the_cut_and_with_any_stem(corpus):
    clips = corpus.clips()
    seen = {corpus.fingerprint(clips), corpus.fingerprint(clips[1:])}
    # The same rows, but a few samples less in each.
    other = MUSDB18(corpus.root, 0.99)
    assert other.clips() == clips
    seen.add(other.fingerprint(clips))
    for number, stem in enumerate(STEMS):
        os.utime(corpus.root / SONG / f"{stem}.wav", ns=(0, number))
        seen.add(corpus.fingerprint(clips))
    (corpus.root / SONG / "drums.wav").unlink()
    seen.add(corpus.fingerprint(clips))
    assert len(seen) == 8


def test_the_excerpt_of_real_music_has_its_tracks_and_its_stems_add_up(real_data):
    corpus = MUSDB18(real_data)
    assert corpus.folder.name == "musdb18-7s"
    clips = corpus.clips()
    for label in ("vocals", "accompaniment"):
        assert Counter(c.fold for c in clips if c.label == label) == {"train": 80, "validation": 14, "test": 25}
    accompaniment = next(clip for clip in clips if clip.fold == "test" and clip.label == "accompaniment")
    samples, rate = corpus.read(accompaniment)
    folder = corpus.folder / "test" / accompaniment.recording
    stems = [soundfile.read(folder / f"{stem}.flac", dtype="float32")[0] for stem in ("drums", "bass", "other")]
    np.testing.assert_allclose(samples, sum(stems), atol=1e-6)
    assert rate == 16_000 and len(samples) == 89_600
