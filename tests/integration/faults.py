"""Callbacks and loggers that tests add to a training by name: what each rank saw, a rank or a server that fails."""

import glob
import os
import signal
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import DummyLogger


class SeenMixtures(Callback):
    """Writes the mixtures of every training step into FOLDER/rank-N, a line `epoch index index ...` each."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"rank-{trainer.global_rank}").open("a") as file:
            print(trainer.current_epoch, *batch.indices.tolist(), file=file)


class FailingRank(Callback):
    """On one rank, with the second training step: an error, or a kill."""

    def __init__(self, rank: int, how: str) -> None:
        self.rank = rank
        self.how = how

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_rank == self.rank and batch_idx == 1:
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(5, "Input/output error", "some/file")


class Vanishing(Callback):
    """Removes the files of a pattern when training starts."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for path in glob.glob(self.pattern):
            os.remove(path)


class SpoiltGradient(Callback):
    """Makes the gradients of one step of every epoch NaN, though its loss is finite."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fit_loop.epoch_loop.batch_idx == self.step:
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(float("nan"))


class NoServer(DummyLogger):
    """A logger that finds no server when it is made."""

    def __init__(self, server: str = "localhost") -> None:
        raise RuntimeError(f"no server at {server}")


class NoAccount(DummyLogger):
    """A logger that is refused when it opens its experiment."""

    @property
    def experiment(self) -> Any:  # type: ignore[override]
        raise ConnectionError
