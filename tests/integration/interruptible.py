"""The commands that tests interrupt, at a tiny size, and what they leave when nothing does."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from command_server import CommandServer, Ended
from results import results

from lightning_modules.checkpoint import read_checkpoint

MIXTURES = 200


class Stage(NamedTuple):
    """A command that goes on where it was interrupted.

    Attributes:
        name: what it is called in reports.
        command: without its folder.
        option: by which the folder is given.
        whole: the folder of a start that nothing interrupted.
        seconds: that this start took, more or less.
    """

    name: str
    command: list[str]
    option: str
    whole: Path
    seconds: float

    def into(self, folder: Path) -> list[str]:
        """The command with a folder."""
        return [*self.command, self.option, str(folder)]

    @property
    def records(self) -> list[str]:
        """Of a reproduction's stages: files in its folder."""
        return sorted(str(path.relative_to(self.whole)) for path in self.whole.rglob("*.*.json"))

    def assert_complete(self, folder: Path) -> None:
        """The folder holds what the uninterrupted start's holds, bit by bit, and nothing else lies in or beside it."""
        found, expected = results(folder), results(self.whole)
        differing = {name for name in found | expected if found.get(name) != expected.get(name)}
        assert not differing, f"{self.name}: {sorted(differing)}"
        assert list(folder.parent.iterdir()) == [folder]


def epochs(folder: Path) -> int:
    """How many epochs a training's last checkpoint has behind it."""
    last = folder / "checkpoints" / "last.ckpt"
    return read_checkpoint(last)["epoch"] + 1 if last.exists() else 0


def assert_an_epoch_was_lost_at_most(before: int, ended: Ended, after: int) -> None:
    """A training went on with the epoch behind its last checkpoint, and kept all epochs but perhaps one.

    Args:
        before: epochs in the last checkpoint when it was started.
        ended: the start.
        after: epochs in the last checkpoint afterwards.
    """
    seen = [int(number) for number in re.findall(r"^epoch (\d+)/", ended.printed, re.MULTILINE)]
    assert seen == list(range(before + 1, before + 1 + len(seen)))
    assert after >= before + len(seen) - 1


class Stages:
    """The stages by name, each with an uninterrupted start that is made when it is first asked for.

    Args:
        commands: command and option of each.
        processes: where the uninterrupted starts run.
        folder: for what they leave.
        others: functions that give further stages by name.
    """

    def __init__(
        self,
        commands: dict[str, tuple[list[str], str]],
        processes: CommandServer,
        folder: Path,
        others: dict[str, Callable[[str], Stage]],
    ) -> None:
        self._commands = commands
        self._processes = processes
        self._folder = folder
        self._others = others
        self._made: dict[str, Stage] = {}

    def __call__(self, name: str) -> Stage:
        """The stage of this name."""
        if name in self._others:
            return self._others[name](name)
        if name not in self._made:
            command, option = self._commands[name]
            needed = {"{strong}": "fit weak-labels", "{speech}": "fit model-selection"}
            for mark, other in needed.items():
                if any(mark in word for word in command):
                    checkpoints = self(other).whole / "checkpoints"
                    command = [word.replace(mark, str(checkpoints)) for word in command]
            whole = self._folder / name.replace(" ", "-") / "folder"
            begun = time.monotonic()
            self._processes.succeed(*command, option, whole)
            self._made[name] = Stage(name, command, option, whole, time.monotonic() - begun)
        return self._made[name]


def commands(separatrix, bank_folder: Path) -> dict[str, tuple[list[str], str]]:
    """Every command but `reproduce`, without its folder, and the option that gives it.

    `{strong}` and `{speech}` stand for the checkpoints of the trainings that come first.

    Args:
        separatrix: settings of the tiny experiments.
        bank_folder: of sound banks that are there.
    """
    twelve_epochs = {"trainer.max_epochs": "12"}
    scenes = ["--config", "weak_labels/base", "--config", "weak_labels/demo/data"]
    scenes += separatrix.as_options({**separatrix.scenes, **separatrix.procedural})
    pairs = [word for name in ("base", "speech", "demo/data", "demo/speech") for word in _config(name)]
    pairs += separatrix.as_options(
        {**separatrix.pairs, "data.test_mixtures": "24", "data.bank_folder": bank_folder, "trainer.accelerator": "cpu"}
    )
    clustering = [
        *_config("model"),
        *_config("demo/model"),
        *pairs,
        "--model.network.units",
        "8",
        "--trainer.max_epochs",
        "12",
    ]
    models = [*_config("selection"), *pairs, "--model.checkpoints", "[{speech}/best.ckpt, {speech}/last.ckpt]"]
    frame = {**twelve_epochs, "model.judge": separatrix.best("judge_frame")}
    judge = [*separatrix.arguments("judge_frame"), "--ckpt_path", str(separatrix.best("judge_frame"))]
    many = [*separatrix.arguments("strong", test_mixtures=MIXTURES), "--ckpt_path", "{strong}/best.ckpt"]
    few = [*separatrix.arguments("strong"), "--ckpt_path", "{strong}/best.ckpt"]
    banked = ["--data.bank_folder", str(bank_folder)]
    return {
        "bank": (["bank", *scenes], "--data.bank_folder"),
        "fit weak-labels": (["fit", *separatrix.arguments("strong", twelve_epochs), "--ckpt_path", "last"], "--run"),
        "fit with a judge": (["fit", *separatrix.arguments("frame", frame), "--ckpt_path", "last"], "--run"),
        "fit model-selection": (["fit", *clustering, "--ckpt_path", "last"], "--run"),
        "test weak-labels": (["test", *many], "--run"),
        "test of a judge": (["test", *judge], "--run"),
        "predict": (["predict", *few], "--run"),
        "validate model-selection": (["validate", *models], "--run"),
        "test model-selection": (["test", *models], "--run"),
        "synthesize": (["synthesize", *scenes, *banked, "--mixtures", "5", "--overwrite"], "--output"),
    }


def _config(name: str) -> list[str]:
    return ["--config", f"deep_clustering/{name}"]
