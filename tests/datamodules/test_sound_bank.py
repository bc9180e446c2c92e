import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import soundfile
import torch

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.file_corpus import FileCorpus
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.inspection import inspect_clips, inspect_table, integrated_loudness
from datamodules.sound_bank import (
    BankOnDemand,
    SoundBank,
    UnverifiableBankError,
    build_sound_bank,
    verify_bank,
)
from lightning_modules.errors import InputError

REPOSITORY = Path(__file__).parents[2]
HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"


@pytest.fixture
def corpus(urbansound_factory) -> UrbanSound8K:
    return UrbanSound8K(urbansound_factory())


def build(corpus: Corpus, folder: Path, workers: int = 0, rate: int = 16_000) -> SoundBank:
    return build_sound_bank(corpus, corpus.clips(), rate, folder, workers=workers, progress=False)


def digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_a_bank_holds_every_clip_resampled_and_measured(corpus, tmp_path):
    bank = build(corpus, tmp_path)
    assert bank.clips == corpus.clips() and bank.left_out == []
    assert bank.samples.dtype == np.float32 and len(bank.samples) == bank.lengths.sum()
    for i, clip in enumerate(bank.clips):
        original, rate = soundfile.read(corpus.root / clip.name)
        expected = scipy.signal.resample_poly(original, 16_000, rate)
        assert abs(len(bank.clip(i)) - len(expected)) <= 1
        # The two low-pass filters differ near 8 kHz, where these clips hold a little noise.
        assert np.abs(bank.clip(i)[200:-200] - expected[200 : len(bank.clip(i)) - 200]).max() < 0.02
        assert bank.loudness[i] == pytest.approx(pyloudnorm.Meter(rate).integrated_loudness(original), abs=0.2)


def test_a_bank_of_the_same_clips_is_opened_and_not_built_again(corpus, tmp_path):
    (tmp_path / "plain").mkdir()
    first = build(corpus, tmp_path)
    before = {file: os.stat(file).st_mtime_ns for file in first.path.iterdir()}
    assert build(corpus, tmp_path).path == first.path
    assert {file: os.stat(file).st_mtime_ns for file in first.path.iterdir()} == before
    assert first.path.stat().st_mode == (tmp_path / "plain").stat().st_mode  # who may read folders may read it


def test_the_same_bytes_come_from_any_number_of_workers(corpus, tmp_path):
    threads = torch.get_num_threads()
    alone, shared = build(corpus, tmp_path / "0", 0), build(corpus, tmp_path / "2", 2)
    assert digests(alone.path) == digests(shared.path) and alone.path.name == shared.path.name
    assert torch.get_num_threads() == threads


def test_a_changed_file_or_other_clips_or_another_rate_need_another_bank(corpus, tmp_path):
    clips = corpus.clips()
    with pytest.raises(InputError, match="no sound bank of these 12 clips of urbansound8k at 16000 Hz; build it with"):
        SoundBank.open(corpus, clips, 16_000, tmp_path)
    build(corpus, tmp_path)
    with pytest.raises(InputError, match="other clips or of files changed since"):
        SoundBank.open(corpus, clips[1:], 16_000, tmp_path)
    with pytest.raises(InputError, match="at 8000 Hz; build it with"):
        SoundBank.open(corpus, clips, 8_000, tmp_path)
    os.utime(corpus.root / clips[0].name, ns=(0, 1))
    with pytest.raises(InputError, match="other clips or of files changed since"):
        SoundBank.open(corpus, clips, 16_000, tmp_path)


DAMAGES = [
    ("kept", lambda kept: kept - 1),
    ("kept", lambda kept: kept + 1000),
    ("kept", lambda kept: kept[::-1]),
    ("kept", lambda kept: kept.astype(float)),
    ("kept", lambda kept: kept[0]),
    ("lengths", lambda lengths: np.append(lengths[:-2], [lengths[-2] + lengths[-1] + 1, -1])),
    ("lengths", lambda lengths: np.append(lengths[:-2], [lengths[-2] + lengths[-1], 0])),
    ("lengths", lambda lengths: lengths + 1),
    ("loudness", lambda loudness: np.append(loudness[:-1], np.nan)),
    ("loudness", lambda loudness: np.array(loudness, dtype=object)),
    ("left_out", lambda left_out: np.array({"a": 1}, dtype=object)),
]


def test_a_damaged_bank_is_refused(corpus, tmp_path):
    path = build(corpus, tmp_path).path / "index.npz"
    whole = path.read_bytes()
    with np.load(path) as index:
        columns = {name: index[name] for name in index}
    for column, change in (*DAMAGES, ("cut", None)):
        if change is None:
            path.write_bytes(whole[:-100])
        else:
            np.savez(path, **{**columns, column: change(columns[column])})
        with pytest.raises(InputError, match="damaged sound bank; delete the folder and build it again"):
            build(corpus, tmp_path)


def test_a_flipped_byte_is_found_when_a_bank_is_verified(corpus, tmp_path):
    bank, clips = build(corpus, tmp_path), corpus.clips()
    assert verify_bank(bank.path) == len(clips)
    with open(bank.path / "samples.f32", "r+b") as file:
        file.seek(4 * int(bank.offsets[4]) + 1)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    SoundBank.open(corpus, clips, 16_000, tmp_path)  # whose size is right
    for opened in (SoundBank.open, build_sound_bank):
        with pytest.raises(InputError, match=f"1 of 12 clips damaged, the first {clips[4].name}; delete the folder"):
            opened(corpus, clips, 16_000, tmp_path, verify=True)
    with pytest.raises(InputError, match="1 of 12 clips damaged, the first number 4"):
        verify_bank(bank.path)


def test_a_bank_of_an_earlier_version_can_be_used_and_not_verified(corpus, tmp_path):
    bank = build(corpus, tmp_path)
    with np.load(bank.path / "index.npz") as index:
        columns = {name: index[name] for name in index if name != "checksums"}
    np.savez(bank.path / "index.npz", **columns)
    SoundBank.open(corpus, corpus.clips(), 16_000, tmp_path)
    with pytest.raises(UnverifiableBankError, match="an earlier version built it, without checksums"):
        SoundBank.open(corpus, corpus.clips(), 16_000, tmp_path, verify=True)


def test_silent_and_nearly_silent_clips_are_left_out_and_listed(corpus, tmp_path):
    clips = corpus.clips()
    soundfile.write(corpus.root / clips[1].name, np.zeros(10_000), 22_050)
    hiss = 1e-5 * np.random.default_rng(0).standard_normal(20_000)
    soundfile.write(corpus.root / clips[4].name, hiss, 22_050, subtype="FLOAT")
    bank = build(corpus, tmp_path)
    assert bank.left_out == [f"{clips[1].name}: silent", f"{clips[4].name}: never above the gate of -70 LUFS"]
    assert bank.clips == [clip for i, clip in enumerate(clips) if i not in (1, 4)]
    # A bank on demand is the same one without its file.
    on_demand = BankOnDemand.of([found for found, _ in inspect_clips(corpus, clips, 16_000)], 16_000, corpus)
    assert on_demand.clips == bank.clips
    for field in ("offsets", "lengths", "loudness"):
        np.testing.assert_array_equal(getattr(on_demand, field), getattr(bank, field))
    np.testing.assert_array_equal(on_demand.clip(4), bank.clip(4))
    for clip in clips:
        soundfile.write(corpus.root / clip.name, np.zeros(1000), 16_000)
    with pytest.raises(InputError, match="none of 12 clips is audible"):
        build(corpus, tmp_path)


def test_all_broken_clips_are_listed_at_once_and_nothing_is_left(corpus, tmp_path):
    clips = corpus.clips()
    (corpus.root / clips[0].name).unlink()
    (corpus.root / clips[5].name).write_bytes(b"")
    (corpus.root / clips[11].name).write_text("not audio")
    with pytest.raises(InputError) as caught:
        build(corpus, tmp_path, workers=2)
    first, *lines = str(caught.value).splitlines()
    assert first == "3 of 12 clips of urbansound8k are broken:"
    assert [line.split(":")[0] for line in lines] == [clips[i].name for i in (0, 5, 11)]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_and_a_full_disk_are_named_and_nothing_is_left(corpus, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"^{tmp_path}/file/banks: cannot write the sound bank .Not a directory"):
        build(corpus, tmp_path / "file" / "banks")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(InputError, match=f"^{tmp_path}/full: cannot write the sound bank .File too large"):
            build(corpus, tmp_path / "full", 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "full").iterdir()) == []


# Deliberately without `if __name__ == "__main__"`: the builder must not need it.
BUILD_AND_HANG = """
import sys, time
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.sound_bank import build_sound_bank

class Hanging(UrbanSound8K):
    def read(self, clip):
        if clip == self.clips()[8]:
            print("halfway", flush=True)
            time.sleep(60)
        return super().read(clip)

corpus = Hanging(sys.argv[1])
build_sound_bank(corpus, corpus.clips(), 16_000, sys.argv[2], workers=2, progress=False)
"""


def test_a_killed_build_leaves_no_bank_and_its_remains_go_with_the_next_build(corpus, tmp_path):
    (tmp_path / "build.py").write_text(BUILD_AND_HANG)
    banks = tmp_path / "banks"
    command = [sys.executable, str(tmp_path / "build.py"), str(corpus.root), str(banks)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "halfway\n"
        (unfinished,) = banks.iterdir()
        with pytest.raises(InputError, match="no sound bank"):
            SoundBank.open(corpus, corpus.clips(), 16_000, banks)
        # While it lives, another build leaves its folder alone.
        other = build(corpus, banks, rate=8_000)
        assert unfinished.exists()
        process.send_signal(signal.SIGKILL)
    assert unfinished.exists()
    bank = build(corpus, banks)
    assert set(banks.iterdir()) == {bank.path, other.path}
    assert digests(bank.path) == digests(build(corpus, tmp_path / "undisturbed").path)


def test_two_builds_of_the_same_bank_at_once_both_end_with_it(corpus, tmp_path, monkeypatch):
    both_reading = threading.Barrier(2, timeout=20)
    first = corpus.clips()[0]
    read = UrbanSound8K.read

    def read_together(self, clip):
        if clip == first:
            both_reading.wait()
        return read(self, clip)

    monkeypatch.setattr(UrbanSound8K, "read", read_together)
    banks: list[SoundBank] = []
    builders = [threading.Thread(target=lambda: banks.append(build(corpus, tmp_path))) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(banks) == 2 and list(tmp_path.iterdir()) == [banks[0].path]
    np.testing.assert_array_equal(banks[0].samples, banks[1].samples)


def test_loudness_of_the_standards_reference_tone():
    # ITU-R BS.1770: a full-scale 997-Hz sine in one channel reads -3.01 LUFS.
    tone = np.sin(2 * np.pi * 997 * np.arange(96_000) / 48_000).astype(np.float32)
    assert integrated_loudness(tone, 48_000) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("samples", [1, 6_399])
def test_a_clip_shorter_than_the_gating_block_is_repeated(samples):
    clip = np.random.default_rng(samples).uniform(0.2, 1.0, samples).astype(np.float32)
    clip *= (-1.0) ** np.arange(samples, dtype=np.float32)
    repeated = np.concatenate([clip] * (-(-6_400 // samples))).astype(np.float64)
    assert integrated_loudness(clip, 16_000) == pyloudnorm.Meter(16_000).integrated_loudness(repeated)


@pytest.mark.parametrize(("level", "samples"), [(0.0, 10), (1e-6, 64_000)])
def test_silence_and_what_is_below_the_gate_have_no_loudness_and_no_warning(level, samples):
    clip = (level * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert integrated_loudness(clip, 16_000) == -np.inf


def test_real_sirens_are_kept_unless_nearly_silent(real_data, tmp_path):
    corpus = UrbanSound8K(real_data)
    sirens = [clip for clip in corpus.clips() if clip.label == "siren" and clip.fold == 10]
    bank = build_sound_bank(corpus, sirens, 16_000, tmp_path, workers=2, progress=False)
    assert [line.split(":")[0] for line in bank.left_out] == [f"audio/fold10/159742-8-0-{i}.wav" for i in range(3)]


def test_a_bank_of_lengths_alone_has_no_sound(tmp_path):
    (tmp_path / "table.csv").write_text(HEADER + "7-1-0-0.wav,7,1.5,3.0,2,4,1,car_horn\n")
    bank = BankOnDemand.of(inspect_table(tmp_path / "table.csv", 8_000), 8_000)
    assert bank.clips[0] == Clip("audio/fold4/7-1-0-0.wav", "car_horn", 4, "7", 2) and bank.lengths.tolist() == [12_000]
    with pytest.raises(InputError, match=r"audio/fold4/7-1-0-0.wav: only its length is known"):
        bank.clip(0)


@pytest.mark.parametrize(
    ("times", "message"), [("0,nan", "line 2: end 'nan' is not a number"), ("2.0,1.0", "1.wav ends before it starts")]
)
def test_lengths_that_are_none_are_named_in_one_line(tmp_path, times, message):
    (tmp_path / "table.csv").write_text(f"{HEADER}1.wav,1,{times},1,1,1,car_horn\n")
    with pytest.raises(InputError, match=rf"table.csv.*{message}") as caught:
        inspect_table(tmp_path / "table.csv", 16_000)
    assert "\n" not in str(caught.value)


class OwnReader(FileCorpus):
    """Files of a folder, louder by a setting."""

    name = "own"

    def __init__(self, root: Path, gain: float = 1.0, follow_links: bool = False) -> None:
        super().__init__(root, follow_links)
        self.gain = gain

    def clips(self) -> list[Clip]:
        return [Clip("a.wav", "noise", 1, "a")]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        samples, rate = super().read(clip)
        return self.gain * samples, rate


class Cut(OwnReader):
    """The same files, read otherwise."""

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        samples, rate = super().read(clip)
        return samples[:4000], rate


def test_a_read_of_ones_own_and_its_settings_have_a_bank_of_their_own(tmp_path):
    root = tmp_path / "files"
    root.mkdir()
    soundfile.write(root / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 16_000)
    banks = [build(made, tmp_path) for made in (OwnReader(root), OwnReader(root, 2.0), Cut(root))]
    assert np.array_equal(2 * banks[0].clip(0), banks[1].clip(0)) and len(banks[2].clip(0)) == 4000
    moved = root.rename(tmp_path / "moved")
    assert build(OwnReader(moved, follow_links=True), tmp_path).path == banks[0].path


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((np.zeros((2, 800), np.float32), 8000), r"float32 \[2, 800\] and 8000"),
        ((np.zeros(800, np.int16), 8000), r"int16 \[800\] and 8000"),
        ((np.zeros(800, np.float32), 8000.0), r"float32 \[800\] and 8000\.0"),
        ((8000, np.zeros(800, np.float32)), "int and "),
        (np.zeros(800, np.float32), r"float32 \[800\] and None"),
    ],
)
def test_a_read_that_gives_no_samples_and_rate_is_refused(given, told, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "read", lambda clip: given)
    with pytest.raises(
        InputError, match=rf"^UrbanSound8K: its `read` of [^\n]* gives {told}[^\n]*; an array of float32"
    ):
        build(corpus, tmp_path)
