"""Sources as files: the recording's rate, channels and length, nothing clipped, nothing replaced unasked."""

import json
import os
import resource
import shutil
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from datamodules.corpora.audio_file import scan_audio
from experiments.separation.command import command
from experiments.separation.separated_files import MANIFEST, is_separated, separate_file
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM
from lightning_modules.recordings.separator import Separator
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

RATE = 11_025


@pytest.fixture(scope="module")
def separator() -> Separator:
    torch.manual_seed(0)
    tiny = partial(BLSTM, units=4, layers=1)
    model = WeakLabelSeparator("strong", classes=["horn", "dog"], sample_rate=8000, window=64, hop=32, network=tiny)
    return Separator(model, device="cpu", window=0.5)


@pytest.fixture
def recording(tmp_path) -> Any:
    """A function that writes a stereo recording of 1.3 s and returns its path and samples, [n, 2]."""

    def write(peak: float = 0.5, name: str = "street.wav", **settings: Any) -> Any:
        samples = np.random.default_rng(0).standard_normal((round(1.3 * RATE), 2)).astype(np.float32)
        samples *= peak / np.abs(samples).max()
        soundfile.write(tmp_path / name, samples, RATE, **{"subtype": "FLOAT", **settings})
        return tmp_path / name, samples

    return write


def sources(folder) -> dict[str, np.ndarray]:
    manifest = json.loads((folder / MANIFEST).read_text())
    return {name: soundfile.read(folder / name, dtype="float32")[0] for name in manifest["sources"]}


def test_float_files_are_what_the_separator_gives_and_add_up_to_the_recording(separator, recording, tmp_path):
    path, samples = recording(peak=3.0)
    done = separate_file(separator, path, tmp_path / "out")
    assert [file.name for file in done.files] == ["horn.wav", "dog.wav", "residual.wav"] and done.scale == 1
    written = sources(tmp_path / "out")
    for name, expected in separator(samples.T.copy(), RATE).sources.items():
        np.testing.assert_allclose(written[f"{name}.wav"], expected.T.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(sum(written.values()), samples, rtol=0, atol=2e-6)
    assert all(soundfile.info(file).subtype == "FLOAT" for file in done.files)


@pytest.mark.parametrize(("source_format", "ending"), [("pcm24", ".wav"), ("flac", ".flac")])
@pytest.mark.parametrize("peak", [0.5, 4.0])
def test_24_bits_never_clip_and_what_is_made_softer_is_made_so_alike(
    separator, recording, tmp_path, source_format, ending, peak
):
    path, samples = recording(peak)
    separate_file(separator, path, tmp_path / "floats")
    done = separate_file(separator, path, tmp_path / "integers", source_format)
    expected, found = sources(tmp_path / "floats"), sources(done.folder)
    loudest = max(np.abs(source).max() for source in expected.values())
    assert done.scale == pytest.approx(1 / max(loudest, 1)) and (done.scale < 1) == (peak > 1)
    assert json.loads((done.folder / MANIFEST).read_text())["scale"] == done.scale
    for file, reference in zip(done.files, expected.values(), strict=True):
        assert (soundfile.info(file).subtype, file.suffix) == ("PCM_24", ending)
        np.testing.assert_allclose(found[file.name], reference * done.scale, rtol=0, atol=3e-7)
    np.testing.assert_allclose(sum(found.values()), samples * done.scale, rtol=0, atol=2e-6)
    assert {file.name for file in done.folder.iterdir()} == {MANIFEST, *found}


def test_nothing_is_replaced_unasked_and_nothing_but_what_was_separated_before(separator, recording, tmp_path):
    path, _ = recording()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="out: "):
            separate_file(separator, path, tmp_path / "out", overwrite=overwrite)
    done = separate_file(separator, path, tmp_path / "new")
    with pytest.raises(InputError, match="--overwrite"):
        separate_file(separator, path, tmp_path / "new")
    (done.folder / ".DS_Store").touch()
    assert separate_file(separator, path, tmp_path / "new", "flac", overwrite=True).files[0].suffix == ".flac"
    (done.folder / "horn, cleaned.wav").write_text("an hour's work")
    with pytest.raises(InputError, match=r"new/horn, cleaned\.wav: was not written by `separate`; move it"):
        separate_file(separator, path, tmp_path / "new", overwrite=True)
    assert (done.folder / "horn, cleaned.wav").exists() and (tmp_path / "out" / "precious.txt").exists()


def test_a_recording_inside_the_folder_of_its_sources_is_never_replaced(separator, recording, tmp_path):
    path, _ = recording()
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(InputError, match="where its sources would be"):
        separate_file(separator, path, tmp_path, overwrite=True)
    assert path.exists()


def test_what_breaks_off_or_does_not_fit_its_format_leaves_no_folder(separator, recording, tmp_path):
    path, _ = recording(name="a.flac", subtype="PCM_16")
    audio = scan_audio(path)
    path.write_bytes(path.read_bytes()[:-4000])  # after it was looked at
    with pytest.raises(InputError, match=r"a\.flac"):
        separate_file(separator, path, tmp_path / "out", audio=audio)
    soundfile.write(tmp_path / "many.wav", np.zeros((800, 9)), RATE)
    with pytest.raises(InputError, match=r"9 channels, FLAC holds 8; use --format float"):
        separate_file(separator, tmp_path / "many.wav", tmp_path / "out", "flac")
    assert not list(tmp_path.glob("*out*"))


def test_a_disk_without_room_is_told_before_the_work_begins(separator, recording, tmp_path, monkeypatch):
    path, samples = recording()
    # The recording and three sources in float; for 24 bits one of them twice.
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**6, 10**6, 4 * samples.nbytes))
    separate_file(separator, path, tmp_path / "floats")
    with pytest.raises(InputError, match=r"out: needs 1 MB, 0 MB are free; choose another --output$"):
        separate_file(separator, path, tmp_path / "out", "pcm24")
    assert not list(tmp_path.glob("*out*"))


def test_a_disk_that_fills_up_leaves_no_folder_and_the_older_one_as_it_was(separator, recording, tmp_path):
    path, samples = recording()
    done = separate_file(separator, path, tmp_path / "out")
    before = {file.name: file.read_bytes() for file in done.folder.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (samples.nbytes // 2, samples.nbytes + 40):  # neither the recording nor, with its header, a source fits
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
        try:
            with pytest.raises(InputError, match=r"out: cannot be written \([^\n]*\); choose another --output$"):
                separate_file(separator, path, tmp_path / "out", "flac", overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in done.folder.iterdir()} == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", path.name]


def test_a_name_that_is_no_text_is_kept_byte_for_byte(separator, recording, tmp_path):
    path, _ = recording()
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    os.rename(path, odd)
    done = separate_file(separator, os.fsdecode(odd), os.fsdecode(odd[:-4]), "flac")
    assert set(os.listdir(odd[:-4])) == {MANIFEST.encode(), *(os.fsencode(file.name) for file in done.files)}


def test_what_was_separated_before_is_known_by_its_content_not_by_its_name_or_time(
    separator, recording, tmp_path, monkeypatch
):
    path, _ = recording()
    model = tmp_path / "model.ckpt"
    model.write_bytes(b"weights")
    monkeypatch.setattr(separator, "checkpoints", [str(model)])
    done = separate_file(separator, path, tmp_path / "out")

    def known(recorded=path, select="file"):
        return is_separated(done.folder, str(recorded), [str(model)], select, "float")

    assert known() and not known(select="segment")
    os.utime(path, (2**31, 2**31))
    assert known() and known(path.rename(tmp_path / "moved.wav"))
    other, _ = recording(peak=0.4)  # of the same name and length
    os.utime(other, (0, 0))
    assert not known() and not known(tmp_path / "none.wav")
    os.rename(tmp_path / "moved.wav", path)
    model.write_bytes(b"others!")
    os.utime(model, (0, 0))
    assert not known()
    model.write_bytes(b"weights")
    assert known()
    done.files[0].unlink()
    assert not known()


@pytest.mark.parametrize("source_format", ["float", "pcm24", "flac"])
def test_the_same_input_gives_the_same_bytes_whenever_it_is_separated(separator, recording, tmp_path, source_format):
    path, _ = recording()
    first = separate_file(separator, path, tmp_path / "first", source_format)
    time.sleep(1.1)  # libsndfile's stamp counts seconds
    again = separate_file(separator, path, tmp_path / "again", source_format)
    for name in (MANIFEST, *(file.name for file in first.files)):
        assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()


@pytest.mark.parametrize(
    ("files", "such_as"),
    [([], "*.wav"), (["notes.txt", "a.FLAC"], "*.FLAC"), (["rain/1.mp3", "rain/cover.jpg"], "rain/*.mp3")],
)
def test_in_place_of_a_folder_the_recordings_that_are_in_it_are_suggested(files, such_as, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(InputError) as refusal:
        command(["separate", "--model", "any.ckpt", str(tmp_path), "--output", "separated"])
    assert str(refusal.value) == f"{tmp_path}: a folder; give the recordings in it, such as {tmp_path / such_as}"
