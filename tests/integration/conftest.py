"""The real command line at a tiny size: sounds at 8 kHz, mixtures of half a second, networks of a few units."""

import contextlib
import csv
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch
import yaml
from command_server import CommandServer
from interruptible import Stage, Stages, commands

from experiments.cli import main
from experiments.command_line.configurations import CONFIGS

URBAN_CLASSES = ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren")
SCENES = {
    "data.train_folds": "[1]",
    "data.validation_folds": "[2]",
    "data.test_folds": "[3]",
    "data.duration": "0.5",
    "data.latest_onset": "0.3",
    "data.train_mixtures": "20",
    "data.epoch_mixtures": "8",
    "data.validation_mixtures": "5",
    "data.test_mixtures": "7",
    "data.batch_size": "4",
    "data.evaluation_batch_size": "2",
}
PROCEDURAL = {"data.corpus.clips_per_class": "8", "data.corpus.folds": "3"}
# Pairs of sources, with and without recordings in their corpora's own layouts.
PAIRS = {
    "data.duration": "0.6",
    "data.train_mixtures": "20",
    "data.epoch_mixtures": "8",
    "data.validation_mixtures": "4",
    "data.test_mixtures": "5",
    "data.batch_size": "4",
    "data.evaluation_batch_size": "2",
}
TRAINER = {"trainer.max_epochs": "1", "trainer.accelerator": "cpu"}
# Networks as small as they get, by the class of the model.
NETWORKS = {
    "EventClassifier": {"model.network": "BLSTM", "model.network.units": "5", "model.network.layers": "1"},
    "WeakLabelSeparator": {"model.network.units": "6", "model.network.layers": "1"},
    "ReferenceSeparator": {},
}


class Reproduced(NamedTuple):
    """A reproduction that ran through, one stage at a time: the command without its folder, the folder, how long."""

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
        """Settings of the tiny data; more of them by name."""
        named = {f"data.{name}": value for name, value in settings.items()}
        return {**self.scenes, **self.procedural, "data.bank_folder": self.banks, **named}

    def arguments(self, row: str, settings: dict[str, Any] | None = None, **data: Any) -> list[str]:
        """Of a training or test of one row of the table.

        Args:
            row: a configuration's name below weak_labels.
            settings: further ones.
            data: further ones of the data.
        """
        configs = ("weak_labels/base", "weak_labels/demo/data", f"weak_labels/{row}")
        model = yaml.safe_load((CONFIGS / "weak_labels" / f"{row}.yaml").read_text()).get("model")
        network = self.networks[model["class_path"].split(".")[-1]] if model else {}
        settings = {**self.data(**data), **self.trainer, **network, **(settings or {})}
        return [*(word for name in configs for word in ("--config", name)), *self.as_options(settings)]

    def best(self, row: str) -> Path:
        """Checkpoint of a trained system."""
        return self.systems / row / "checkpoints" / "best.ckpt"

    def run(self, *arguments: str | Path) -> Outcome:
        """Run a command in this process."""
        threads = torch.get_num_threads()
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
            pytest.MonkeyPatch.context() as environment,
        ):
            # Lightning leaves its seed there, for processes of the same run.
            environment.setenv("PL_GLOBAL_SEED", "")
            status = main([str(argument) for argument in arguments])
        torch.set_num_threads(threads)
        return Outcome(status, out.getvalue(), err.getvalue())

    def succeed(self, *arguments: str | Path) -> Outcome:
        """Run a command in this process that must end well."""
        outcome = self.run(*arguments)
        assert outcome.status == 0, outcome.err
        return outcome

    @contextlib.contextmanager
    def process(self, *arguments: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """A command in a process, and process group, of its own."""
        running = subprocess.Popen(
            [sys.executable, "-m", "experiments.cli", *map(str, arguments)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with running:
            try:
                yield running
            finally:
                if running.poll() is None:
                    os.killpg(running.pid, 9)

    def run_process(self, *arguments: str | Path, **environment: str) -> Outcome:
        """Run a command in a process of its own, to its end."""
        with self.process(*arguments, **environment) as running:
            out, err = running.communicate(timeout=300)
        return Outcome(running.returncode, out, err)

    @staticmethod
    def same_weights(one: Path, other: Path) -> bool:
        """Whether two checkpoints hold the same weights, bit for bit."""
        left, right = (torch.load(path, weights_only=True)["state_dict"] for path in (one, other))
        return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)

    @staticmethod
    def largest_difference(one: Path, other: Path) -> float:
        """Of any weight of two checkpoints of the same network."""
        left, right = (torch.load(path, weights_only=True)["state_dict"] for path in (one, other))
        return max(float((left[name] - right[name]).abs().max()) for name in left)

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
def separatrix(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line, with a judge of each kind and a strong separator, trained for one epoch each."""
    made = CommandLine(tmp_path_factory.mktemp("separatrix"))
    for row in ("judge_frame", "judge_clip", "strong"):
        made.succeed("fit", *made.arguments(row), "--run", made.systems / row)
    return made


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandServer]:
    """`separatrix` commands as processes that start at once and can be killed."""
    server = CommandServer(tmp_path_factory.mktemp("logs"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def weak_labels(separatrix: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Reproduced:
    """The weak-label table."""
    settings = separatrix.as_options({**separatrix.data(), **separatrix.trainer})
    return _reproduced(separatrix, "weak-labels", settings, tmp_path_factory.mktemp("reproduction"))


@pytest.fixture(scope="session")
def model_selection(separatrix: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> Reproduced:
    """The tables of the model selection."""
    tiny = {**separatrix.pairs, **separatrix.trainer, "data.bank_folder": separatrix.banks}
    return _reproduced(separatrix, "model-selection", separatrix.as_options(tiny), tmp_path_factory.mktemp("selection"))


@pytest.fixture(scope="session")
def report_pages(
    separatrix: CommandLine,
    weak_labels: Reproduced,
    model_selection: Reproduced,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Pages of both reproductions, by system, with a mixture of each class and domain to listen to."""
    made = {}
    for system, output in (("weak-labels", weak_labels.output), ("model-selection", model_selection.output)):
        made[system] = tmp_path_factory.mktemp("pages") / f"{system}.html"
        outcome = separatrix.succeed("report", output, "--examples", "1", "--output", made[system])
        assert "missing:" not in outcome.out
    return made


def _reproduced(separatrix: CommandLine, system: str, settings: list[str], output: Path) -> Reproduced:
    command = ["reproduce", system, "--preset", "demo", *settings]
    begun = time.monotonic()
    separatrix.succeed(*command, "--jobs", "1", "--output", output)
    return Reproduced(command, output, time.monotonic() - begun)


@pytest.fixture(scope="session")
def selection(separatrix: CommandLine) -> Callable[..., list[str]]:
    """A function that gives the arguments of a selection on one domain's mixtures."""

    def arguments(domain: str, settings: Any = ()) -> list[str]:
        configs = ("selection", "base", domain, "demo/data", f"demo/{domain}")
        named = [word for name in configs for word in ("--config", f"deep_clustering/{name}")]
        tiny = {**separatrix.pairs, **separatrix.trainer, "data.bank_folder": separatrix.banks}
        return [*named, *separatrix.as_options({**tiny, **dict(settings)})]

    return arguments


@pytest.fixture(scope="session")
def stages(
    separatrix: CommandLine,
    processes: CommandServer,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Stages:
    """The commands that tests interrupt."""
    reproduced = {
        f"reproduce {system}, {jobs} at a time": (system.replace("-", "_"), jobs)
        for system in ("weak-labels", "model-selection")
        for jobs in "12"
    }

    def reproduction(name: str) -> Stage:
        fixture, jobs = reproduced[name]
        command, output, seconds = request.getfixturevalue(fixture)
        return Stage(name, [*command, "--jobs", jobs], "--output", output, seconds)

    made = {name: reproduction for name in reproduced}
    return Stages(commands(separatrix, separatrix.banks), processes, tmp_path_factory.mktemp("whole"), made)


@pytest.fixture
def faults(record_property: Callable[[str, Any], None]) -> Iterator[list[tuple[str, str]]]:
    """What a test did to which stage, and came right again: counted at the end of the tests' output."""
    done: list[tuple[str, str]] = []
    yield done
    for stage, what in done:
        record_property("fault", f"{stage}: {what}")
