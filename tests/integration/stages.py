"""The commands that tests interrupt, at a tiny size, and how what they leave is compared."""

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from kill_points import Ended

from lightning_modules.checkpoint import read_checkpoint

MIXTURES = 200
# Of a checkpoint: what a training resumes from.
LEARNT = ("state_dict", "optimizer_states", "lr_schedulers", "autoclip", "epoch", "global_step")


def results(folder: Path) -> dict[str, str]:
    """Digests of everything below a folder by name, hidden files too; curves and logs are of starts, not of results."""
    return {
        str(path.relative_to(folder)): _digest(path, folder)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and "curves" not in path.parts and path.suffix != ".log"
    }


def _digest(path: Path, folder: Path) -> str:
    if path.suffix == ".ckpt":
        checkpoint = torch.load(path, weights_only=True)
        contents = _bytes({name: checkpoint[name] for name in LEARNT if name in checkpoint})
    elif path.suffix == ".npz":  # an archive says when it was made
        with np.load(path) as arrays:
            contents = _bytes(dict(arrays))
    else:
        contents = path.read_bytes().replace(str(folder).encode(), b"")
    return hashlib.sha256(contents).hexdigest()


def _bytes(value: Any) -> bytes:
    """Numbers bit by bit."""
    if isinstance(value, dict):
        return b"{" + b",".join(str(name).encode() + b":" + _bytes(value[name]) for name in value) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(map(_bytes, value)) + b"]"
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    return (
        f"{value.dtype}{value.shape}".encode() + value.tobytes() if hasattr(value, "tobytes") else repr(value).encode()
    )


class Stage(NamedTuple):
    """A command that resumes: its words without its folder, and the folder that an uninterrupted start left."""

    name: str
    command: list[str]
    option: str
    whole: Path
    seconds: float

    def into(self, folder: Path) -> list[str]:
        """The command with a folder."""
        return [*self.command, self.option, str(folder)]

    def assert_complete(self, folder: Path) -> None:
        """The folder holds what the uninterrupted start's holds, bit by bit, and nothing else lies in or beside it."""
        found, expected = results(folder), results(self.whole)
        assert {name for name in found | expected if found.get(name) != expected.get(name)} == set()
        assert list(folder.parent.iterdir()) == [folder]


def epochs(folder: Path) -> int:
    """How many epochs a training's last checkpoint has behind it."""
    last = folder / "checkpoints" / "last.ckpt"
    return read_checkpoint(last)["epoch"] + 1 if last.exists() else 0


def assert_an_epoch_was_lost_at_most(before: int, ended: Ended, after: int) -> None:
    """A start with so many epochs behind it went on with the next one, and kept all but perhaps one."""
    seen = [int(number) for number in re.findall(r"^epoch (\d+)/", ended.printed, re.MULTILINE)]
    assert seen == list(range(before + 1, before + 1 + len(seen)))
    assert after >= before + len(seen) - 1


def commands(separatrix: Any) -> dict[str, tuple[list[str], str]]:
    """Every command but `reproduce`, without its folder, and the option that gives it.

    `{strong}` and `{speech}` stand for the checkpoints of the trainings that come first.
    """
    twelve = {"trainer.max_epochs": "12"}
    frame = {**twelve, "model.classifier": separatrix.best("classifier_frame")}
    names = ("base", "speech", "demo/data", "demo/speech")
    pairs = [word for name in names for word in ("--config", f"deep_clustering/{name}")]
    tiny = {**separatrix.pairs, "data.test_mixtures": "24", "data.bank_folder": separatrix.banks}
    pairs += separatrix.as_options({**tiny, "trainer.accelerator": "cpu"})
    clustering = ["--config", "deep_clustering/model", "--config", "deep_clustering/demo/model", *pairs]
    clustering += separatrix.as_options({**twelve, "model.network.units": "8"})
    models = ["--config", "deep_clustering/selection", *pairs]
    models += ["--model.checkpoints", "[{speech}/best.ckpt, {speech}/last.ckpt]"]
    many = [*separatrix.arguments("strong", test_mixtures=MIXTURES), "--ckpt_path", "{strong}/best.ckpt"]
    few = [*separatrix.arguments("strong"), "--ckpt_path", "{strong}/best.ckpt"]
    classifier = [*separatrix.arguments("classifier_frame"), "--ckpt_path", str(separatrix.best("classifier_frame"))]
    scenes = separatrix.scene_words()
    return {
        "bank": (["bank", *scenes], "--data.bank_folder"),
        "fit weak-labels": (["fit", *separatrix.arguments("strong", twelve), "--ckpt_path", "last"], "--run"),
        "fit with a classifier": (["fit", *separatrix.arguments("frame", frame), "--ckpt_path", "last"], "--run"),
        "fit model-selection": (["fit", *clustering, "--ckpt_path", "last"], "--run"),
        "test weak-labels": (["test", *many], "--run"),
        "test of a classifier": (["test", *classifier], "--run"),
        "predict": (["predict", *few], "--run"),
        "validate model-selection": (["validate", *models], "--run"),
        "test model-selection": (["test", *models], "--run"),
        "synthesize": (["synthesize", *scenes, "--mixtures", "5", "--overwrite"], "--output"),
    }
