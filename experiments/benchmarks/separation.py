"""A long recording separated as `separatrix separate` does it: speed and memory beside a short one's."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from datamodules.urban_scenes import URBAN_CLASSES
from experiments.benchmarks.comparison import Comparison, Timed, clock
from experiments.benchmarks.training import checkpoint
from experiments.command_line.freed_memory import keep_freed_memory
from experiments.separation.separated_files import separate_file
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM
from lightning_modules.recordings.separator import Separator
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

LONG, SHORT = 600, 60  # seconds
RATE, CHANNELS = 44_100, 2
MODELS = ("speech", "music", "environmental")
# Of the small presets' sizes.
WEAK_LABELS: dict[str, Any] = {"network": partial(BLSTM, units=300, layers=1)}
CLUSTERING: dict[str, Any] = {}  # `network`, where it is not to be the published one


def benchmark_separate(device: torch.device) -> Iterator[Comparison]:
    """Untrained models on stereo noise; items are seconds of it, one of which is to cost at most 10 % more."""
    weak = WeakLabelSeparator("strong", classes=URBAN_CLASSES, input_normalisation="mixture", **WEAK_LABELS)
    with tempfile.TemporaryDirectory() as name:
        long, short = (_noise(f"{name}/{seconds}.wav", seconds) for seconds in (LONG, SHORT))
        separators: dict[str, list[Any]] = {
            "a weak-label separator": [weak],
            f"the most confident of {len(MODELS)} deep clustering models": [
                DeepClustering(domain, **CLUSTERING) for domain in MODELS
            ],
        }
        for by, modules in separators.items():
            models = [checkpoint(module, f"{name}/{number}.ckpt") for number, module in enumerate(modules)]
            work = f"separating a second of {LONG / 60:g} minutes, {RATE} Hz stereo, by {by}"
            ours, other = (partial(_in_its_own_process, models, each, device) for each in (long, short))
            short_name = f"a second of {SHORT / 60:g} minutes"
            yield Comparison(work, ours, other, short_name, LONG, SHORT, wanted=0.9, runs=1)


def _noise(path: str, seconds: int) -> str:
    with soundfile.SoundFile(path, "w", RATE, CHANNELS, "PCM_16") as file:
        for second in range(seconds):
            noise = np.random.default_rng(second).standard_normal((RATE, CHANNELS))
            file.write(0.05 * noise * (1 + np.sin(second)))
    return path


def _in_its_own_process(models: list[str], recording: str, device: torch.device) -> Timed:
    """Memory is a process's: one that has done nothing else."""
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload([__name__])
    with fresh.Pool(1) as pool:
        return pool.apply(_separate, (models, recording, device, torch.get_num_threads()))


def _separate(models: list[str], recording: str, device: torch.device, threads: int) -> Timed:
    torch.set_num_threads(threads)
    keep_freed_memory()
    separator = Separator.from_checkpoints(models, device=device.type)
    begun = clock(device)
    separate_file(separator, recording, f"{recording}.separated", overwrite=True)
    seconds = clock(device) - begun
    # The high-water mark: getrusage would count what went on before in the process's maker.
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    return Timed(seconds, 1024 * int(peak))
