"""A child process that reads damaged files: `python read_damaged.py SUBJECT BEGIN END FOLDER`.

Each file is read twice. It is read right, or refused in one printable line that names it, both times alike; otherwise a
line says what happened. The number under way is in FOLDER/now: a crash, a hang or a shortage of memory, which end the
process, are of that file.
"""

import collections
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from mutation import mutate

from datamodules.corpora.audio_file import LONGEST_SECONDS, audio_length, read_audio
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.inspection import inspect_table
from experiments.command_line.configurations import CONFIGS, read_configuration
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.checkpoint_io import AtomicCheckpointIO
from lightning_modules.errors import InputError
from lightning_modules.spectrogram import HIGHEST_RATE, LOWEST_RATE
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier

SECONDS, BYTES = 20, 2**30


class Subject(NamedTuple):
    """What is damaged: whole files, where they lie, and a reader that gives a digest of what it read."""

    whole: list[bytes]
    path: Path
    read: Callable[[], Any]


def audio(folder: Path) -> Subject:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1500, 2))
    whole = []
    for form, subtype, channels in (
        *(("WAV", subtype, 1) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "IMA_ADPCM")),
        *(("WAV", subtype, 2) for subtype in ("PCM_16", "FLOAT", "MS_ADPCM", "GSM610", "ULAW", "NMS_ADPCM_16")),
        *(("WAVEX", "PCM_16", 2), ("RF64", "PCM_16", 1), ("FLAC", "PCM_16", 1), ("FLAC", "PCM_24", 2)),
        *(("OGG", "VORBIS", 1), ("OGG", "OPUS", 2), ("AIFF", "PCM_16", 1), ("AIFF", "FLOAT", 2)),
        *(("AIFF", "IMA_ADPCM", 1), ("AIFF", "DWVW_16", 1), ("MP3", "MPEG_LAYER_III", 2), ("AU", "PCM_16", 2)),
        *(
            ("AU", "G721_32", 1),
            ("CAF", "PCM_24", 2),
            ("CAF", "ALAC_16", 1),
            ("W64", "PCM_16", 2),
            ("AIFF", "GSM610", 1),
        ),
    ):
        file = io.BytesIO()
        channels = 1 if subtype in ("GSM610", "NMS_ADPCM_16") else channels
        soundfile.write(file, noise[:, :channels], 48_000 if subtype == "OPUS" else 16_000, subtype, format=form)
        whole.append(file.getvalue())

    def read() -> Any:
        samples, rate = read_audio(path)
        assert samples.dtype == np.float32 and samples.ndim == 1 and np.isfinite(samples).all()
        assert 0 < len(samples) <= LONGEST_SECONDS * rate and LOWEST_RATE <= rate <= HIGHEST_RATE
        try:
            length, _ = audio_length(path)
        except InputError:
            length = len(samples)
        assert length == len(samples), (length, len(samples))
        return samples.tobytes(), rate

    path = folder / "clip.wav"
    return Subject(whole, path, read)


def table(folder: Path) -> Subject:
    names = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    rows = [(f"{n}-1-0-{n}.wav", n // 2, 0.5 * n, 0.5 * n + 2, 1 + n % 2, 1 + n, 1, "car_horn") for n in range(8)]
    text = "\n".join(",".join(map(str, row)) for row in (names, *rows)) + "\n"
    quoted = "\r\n".join(",".join(f'"{value}"' for value in row) for row in (names, *rows))
    root = folder / "UrbanSound8K"
    (root / "audio").mkdir(parents=True, exist_ok=True)
    (root / "metadata").mkdir(exist_ok=True)
    path = root / "metadata" / "UrbanSound8K.csv"

    def read() -> Any:
        clips = UrbanSound8K(root).clips()
        for clip in clips:
            assert os.path.normpath(clip.name) == clip.name and clip.name.startswith("audio/fold"), clip
            assert all(text.isprintable() and text for text in (clip.name, clip.label, clip.recording)), clip
        lengths = [found.length for found in inspect_table(path, 8000)]
        assert all(0 < length <= LONGEST_SECONDS * 8000 for length in lengths)
        return clips, lengths

    return Subject([text.encode(), quoted.encode(), f"\ufeff{text}".encode()], path, read)


def checkpoint(folder: Path) -> Subject:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"supervision": "frame", "classes": ["horn", "dog"], "sample_rate": 8000}
    settings |= {"window": 32, "hop": 16, "gain": 2.0}
    settings["network"] = {"class_path": "lightning_modules.networks.BLSTM", "init_args": {"units": 3, "layers": 1}}
    module = EventClassifier(**settings)
    contents = {"state_dict": module.state_dict(), "hyper_parameters": settings, "module": "EventClassifier"}
    path = folder / "classifier.ckpt"
    AtomicCheckpointIO().save_checkpoint(contents, path)

    def read() -> Any:
        read_checkpoint(path)
        weights = load_module(path, EventClassifier).state_dict().values()
        assert all(weight.isfinite().all() for weight in weights)
        return [weight.tolist() for weight in weights]

    return Subject([path.read_bytes()], path, read)


def configuration(folder: Path) -> Subject:
    path = folder / "mine.yaml"
    return Subject(
        [p.read_bytes() for p in sorted(CONFIGS.rglob("*.yaml"))], path, lambda: repr(read_configuration(str(path)))
    )


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    function.__name__: function for function in (audio, table, checkpoint, configuration)
}


def outcome(subject: Subject, name: str) -> tuple[str, Any]:
    """`read` and what, `refused` and why, or `wrong` and how."""
    try:
        return "read", subject.read()
    except InputError as error:
        message = str(error)
        told = message.isprintable() and len(message) < 10_000 and name in message
        return ("refused", message) if told else ("wrong", f"message {message[:300]!r}")
    except BaseException as error:
        return "wrong", f"{type(error).__name__}: {str(error)[:300]}"


def main(name: str, begin: int, end: int, folder: Path) -> None:
    subject = SUBJECTS[name](folder)
    shown = subject.path.name
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    counts: collections.Counter[str] = collections.Counter()
    now = os.open(folder / "now", os.O_CREAT | os.O_WRONLY)
    for number in range(begin, end):
        os.pwrite(now, f"{number:12}".encode(), 0)
        subject.path.write_bytes(mutate(subject.whole[number % len(subject.whole)], subject.whole, number))
        signal.alarm(SECONDS)  # its default action ends the process, whatever library it hangs in
        first, second = outcome(subject, shown), outcome(subject, shown)
        signal.alarm(0)
        if first != second:
            first = ("wrong", f"read twice: {str(first)[:200]}, then {str(second)[:200]}")
        counts[first[0]] += 1
        if first[0] == "wrong":
            print(json.dumps({"number": number, "problem": first[1]}), flush=True)
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
