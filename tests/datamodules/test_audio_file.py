import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from datamodules.corpora import audio_file
from datamodules.corpora.audio_file import audio_blocks, audio_length, read_audio, resample, scan_audio
from lightning_modules.errors import InputError

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000)
TAG = b"ID3\4\0\0\0\0\1\0" + bytes(128)
TONE = 0.5 * np.sin(np.arange(20_000) / 10)


def wav_with_data_size(path: Path, size: int, form: bytes = b"RIFF", before: bytes = b"") -> Path:
    """A mono 16-bit WAV of 1000 samples whose data chunk claims `size` bytes."""
    body = b"WAVE" + before + b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    body += b"data" + struct.pack("<I", size) + np.arange(1000, dtype="<i2").tobytes()
    path.write_bytes(form + struct.pack("<I", 0xFFFFFFFF if form == b"RF64" else len(body)) + body)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_audio(path, "fold1/clip", "fetch it again")
    message = str(caught.value)
    assert message.startswith("fold1/clip: ") and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        *(("wav", "PCM_U8", 2**-7), ("wav", "PCM_24", 2**-23), ("wav", "FLOAT", 2**-24), ("wav", "IMA_ADPCM", 0.03)),
        *(("wav", "GSM610", 0.15), ("w64", "GSM610", 0.15), ("caf", "ALAC_16", 2**-15)),
        *(("flac", "PCM_16", 2**-15), ("flac", "PCM_24", 2**-23)),
    ],
)
def test_every_sample_format_gives_the_samples_written(tmp_path, suffix, subtype, tolerance):
    soundfile.write(tmp_path / f"a.{suffix}", TONE, 44_100, subtype=subtype)
    samples, rate = read_audio(tmp_path / f"a.{suffix}")
    assert rate == 44_100 and samples.dtype == np.float32 and samples.ndim == 1
    # ADPCM and GSM fill their last block with zeros.
    assert len(samples) == len(TONE) if subtype not in ("IMA_ADPCM", "GSM610") else len(samples) >= len(TONE)
    assert np.abs(samples[: len(TONE)] - TONE)[1000:].max() <= tolerance


def test_rates_from_8_to_192_khz_are_kept_and_others_an_error(tmp_path):
    for rate in (8_000, 11_024, 192_000):
        soundfile.write(tmp_path / "a.wav", NOISE, rate)
        assert read_audio(tmp_path / "a.wav")[1] == rate
    for rate in (7_999, 192_001):
        soundfile.write(tmp_path / "a.wav", NOISE, rate)
        assert f"{rate} Hz, expected 8000 to 192000 Hz" in error_of(tmp_path / "a.wav")


def test_stereo_is_averaged_across_block_borders(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_file, "_BLOCK_VALUES", 64)
    stereo = NOISE.reshape(-1, 2)
    soundfile.write(tmp_path / "a.wav", stereo, 48_000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav")[0], stereo.mean(1), atol=1e-7)


def test_missing_empty_and_other_files_are_told_apart(tmp_path):
    with pytest.raises(InputError, match=r"^fold1/a\\x00\.wav: no file can have such a name; "):
        read_audio(tmp_path / "a\0.wav", "fold1/a\0.wav")
    assert "no such file; fetch it again" in error_of(tmp_path / "a.wav")
    (tmp_path / "b.wav").touch()
    assert "empty file" in error_of(tmp_path / "b.wav")
    (tmp_path / "c.wav").write_text("404: Not Found")
    assert "not readable as audio" in error_of(tmp_path / "c.wav")
    (tmp_path / "d.raw").write_bytes(bytes(100))
    assert "not readable as audio" in error_of(tmp_path / "d.raw")
    (tmp_path / "e.wav").mkdir()
    assert "Is a directory" in error_of(tmp_path / "e.wav")
    soundfile.write(tmp_path / "f.wav", np.zeros(0), 16_000)
    assert "0 samples" in error_of(tmp_path / "f.wav")
    soundfile.write(tmp_path / "f.wav", np.zeros(100), 8_000)  # silence is no error
    assert not read_audio(tmp_path / "f.wav")[0].any()


@pytest.mark.parametrize("claimed", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFD8, 0xFFFFFFFF])
def test_a_wav_whose_header_does_not_say_how_long_it_is_is_read_to_its_end(tmp_path, claimed):
    path = wav_with_data_size(tmp_path / "a.wav", claimed)
    read = read_audio(path)[0]
    np.testing.assert_array_equal(read, np.arange(1000) / np.float32(2**15))
    assert scan_audio(path).samples == audio_length(path)[0] == len(read) == 1000
    assert len(np.concatenate(list(audio_blocks(path)))) == 1000
    np.testing.assert_array_equal(read_audio(path, start=10, stop=20)[0], read[10:20])


def test_a_wav_that_says_it_is_empty_is_however_many_chunks_follow_its_samples(tmp_path):
    path = wav_with_data_size(tmp_path / "a.wav", 0)
    header = path.read_bytes()[:44]
    path.write_bytes(b"RIFF" + struct.pack("<I", 36 + 20) + header[8:] + b"LIST" + struct.pack("<I", 12) + bytes(12))
    assert "0 samples" in error_of(path)


def test_an_mp3_of_changing_bit_rate_that_does_not_count_its_frames_is_no_shorter_file(tmp_path):
    loud_at_times = np.concatenate(
        [level * np.random.default_rng(0).standard_normal(44_100) for level in (1e-4, 0.3, 0.3)]
    )
    soundfile.write(tmp_path / "a.mp3", loud_at_times[::-1], 44_100)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content + b"TAG" + bytes(125))
    assert len(read_audio(tmp_path / "a.mp3")[0]) == len(loud_at_times)
    counted = content.index(b"\xff\xfb", 10)  # the first frame holds the count
    (tmp_path / "a.mp3").write_bytes(content[counted:])
    assert "its header does not say how long it is; encode it again" in error_of(tmp_path / "a.mp3")


@pytest.mark.parametrize("after", [False, True])
def test_a_wav_of_millions_of_chunks_is_refused_in_one_line(tmp_path, after):
    chunks = (b"junk" + bytes(4)) * 2_000_000
    path = wav_with_data_size(tmp_path / "a.wav", 2000, before=b"" if after else chunks)
    if after:
        path.write_bytes(path.read_bytes() + chunks)
    assert "more than 1000 chunks; encode it again" in error_of(path)


@pytest.mark.parametrize("claimed", [2002, 0xEFFFFFFF])
def test_a_wav_that_claims_more_than_it_holds_is_truncated(tmp_path, claimed):
    path = wav_with_data_size(tmp_path / "a.wav", claimed)
    assert f"truncated, {claimed - 2000} bytes of audio fewer" in error_of(path)


@pytest.mark.parametrize(("data_bytes", "whole"), [(2000, True), (2001, False), (2**40, False)])
def test_rf64_is_measured_by_its_64_bit_size(tmp_path, data_bytes, whole):
    sizes = b"ds64" + struct.pack("<IQQQI", 28, data_bytes + 72, data_bytes, data_bytes // 2, 0)
    path = wav_with_data_size(tmp_path / "a.wav", 0xFFFFFFFF, b"RF64", sizes)
    if whole:
        assert len(read_audio(path)[0]) == 1000
    else:
        assert f"truncated, {data_bytes - 2000} bytes" in error_of(path)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_that_stops_early_is_an_error_wherever_it_stops(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, NOISE, 16_000)
    content = path.read_bytes()
    for size in (1, 11, 12, 20, 36, 43, len(content) // 2, len(content) * 99 // 100):
        path.write_bytes(content[:size])
        error_of(path)


def test_samples_that_are_not_finite_or_of_which_nothing_computed_stays_finite_are_an_error(tmp_path):
    for value in (np.nan, -np.inf):
        soundfile.write(tmp_path / "a.wav", np.where(np.arange(20_000) == 12_345, value, NOISE), 16_000, "FLOAT")
        assert "NaN or infinite" in error_of(tmp_path / "a.wav")
    # Each is finite, the sum of both channels is not.
    soundfile.write(tmp_path / "a.wav", np.full((9, 2), 3e38, np.float32), 16_000, subtype="FLOAT")
    assert "holds samples of 3e+38, full scale is 1" in error_of(tmp_path / "a.wav")
    soundfile.write(tmp_path / "a.wav", 30_000 * TONE, 16_000, subtype="FLOAT")  # integers kept as floats
    assert read_audio(tmp_path / "a.wav")[0].max() > 10_000


@pytest.mark.parametrize("tag", [b"", TAG])
@pytest.mark.parametrize("kind", ["NIST", "SDS", "SVX", "PVF"])
def test_only_the_formats_of_recordings_are_opened_whatever_a_file_is_called(tmp_path, kind, tag):
    soundfile.write(tmp_path / "a", NOISE, 16_000, format=kind)
    for name in ("a.wav", "a.gsm"):
        (tmp_path / name).write_bytes(tag + (tmp_path / "a").read_bytes())
        assert "not readable as audio (no WAV, FLAC, MP3, Ogg, AIFF, AU or CAF file); ffmpeg" in error_of(
            tmp_path / name
        )


KINDS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "AIFF", "MP3", "AU", "CAF")


@pytest.mark.parametrize(("kind", "tag"), [*((kind, b"") for kind in KINDS), ("FLAC", TAG), ("MP3", TAG)])
def test_formats_are_told_by_their_contents_behind_a_tag_too(tmp_path, kind, tag):
    soundfile.write(tmp_path / "a", TONE, 16_000, format=kind)
    (tmp_path / "a.raw").write_bytes(tag + (tmp_path / "a").read_bytes())
    samples, rate = read_audio(tmp_path / "a.raw")
    assert rate == 16_000 and np.abs(samples[: len(TONE)] - TONE)[1000:-1000].max() < 0.05
    assert scan_audio(tmp_path / "a.raw").samples == len(samples)


def test_a_named_pipe_is_an_error_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    assert "a pipe or a device" in error_of(tmp_path / "a.wav")


def test_a_file_beyond_the_longest_duration_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_file, "LONGEST_SECONDS", 1)
    soundfile.write(tmp_path / "a.wav", NOISE[:16_000], 16_000)
    assert len(read_audio(tmp_path / "a.wav")[0]) == 16_000
    soundfile.write(tmp_path / "a.wav", NOISE[:16_001], 16_000)
    assert "longer than" in error_of(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [8_000, 44_099, 192_000])
def test_resampling_keeps_a_tone_and_its_time(rate):
    time, new_time = np.arange(rate) / rate, np.arange(16_000) / 16_000
    resampled = resample(np.sin(2 * np.pi * 440 * time).astype(np.float32), rate, 16_000)
    assert len(resampled) == 16_000 and resampled.dtype == np.float32
    np.testing.assert_allclose(resampled[500:-500], np.sin(2 * np.pi * 440 * new_time)[500:-500], atol=5e-3)


def test_resampling_removes_what_would_alias():
    tone = np.sin(2 * np.pi * 10_000 * np.arange(44_100) / 44_100).astype(np.float32)
    assert np.abs(resample(tone, 44_100, 16_000)[500:-500]).max() < 0.01


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "IMA_ADPCM"), ("a.flac", "PCM_24"), ("a.ogg", "VORBIS")]
)
def test_blocks_of_any_format_are_the_whole_file_with_its_channels(tmp_path, name, subtype, monkeypatch):
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (5000, 1 if subtype == "IMA_ADPCM" else 2))
    soundfile.write(tmp_path / name, samples, 16_000, subtype=subtype)
    monkeypatch.setattr("datamodules.corpora.audio_file._BLOCK_VALUES", 700)
    whole, _ = soundfile.read(tmp_path / name, dtype="float32", always_2d=True)
    blocks = list(audio_blocks(tmp_path / name))
    assert len(blocks) > 5
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert scan_audio(tmp_path / name) == (16_000, whole.shape[1], len(whole), 0)


def test_clipping_is_what_stays_at_full_scale_from_one_sample_to_the_next(tmp_path):
    time = np.arange(8000) / 8000
    for gain, clipped in ((1.0, False), (1.5, True)):
        tone = np.clip(gain * np.sin(2 * np.pi * 100.3 * time), -1, 1)
        for subtype in ("PCM_16", "FLOAT"):
            soundfile.write(tmp_path / "a.wav", tone, 8000, subtype=subtype)
            assert (scan_audio(tmp_path / "a.wav").clipped > 500) == clipped
    soundfile.write(tmp_path / "a.wav", [0.0, 1.0, 0.3, -1.0, 0.0], 8000)  # touching it is no clipping
    assert scan_audio(tmp_path / "a.wav").clipped == 0


@pytest.mark.parametrize("read", [scan_audio, lambda path: list(audio_blocks(path))])
def test_a_recording_of_more_than_half_an_hour_is_read_block_by_block(tmp_path, read):
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 8000, 1, "PCM_16") as file:
        for _ in range(31):
            file.write(np.zeros(60 * 8000, np.int16))
    with pytest.raises(InputError, match="30 minutes"):
        read_audio(tmp_path / "long.flac")
    found = read(tmp_path / "long.flac")
    assert (found.samples if isinstance(found, tuple) else sum(map(len, found))) == 31 * 60 * 8000
