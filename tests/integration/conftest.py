"""The real command line at a tiny size: sounds at 8 kHz, mixtures of half a second, networks of a few units.

What several tests start from is made once, for all of pytest's workers: trained systems, both reproductions, and what
each command leaves when nothing interrupts it. No test writes there.
"""

import contextlib
import csv
import fcntl
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch
import yaml
from kill_points import Processes
from stages import Stage, commands

from experiments.cli import main
from experiments.command_line.configurations import CONFIGS

ROOT = Path(__file__).parents[2]
URBAN_CLASSES = ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren")
SIZES = {"data.train_mixtures": "20", "data.epoch_mixtures": "8", "data.batch_size": "4"}
SIZES |= {"data.evaluation_batch_size": "2"}
FOLDS = {"data.train_folds": "[1]", "data.validation_folds": "[2]", "data.test_folds": "[3]"}
SCENES = {**SIZES, **FOLDS, "data.duration": "0.5", "data.latest_onset": "0.3"}
SCENES |= {"data.validation_mixtures": "5", "data.test_mixtures": "7"}
PROCEDURAL = {"data.corpus.clips_per_class": "8", "data.corpus.folds": "3"}
PAIRS = {**SIZES, "data.duration": "0.6", "data.validation_mixtures": "4", "data.test_mixtures": "5"}
TRAINER = {"trainer.max_epochs": "1", "trainer.accelerator": "cpu"}
# Networks as small as they get, by the class of the model.
NETWORKS = {
    "EventClassifier": {"model.network": "BLSTM", "model.network.units": "5", "model.network.layers": "1"},
    "WeakLabelSeparator": {"model.network.units": "6", "model.network.layers": "1"},
    "ReferenceSeparator": {},
}


class Reproduced(NamedTuple):
    """A reproduction that ran through: the command without its folder, the folder, how many seconds it took."""

    command: list[str]
    output: Path
    seconds: float


class Outcome(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


class CommandLine:
    """Runs `separatrix` commands; holds the settings of a tiny experiment and systems trained with them."""

    scenes, procedural, trainer, networks, pairs = SCENES, PROCEDURAL, TRAINER, NETWORKS, PAIRS

    def __init__(self, folder: Path) -> None:
        self.systems = folder / "systems"
        self.banks = folder / "banks"

    @staticmethod
    def as_options(settings: dict[str, Any]) -> list[str]:
        """Settings as words of the command line."""
        return [word for name, value in settings.items() for word in (f"--{name}", str(value))]

    def data(self, **settings: Any) -> dict[str, Any]:
        """Settings of the tiny scenes; more of them by name."""
        named = {f"data.{name}": value for name, value in settings.items()}
        return {**self.scenes, **self.procedural, "data.bank_folder": self.banks, **named}

    def scene_words(self, **settings: Any) -> list[str]:
        """Words that choose the tiny scenes, of commands that take no model."""
        configs = ("--config", "weak_labels/base", "--config", "weak_labels/demo/data")
        return [*configs, *self.as_options(self.data(**settings))]

    def arguments(self, row: str, settings: dict[str, Any] | None = None, **data: Any) -> list[str]:
        """Words of a training or test of one row of the table: a configuration's name below weak_labels."""
        configs = ("weak_labels/base", "weak_labels/demo/data", f"weak_labels/{row}")
        model = yaml.safe_load((CONFIGS / "weak_labels" / f"{row}.yaml").read_text()).get("model")
        network = self.networks[model["class_path"].split(".")[-1]] if model else {}
        settings = {**self.data(**data), **self.trainer, **network, **(settings or {})}
        return [*(word for name in configs for word in ("--config", name)), *self.as_options(settings)]

    def selection(self, domain: str, settings: dict[str, Any] | None = None) -> list[str]:
        """Words of a selection on one domain's mixtures."""
        configs = ("selection", "base", domain, "demo/data", f"demo/{domain}")
        named = [word for name in configs for word in ("--config", f"deep_clustering/{name}")]
        tiny = {**self.pairs, **self.trainer, "data.bank_folder": self.banks}
        return [*named, *self.as_options({**tiny, **(settings or {})})]

    def best(self, row: str) -> Path:
        """Checkpoint of a trained system."""
        return self.systems / row / "checkpoints" / "best.ckpt"

    def run(self, *arguments: Any) -> Outcome:
        """Run a command in this process."""
        threads = torch.get_num_threads()
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
            pytest.MonkeyPatch.context() as environment,
        ):
            environment.setenv("PL_GLOBAL_SEED", "")  # Lightning leaves its seed there, for processes of the same run
            status = main([str(argument) for argument in arguments])
        torch.set_num_threads(threads)
        return Outcome(status, out.getvalue(), err.getvalue())

    def succeed(self, *arguments: Any) -> Outcome:
        """Run a command in this process that must end well."""
        outcome = self.run(*arguments)
        assert outcome.status == 0, outcome.err
        return outcome

    def run_process(self, *arguments: Any, program: list[Any] | None = None, **environment: str) -> Outcome:
        """Run a command in a process of its own, to its end; `program` takes the place of `separatrix`."""
        ended = subprocess.run(
            [str(word) for word in (*(program or (sys.executable, "-m", "experiments.cli")), *arguments)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Outcome(ended.returncode, ended.stdout, ended.stderr)

    @staticmethod
    def weights(path: Path) -> dict[str, torch.Tensor]:
        return torch.load(path, weights_only=True)["state_dict"]

    def same_weights(self, one: Path, other: Path) -> bool:
        """Whether two checkpoints hold the same weights, bit for bit."""
        left, right = self.weights(one), self.weights(other)
        return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)

    @staticmethod
    def rows(path: Path) -> list[dict[str, str]]:
        """Lines of a CSV file by column."""
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    @staticmethod
    def listing(folder: Path) -> dict[str, tuple[int, int] | None]:
        """Everything below a folder; files with their size and time of modification."""
        return {
            str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else None
            for path in sorted(folder.rglob("*"))
        }


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], Any]], tuple[Path, float]]:
    """A function that has a folder made by the first worker that asks for it; gives it and how long that took."""
    common = tmp_path_factory.getbasetemp()
    common = common.parent if "PYTEST_XDIST_WORKER" in os.environ else common

    def of(name: str, make: Callable[[Path], Any]) -> tuple[Path, float]:
        folder = common / "shared" / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.seconds").open("a+") as record:
            fcntl.flock(record, fcntl.LOCK_EX)
            record.seek(0)
            if not (taken := record.read()):
                begun = time.monotonic()
                make(folder)
                taken = str(time.monotonic() - begun)
                record.write(taken)
        return folder, float(taken)

    return of


@pytest.fixture(scope="session")
def recordings(urbansound_factory: Callable[..., Path]) -> Path:
    """A folder with a tiny UrbanSound8K, LibriSpeech and MUSDB18, each in its own layout, of noise and tones."""
    folder = urbansound_factory(classes=URBAN_CLASSES, folds=(1, 2, 3, 9, 10)).parent
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (60, 12_000))
    names = [f"train-clean-100/{speaker}/1" for speaker in range(48)] + [f"test-other/{n}/1" for n in (90, 91)]
    for name, samples in zip(names, noise[:50], strict=True):
        (folder / "LibriSpeech" / name).mkdir(parents=True)
        soundfile.write(folder / "LibriSpeech" / name / f"{name.split('/')[1]}-1-0000.flac", samples, 16_000)
    for track in ("train/One", "train/Two", "train/Leaf - Summerghost", "test/Three"):
        (folder / "musdb18" / track).mkdir(parents=True)
        for number, stem in enumerate(("drums", "bass", "other", "vocals")):
            soundfile.write(folder / "musdb18" / track / f"{stem}.wav", noise[50 + number], 16_000)
    return folder


@pytest.fixture(scope="session")
def separatrix(made_once: Any) -> CommandLine:
    """The command line, with a classifier of each kind and a strong separator, trained for one epoch each."""

    def train(folder: Path) -> None:
        made = CommandLine(folder)
        for row in ("classifier_frame", "classifier_clip", "strong"):
            made.succeed("fit", *made.arguments(row), "--run", made.systems / row)

    return CommandLine(made_once("separatrix", train)[0])


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Processes:
    return Processes(tmp_path_factory.mktemp("logs"))


def _reproduced(separatrix: CommandLine, made_once: Any, system: str, settings: dict[str, Any]) -> Reproduced:
    command = ["reproduce", system, "--preset", "demo", *separatrix.as_options({**settings, **separatrix.trainer})]
    return Reproduced(
        command, *made_once(system, lambda output: separatrix.succeed(*command, "--jobs", "1", "--output", output))
    )


@pytest.fixture(scope="session")
def weak_labels(separatrix: CommandLine, made_once: Any) -> Reproduced:
    """The weak-label table."""
    return _reproduced(separatrix, made_once, "weak-labels", separatrix.data())


@pytest.fixture(scope="session")
def model_selection(separatrix: CommandLine, made_once: Any) -> Reproduced:
    """The tables of the model selection."""
    settings = {**separatrix.pairs, "data.bank_folder": separatrix.banks}
    return _reproduced(separatrix, made_once, "model-selection", settings)


@pytest.fixture(scope="session")
def report_pages(separatrix: CommandLine, made_once: Any, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """A function that gives the page of a reproduction, with a mixture of each class or domain to listen to."""

    def of(system: str) -> Path:
        output = request.getfixturevalue(system.replace("-", "_")).output

        def make(page: Path) -> None:
            assert "missing:" not in separatrix.succeed("report", output, "--examples", "1", "--output", page).out

        return made_once(f"{system}.html", make)[0]

    return of


@pytest.fixture(scope="session")
def stages(
    separatrix: CommandLine, processes: Processes, made_once: Any, request: pytest.FixtureRequest
) -> Callable[[str], Stage]:
    """A function that gives a command that tests interrupt, by its name, with what an uninterrupted start leaves."""

    def of(name: str) -> Stage:
        if name.startswith("reproduce"):
            command, output, seconds = request.getfixturevalue(name.split()[1].strip(",").replace("-", "_"))
            return Stage(name, [*command, "--jobs", name.split()[-1]], "--output", output, seconds)
        checkpoints = {
            "{strong}": lambda: of("fit weak-labels").whole / "checkpoints",
            "{speech}": lambda: of("fit model-selection").whole / "checkpoints",
        }
        command, option = commands(separatrix)[name]
        for mark, folder in checkpoints.items():
            if any(mark in word for word in command):
                command = [word.replace(mark, str(folder())) for word in command]
        # In a folder of its own, in which nothing else may be left.
        place = f"{name.replace(' ', '-')}/folder"
        whole, seconds = made_once(place, lambda made: processes.succeed(*command, option, made))
        return Stage(name, command, option, whole, seconds)

    return of
