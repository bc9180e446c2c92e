"""Building a sound bank, against a plain loop over the files."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from datamodules.corpora.audio_file import resample
from datamodules.sound_bank import build_sound_bank, integrated_loudness
from experiments.benchmarks.comparison import Comparison
from experiments.benchmarks.noise_corpus import NoiseFiles

RATE, FILE_RATE = 16000, 44100


def benchmark_bank(device: torch.device) -> Iterator[Comparison]:
    """Clips decoded, resampled, measured and written; both ways end with the same samples and loudness."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = NoiseFiles(folder / "files", FILE_RATE)
        clips = corpus.clips()
        number = itertools.count()

        def ours() -> Path:
            return build_sound_bank(corpus, clips, RATE, folder / f"bank-{next(number)}", progress=False).path

        def plain() -> tuple[list[np.ndarray], list[float]]:
            audio = [resample(*corpus.read(clip), RATE) for clip in clips]
            loudness = [integrated_loudness(samples, RATE) for samples in audio]
            np.save(folder / "plain.npy", np.concatenate(audio))
            return audio, loudness

        bank = build_sound_bank(corpus, clips, RATE, folder / "bank", progress=False)
        audio, loudness = plain()
        np.testing.assert_array_equal(bank.samples, np.concatenate(audio))
        np.testing.assert_array_equal(bank.loudness, loudness)
        yield Comparison(
            f"sound bank of 4-s clips, {FILE_RATE / 1000:g} to {RATE / 1000:g} kHz, with loudness; a thread a core",
            ours,
            plain,
            "a plain loop over the files (soundfile, torchaudio, pyloudnorm, numpy.save)",
            len(clips),
        )
