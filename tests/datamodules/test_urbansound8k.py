import os
import pickle

import numpy as np
import pytest
import soundfile

from datamodules.corpora.corpus import Clip
from datamodules.corpora.urbansound8k import UrbanSound8K
from lightning_modules.errors import InputError

HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
FIRST = "1-1-0-0.wav,1,0,1,1,1,1,car_horn\n"


@pytest.fixture
def corpus(urbansound_factory) -> UrbanSound8K:
    return UrbanSound8K(urbansound_factory(folds=(1, 10), clips_per_class=1))


def write_table(corpus: UrbanSound8K, text: str, encoding: str = "utf-8") -> None:
    (corpus.root / "metadata/UrbanSound8K.csv").write_text(text, encoding=encoding)


def error_of(corpus: UrbanSound8K) -> str:
    with pytest.raises(InputError) as caught:
        corpus.clips()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_table_becomes_clips_in_its_order(corpus):
    clips = corpus.clips()
    assert clips[0] == Clip("audio/fold1/1001-1-0-0.wav", "car_horn", 1, "1001", 1)
    assert [(clip.label, clip.fold) for clip in clips] == [
        ("car_horn", 1),
        ("dog_bark", 1),
        ("car_horn", 10),
        ("dog_bark", 10),
    ]


def test_the_root_may_be_the_folder_that_holds_the_corpus(corpus):
    outer = UrbanSound8K(corpus.root.parent)
    assert outer.clips() == corpus.clips()
    assert outer.fingerprint(outer.clips()) == corpus.fingerprint(corpus.clips())


def test_a_clip_reads_as_the_file_that_was_written(corpus):
    clip = corpus.clips()[0]
    expected, _ = soundfile.read(corpus.root / clip.name, dtype="float32")
    samples, rate = pickle.loads(pickle.dumps(corpus)).read(clip)
    np.testing.assert_array_equal(samples, expected)
    assert rate == 22_050


def test_flac_stands_in_for_wav(corpus):
    clip = corpus.clips()[0]
    samples, rate = soundfile.read(corpus.root / clip.name, dtype="int16")
    (corpus.root / clip.name).unlink()
    soundfile.write((corpus.root / clip.name).with_suffix(".flac"), samples, rate)
    np.testing.assert_array_equal(corpus.read(clip)[0], samples / np.float32(2**15))


def test_a_missing_root_and_another_folder_say_what_was_expected(tmp_path):
    assert "no such folder" in error_of(UrbanSound8K(tmp_path / "nowhere"))
    assert "expected metadata/UrbanSound8K.csv and audio/fold1" in error_of(UrbanSound8K(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_makes_no_difference(corpus, encoding):
    write_table(corpus, HEADER + FIRST, encoding)
    assert len(corpus.clips()) == 1


def test_a_table_that_is_not_utf8_is_an_error(corpus):
    write_table(corpus, HEADER + FIRST, "utf-16")
    assert "UTF-8" in error_of(corpus)


@pytest.mark.parametrize("column", ["slice_file_name", "fsID", "salience", "fold", "class"])
def test_a_missing_column_is_named(corpus, column):
    write_table(corpus, HEADER.replace(column, "other"))
    assert f"no column '{column}'" in error_of(corpus)


def test_an_empty_table_is_an_error(corpus):
    write_table(corpus, HEADER)
    assert "lists no clips" in error_of(corpus)
    write_table(corpus, "")
    assert "no column" in error_of(corpus)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2.wav,1,0,1,1,one,1,car_horn", "fold 'one' is not a positive integer"),
        ("2.wav,1,0,1,1,2.5,1,car_horn", "fold '2.5' is not a positive integer"),
        ("2.wav,1,0,1,1,0,1,car_horn", "fold '0' is not a positive integer"),
        ("2.wav,1,0,1,1," + "9" * 5000 + ",1,car_horn", "is not a positive integer"),
        ("2.wav,1,0,1,3,1,1,car_horn", "salience '3' is neither 1 nor 2"),
        ("2.wav,1,0,1,1,1,1,", "class '' is no printable name"),
        ("2.wav,,0,1,1,1,1,car_horn", "fsID '' is no printable name"),
        ("2.wav,1,0,1,1,1", "6 values, expected 8"),
        (",1,0,1,1,1,1,car_horn", "slice_file_name '' is not a plain file name"),
        ("..,1,0,1,1,1,1,car_horn", "is not a plain file name"),
        ("../2.wav,1,0,1,1,1,1,car_horn", "is not a plain file name"),
        ("..\\2.wav,1,0,1,1,1,1,car_horn", "is not a plain file name"),
        ('"2\x1b.wav",1,0,1,1,1,1,car_horn', "is not a plain file name"),
        ("/etc/2.wav,1,0,1,1,1,1,car_horn", "is not a plain file name"),
        (FIRST.strip(), "was already listed on line 2"),
        ("1-1-0-0.wav,1,0,1,1,2,1,car_horn", "was already listed on line 2"),
    ],
)
def test_a_bad_row_is_named_by_its_line(corpus, row, reason):
    write_table(corpus, HEADER + FIRST + row + "\n")
    message = error_of(corpus)
    assert "UrbanSound8K.csv, line 3: " in message and reason in message


def test_a_link_that_leads_out_of_the_corpus_is_not_followed(corpus, tmp_path):
    clip = corpus.clips()[0]
    os.replace(corpus.root / clip.name, tmp_path / "elsewhere.wav")
    (corpus.root / clip.name).symlink_to(tmp_path / "elsewhere.wav")
    with pytest.raises(InputError, match=f"^{clip.name}: leads out of "):
        corpus.read(clip)


def test_a_link_within_the_corpus_and_a_linked_root_are_followed(corpus, tmp_path):
    first, second, *_ = corpus.clips()
    (corpus.root / first.name).unlink()
    (corpus.root / first.name).symlink_to(corpus.root / second.name)
    (tmp_path / "linked").symlink_to(corpus.root)
    np.testing.assert_array_equal(UrbanSound8K(tmp_path / "linked").read(first)[0], corpus.read(second)[0])


def test_the_fingerprint_changes_with_rows_sizes_times_and_missing_files(corpus):
    clips = corpus.clips()
    seen = {corpus.fingerprint(clips), corpus.fingerprint(clips[:-1]), corpus.fingerprint(clips[::-1])}
    seen.add(corpus.fingerprint([clips[0]._replace(label="siren"), *clips[1:]]))
    file = corpus.root / clips[0].name
    os.utime(file, ns=(0, 123))
    seen.add(corpus.fingerprint(clips))
    file.write_bytes(b"changed")
    os.utime(file, ns=(0, 123))
    seen.add(corpus.fingerprint(clips))
    file.unlink()
    seen.add(corpus.fingerprint(clips))
    assert len(seen) == 7
    assert corpus.fingerprint(clips) == corpus.fingerprint(corpus.clips())


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
