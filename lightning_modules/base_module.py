"""What every trainable system shares: geometry, optimiser, reproducible epochs, checkpoints that say what they are."""

import copy
import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from textwrap import shorten
from typing import Any, Literal

import torch
from lightning import Callback, LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from lightning_modules.batch import Batch
from lightning_modules.batch_invariance import BatchInvariance
from lightning_modules.choices import OptimizerCallable, SchedulerCallable, completed, made_of, without_callables
from lightning_modules.errors import InputError
from lightning_modules.loss_watch import LossWatch
from lightning_modules.mean_test_scores import MeanTestScores
from lightning_modules.mixture_mean import MixtureMean
from lightning_modules.resumable_epochs import ResumableEpochs
from lightning_modules.setting_checks import require_agreement, require_one_of, require_unchanged
from lightning_modules.spectrogram import Geometry
from lightning_modules.training_state import require_usable_state

Interval = Literal["epoch", "step"]


class SeparatrixModule(MeanTestScores, LightningModule):
    """A LightningModule on one spectrogram geometry.

    Subclasses call `save_hyperparameters()`, with `sample_rate`, `window` and `hop` among them, and name in `signature`
    what a checkpoint and the data must agree on.

    Args:
        sample_rate: in Hz.
        window: of the spectrogram, in samples.
        hop: of the spectrogram, in samples.
        optimizer: of the parameters that require gradients.
        scheduler: of the learning rate, which is constant unless given. One on a metric follows the validation loss.
        scheduler_interval: whether the schedule steps every `epoch` or every optimiser `step`.
    """

    learns = True  # whether it has weights to train, and is evaluated from a checkpoint
    # Settings that a resumed training takes as they are now, inner ones after a dot: paths, which may have moved.
    replaceable: frozenset[str] = frozenset()
    # Settings that no weight shows and that decide what it puts out: an evaluation has them as the training had.
    of_outputs: tuple[str, ...] = ()

    def __init__(
        self,
        sample_rate: int,
        window: int,
        hop: int,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: SchedulerCallable | None = None,
        scheduler_interval: Interval = "epoch",
    ) -> None:
        super().__init__()
        require_one_of(("epoch", "step"), scheduler_interval=scheduler_interval)
        self.geometry = Geometry(sample_rate, window, hop)
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.validation_loss = MixtureMean()
        self._watch = LossWatch()

    def save_hyperparameters(self, *args: Any, frame: Any = None, **options: Any) -> None:
        """As Lightning's; classes are kept as their path and settings, which a checkpoint can hold."""
        frame = frame or inspect.currentframe().f_back  # type: ignore[union-attr]  # of CPython
        super().save_hyperparameters(*args, frame=frame, **options)
        self.hparams.update(without_callables(dict(self.hparams)))
        self._hparams_initial = copy.deepcopy(self._hparams)

    @property
    def separates(self) -> bool:
        """Whether it makes estimates from a mixture alone."""
        return type(self).predict_step is not LightningModule.predict_step

    def signature(self) -> dict[str, Any]:
        """What data, checkpoint and model must have in common, in words a user knows."""
        return asdict(self.geometry)

    def setup(self, stage: str) -> None:
        # An InputError where rate, geometry, classes, domain or number of sources differ.
        if self.learns and not self.hparams:
            raise InputError(
                f"{type(self).__name__}: its checkpoints would not say how it is made; call "
                f"self.save_hyperparameters() in its __init__"
            )
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            names = {name: getattr(data, name, None) for name in ("classes", "hierarchy", "domain", "sources")}
            require_agreement(self.signature(), asdict(data.geometry) | names, "the data")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        with _refused("optimizer"):
            optimizer = made_of(self.optimizer, Optimizer)(trained)
        if self.scheduler is None:
            return optimizer
        with _refused("scheduler"):
            scheduler = made_of(self.scheduler, LRScheduler)(optimizer)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": scheduler,
                "monitor": "validation_loss",
                "interval": self.scheduler_interval,
                "strict": False,  # not every epoch, or training, is validated
            },
        }

    def on_train_start(self) -> None:
        # Half a cosine brings the rate down; past T_max it rises again, which no training means.
        for config in self.trainer.lr_scheduler_configs:
            steps = config.interval == "step"
            length = self.trainer.estimated_stepping_batches if steps else self.trainer.max_epochs or 0
            falls = config.scheduler.T_max if isinstance(config.scheduler, CosineAnnealingLR) else length
            if falls < length:
                told = f"the rate is least after {falls} of {length} {config.interval}s and rises again"
                way_out = f"--model.scheduler.T_max {length} lets it fall to the end"
                rank_zero_warn(f"CosineAnnealingLR: {told}; {way_out}")

    def configure_callbacks(self) -> list[Callback]:
        return [self._watch, ResumableEpochs(), BatchInvariance()]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if metric is None:  # on a metric: ResumableEpochs steps it before the epoch's checkpoint is written
            with _refused("scheduler"):
                super().lr_scheduler_step(scheduler, metric)

    @property
    def data_seed(self) -> int:
        """Seed of the trainer's data module; 0 without one."""
        return int(getattr(getattr(self._trainer, "datamodule", None), "seed", 0))

    def log_loss(self, loss: torch.Tensor, batch: Batch, split: Literal["train", "validation"]) -> torch.Tensor:
        """Log the losses of a split's mixtures, [B], and return their mean; refuse one that is not finite."""
        if loss.shape != batch.indices.shape:
            needed = f"one number for each mixture, {list(batch.indices.shape)}, is needed"
            raise InputError(f"loss: {type(self).__name__} has one of shape {list(loss.shape)}; {needed}")
        self._watch.record(loss, batch.indices, split, self.current_epoch)
        mean, size = loss.mean(), len(loss)
        if split == "train":
            self.log("train_loss", mean.detach(), on_step=True, on_epoch=False, prog_bar=True)
            self.log("train_loss_epoch", mean.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=size)
        else:
            self.validation_loss.update(loss)
            self.log("validation_loss", self.validation_loss, on_epoch=True, prog_bar=True, batch_size=size)
        return mean

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["module"] = type(self).__name__  # so that `load_module` can tell

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # An InputError before any weight is taken.
        kind, needed = checkpoint.get("module"), type(self).__name__
        if kind != needed:
            raise InputError(f"ckpt_path: a checkpoint of {kind}; one of {needed} is needed")
        stored = checkpoint.get("hyper_parameters", {})
        deciding = {name: self.hparams[name] for name in self.of_outputs}
        require_agreement(self.signature() | deciding, stored, "the checkpoint")
        if self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING:
            # Names with an underscore are LightningCLI's notes on how it made the module.
            kept = sorted(name for name in self.hparams if not name.startswith("_"))
            before = {name: completed(value) for name, value in stored.items()}
            settings = {name: completed(self.hparams[name]) for name in kept}
            require_unchanged(settings, before, replaceable=self.replaceable)
        require_usable_state(checkpoint, self, self._trainer)


@contextmanager
def _refused(setting: str) -> Iterator[None]:
    """Say in one line which settings an optimiser or a schedule refuses."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise InputError(f"{setting}: {shorten(f'{type(error).__name__}: {error}', 300)}; choose others") from error


def require_inherited(model: LightningModule, kind: type, methods: Iterable[str], reason: str) -> None:
    """Raise InputError where a subclass has a method of its own that whoever uses the model would pass over."""
    for method in methods:
        if getattr(type(model), method) is not getattr(kind, method):
            name = type(model).__name__
            raise InputError(f"{name}: has its own `{method}`, {reason}; call the model itself on mixtures")
