"""A stage of a reproduction: an ordinary `separatrix` command, and the record of how far it came."""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import separatrix_entry
from experiments.command_line.configurations import read_configuration, with_preset
from experiments.command_line.own_classes import import_options
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.errors import InputError, listed
from lightning_modules.run_files import RunFiles

# These settings change nothing of a stage's results.
_NO_PART_OF_IT = (
    *("--logger", "--group", "--trainer.enable_progress_bar"),
    *("--data.workers", "--data.bank_folder", "--data.verify_bank", "--data.corpus.follow_links"),
)
# Nor do the places of results; those of other stages count by their fingerprints.
_PLACES = ("--run", "--model.classifier", "--model.checkpoints", "--ckpt_path")


@dataclass(frozen=True)
class Stage:
    """One command of a reproduction.

    Attributes:
        name: unique, such as `frame.fit`.
        arguments: of `separatrix`.
        run: folder that the command writes to.
        needs: names of the stages whose results it uses.
        recordings: digest of the user's own recordings, where it is made of such.
    """

    name: str
    arguments: tuple[str, ...]
    run: Path
    needs: tuple[str, ...] = ()
    recordings: str = ""

    @property
    def begun(self) -> bool:
        """Whether the folder holds a part of the command's results, from which the command resumes."""
        files = RunFiles(self.run)
        results = {"fit": files.last, "test": files.parts(files.scores)}
        results["validate"] = files.parts(files.validation_scores)
        return self.arguments[0] in results and results[self.arguments[0]].exists()

    def command(self) -> list[str]:
        """Arguments of `separatrix`; a training resumes from its last epoch where there is one."""
        resumes = self.arguments[0] == "fit" and self.begun
        resume = ("--ckpt_path", str(RunFiles(self.run).last)) if resumes else ()
        return [*self.arguments, *resume, *import_options()]

    def shown(self, launch: Sequence[str] = ()) -> str:
        """The command for a shell; `launch` starts its ranks, if it has any."""
        return shlex.join([*self._launched(launch), "separatrix", *self.arguments, *import_options()])

    def words(self, launch: Sequence[str] = ()) -> list[str]:
        """The command as a process of its own."""
        # By its path: with `-m` a package `experiments` in the current folder would come first, also for its ranks.
        return [*self._launched(launch), sys.executable, separatrix_entry.__file__, *self.command()]

    def _launched(self, launch: Sequence[str]) -> Sequence[str]:
        return () if self.arguments[0] == "bank" else launch

    def __str__(self) -> str:
        return self.shown()


class Record:
    """The state of a stage and its configuration, in its folder; `needs` are the fingerprints of earlier stages."""

    def __init__(self, stage: Stage, needs: Iterable[str]) -> None:
        self.stage = stage
        self.path = RunFiles(stage.run).stage_record(stage.name)
        digest, self.settings = hashlib.sha256(), dict[str, str]()
        arguments = with_preset(list(stage.arguments))
        for before, argument in zip(("", *arguments), arguments, strict=False):
            if argument.split("=")[0] in _NO_PART_OF_IT or before in _NO_PART_OF_IT:
                continue
            if before == "--config":
                content = json.dumps(read_configuration(argument), default=str).encode()
                self.settings[f"--config {argument}"] = hashlib.sha256(content).hexdigest()
                digest.update(content)
            elif before not in _PLACES:
                text = os.path.abspath(argument) if before == "--data.corpus.root" else argument
                name, _, value = text.partition("=")
                self.settings |= {name: value} if text.startswith("--") else {before: text}
                digest.update(text.encode())
            digest.update(b"\0")
        for fingerprint in (*needs, stage.recordings):
            digest.update(fingerprint.encode())
        self.fingerprint = digest.hexdigest()

    def state(self) -> str | None:
        """`started` or `complete`, None if never started; InputError where the configuration is another one."""
        try:
            stored = json.loads(self.path.read_text())
            state, fingerprint = stored["state"], stored["fingerprint"]
            was = dict(stored.get("settings", {}))  # which earlier records lack
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{self.path}: damaged; delete it to run {self.stage.name} again") from None
        if fingerprint != self.fingerprint:
            if state == "started" and not self.stage.begun:
                return None  # most likely it was refused: it left nothing
            names = was | self.settings if was else ()
            differing = [name for name in names if was.get(name) != self.settings.get(name)]
            other = f"another configuration ({listed(differing)})" if differing else "another configuration"
            other += ", or of other recordings" if self.stage.recordings and not differing else ""
            raise InputError(f"{self.path.parent}: holds a run of {other}; choose another --output or delete it")
        return str(state)

    def write(self, state: str) -> None:
        record = {"state": state, "fingerprint": self.fingerprint, "settings": self.settings}
        write_text_atomically(self.path, json.dumps(record) + "\n")
