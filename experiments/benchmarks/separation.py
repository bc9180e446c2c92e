"""A long recording separated as `separatrix separate` does it: speed in times real time, and memory, beside a short."""

import multiprocessing
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from experiments.benchmarks.comparison import Comparison, Timed
from experiments.benchmarks.trainer import quiet_trainer
from experiments.command_line.freed_memory import keep_freed_memory
from experiments.separated_files import separate_file
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM
from lightning_modules.recordings.separator import Separator
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

# Seconds of a recording; the cost of one and the memory are to stay within 10 %.
LONG, SHORT = 600, 60
WITHIN = 0.9
RATE, CHANNELS = 44_100, 2
RUNS = 1
MODELS = ("speech", "music", "environmental")
# The small presets'.
CLASSES = ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren")
WEAK_LABELS: dict[str, Any] = {"network": partial(BLSTM, units=300, layers=1)}
CLUSTERING: dict[str, Any] = {}  # `network`, where it is not to be the published one


def benchmark_separation(device: torch.device) -> Iterator[Comparison]:
    """Untrained models of the small presets' sizes on stereo noise; items are seconds of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seconds in (LONG, SHORT):
            _write_noise(folder / f"{seconds}.wav", seconds)
        weak = WeakLabelSeparator("strong", classes=CLASSES, input_normalisation="mixture", **WEAK_LABELS)
        yield _comparison("a weak-label separator", [weak], folder, device)
        models = [DeepClustering(domain, **CLUSTERING) for domain in MODELS]
        yield _comparison(f"the most confident of {len(models)} deep clustering models", models, folder, device)


def _comparison(by: str, models: Sequence[SeparatrixModule], folder: Path, device: torch.device) -> Comparison:
    paths = []
    for number, model in enumerate(models):
        trainer = quiet_trainer(device)
        trainer.strategy.connect(model)
        paths.append(str(folder / f"{type(model).__name__}-{number}.ckpt"))
        trainer.save_checkpoint(paths[-1])
    ours, other = (
        partial(_in_its_own_process, paths, str(folder / f"{seconds}.wav"), device.type) for seconds in (LONG, SHORT)
    )
    return Comparison(
        f"separating a second of {LONG / 60:g} minutes, {RATE} Hz stereo, by {by}",
        ours,
        other,
        f"a second of {SHORT / 60:g} minutes",
        LONG,
        SHORT,
        WITHIN,
        RUNS,
        both_ours=True,
    )


def _write_noise(path: Path, seconds: int) -> None:
    with soundfile.SoundFile(path, "w", RATE, CHANNELS, "PCM_16") as file:
        for second in range(seconds):
            noise = np.random.default_rng(second).standard_normal((RATE, CHANNELS))
            file.write(0.05 * noise * (1 + np.sin(second)))


def _in_its_own_process(models: list[str], recording: str, device: str) -> Timed:
    """Memory is a process's: one that has done nothing else."""
    fresh = multiprocessing.get_context("forkserver")
    fresh.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, fresh) as pool:
        return pool.submit(_separate, models, recording, device, torch.get_num_threads()).result()


def _separate(models: list[str], recording: str, device: str, threads: int) -> Timed:
    torch.set_num_threads(threads)
    keep_freed_memory()
    separator = Separator.from_checkpoints(models, device=device)
    begun = time.perf_counter()
    separate_file(separator, recording, f"{recording}.separated", overwrite=True)
    return Timed(time.perf_counter() - begun, _peak_bytes())


def _peak_bytes() -> int:
    """The most memory that this process has held; getrusage would count what went on before in its maker."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])
