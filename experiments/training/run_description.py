"""What a run was made with, in its folder."""

import contextlib
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from experiments.command_line.text import counted
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.run_files import RunFiles

_PACKAGES = ["separatrix", "torch", "lightning", "torchaudio", "torchmetrics", "numpy", "pyloudnorm", "scikit-learn"]
_PACKAGES += ["scipy", "soundfile"]


def write_description(run: RunFiles, file: Path, configuration: str, precision: str, weights: str | None) -> None:
    """Write the resolved configuration of a command into its file, and versions, machine and revision.

    `environment.json` has these of the training or, where there is none, of the last command; `validated.json` and
    `tested.json` have them of an evaluation, with a digest of the weights, which tells whose the scores are.
    """
    write_text_atomically(file, configuration)
    described = {**environment(), "precision": precision}
    if file == run.configuration or not run.configuration.exists():
        write_text_atomically(run.environment, json.dumps(described, indent=2) + "\n")
    evaluated = {run.validation: run.validated, run.test: run.tested}.get(file)
    if evaluated is not None:
        write_text_atomically(evaluated, json.dumps({"weights": weights, **described}, indent=2) + "\n")


def environment() -> dict[str, Any]:
    """Versions, machine and git revision: with a plus sign where it has changes, None where there is no checkout."""
    cores, threads = counted(os.cpu_count() or 1, "core"), counted(torch.get_num_threads(), "thread")
    root, revision = Path(__file__).resolve().parents[2], None
    if (root / ".git").exists():  # else installed, perhaps inside somebody else's checkout
        words = ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            revision = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {cores}, {threads}",
        "devices": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "versions": {package: version(package) for package in _PACKAGES},
        "revision": revision,
    }
