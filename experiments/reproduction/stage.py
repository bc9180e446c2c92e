"""A stage of a reproduction: an ordinary `separatrix` command, and the record of how far it came."""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.command_line.configurations import config_path, with_preset
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles

# How a stage is followed, how fast it is and where its bank lies decide nothing of what it makes.
_NO_PART_OF_IT = ("--logger", "--group", "--data.workers", "--data.bank_folder", "--trainer.enable_progress_bar")
# Where results lie is no part of what they are; those of other stages count by their fingerprints.
_PLACES = ("--run", "--model.classifier", "--model.checkpoints", "--ckpt_path")


@dataclass(frozen=True)
class Stage:
    """One command of a reproduction.

    Attributes:
        name: unique, such as `frame.fit`.
        arguments: of `separatrix`.
        run: folder that the command writes to.
        needs: names of the stages whose results it uses.
    """

    name: str
    arguments: tuple[str, ...]
    run: Path
    needs: tuple[str, ...] = ()

    @property
    def begun(self) -> bool:
        """Whether the folder holds a part of the command's results, which the command goes on from."""
        files, kind = RunFiles(self.run), self.arguments[0]
        results = {"fit": files.last, "test": files.parts(files.scores)}
        results["validate"] = files.parts(files.validation_scores)
        return kind in results and results[kind].exists()

    @property
    def log(self) -> Path:
        """What the command printed, where it does not run in the foreground."""
        return RunFiles(self.run).stage_log(self.name)

    def command(self) -> list[str]:
        """Arguments of `separatrix`, going on from the last epoch where there is one."""
        last = RunFiles(self.run).last
        resumed = self.arguments[0] == "fit" and last.exists()
        return [*self.arguments, *(("--ckpt_path", str(last)) if resumed else ())]

    def shown(self, launch: Sequence[str] = ()) -> str:
        """The command as a shell takes it; `launch` starts its ranks, if it has any."""
        return shlex.join([*self._launched(launch), "separatrix", *self.arguments])

    def words(self, launch: Sequence[str] = ()) -> list[str]:
        """The command as a process of its own."""
        return [*self._launched(launch), sys.executable, "-m", "experiments.cli", *self.command()]

    def _launched(self, launch: Sequence[str]) -> Sequence[str]:
        return () if self.arguments[0] == "bank" else launch

    def __str__(self) -> str:
        return self.shown()


class Record:
    """What a stage's folder says of how far the stage came, and with which configuration.

    Args:
        stage: the stage.
        needs: fingerprints of the stages that it needs.
    """

    def __init__(self, stage: Stage, needs: Iterable[str]) -> None:
        self.stage = stage
        self.path = RunFiles(stage.run).stage_record(stage.name)
        digest = hashlib.sha256()
        arguments = with_preset(list(stage.arguments))
        for before, argument in zip(("", *arguments), arguments, strict=False):
            if argument.split("=")[0] in _NO_PART_OF_IT or before in _NO_PART_OF_IT:
                continue
            if before == "--config":
                digest.update(config_path(argument).read_bytes())
            elif before not in _PLACES:
                where = before == "--data.corpus.root"
                digest.update((os.path.abspath(argument) if where else argument).encode())
            digest.update(b"\0")
        for need in needs:
            digest.update(need.encode())
        self.fingerprint = digest.hexdigest()

    def state(self) -> str | None:
        """`started` or `complete` with this configuration, None if never started.

        Raises:
            InputError: the folder holds the stage with another configuration.
        """
        try:
            stored = json.loads(self.path.read_text())
            state, fingerprint = stored["state"], stored["fingerprint"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{self.path}: damaged; delete it to run {self.stage.name} again") from None
        if fingerprint != self.fingerprint:
            if state == "started" and not self.stage.begun:
                return None  # it was refused, as a rule: nothing of it is there
            raise InputError(
                f"{self.path.parent}: holds a run of another configuration; choose another --output or delete it"
            )
        return str(state)

    def write(self, state: str) -> None:
        """Write the state, as a whole or not at all."""
        write_text_atomically(self.path, json.dumps({"state": state, "fingerprint": self.fingerprint}) + "\n")
