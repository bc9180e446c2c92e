"""What every trainable system shares: geometry, optimiser, reproducible epochs, checkpoints that say what they are."""

import copy
import inspect
from typing import Any, Literal

import torch
from lightning import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_modules.batch import Batch
from lightning_modules.batch_invariance import evaluate_batch_invariantly
from lightning_modules.choices import OptimizerCallable, SchedulerCallable, completed, made_of, without_callables
from lightning_modules.errors import InputError
from lightning_modules.loss_watch import LossWatch
from lightning_modules.mixture_mean import MixtureMean
from lightning_modules.separation_scores import LeftOut, in_best_order, score_separation
from lightning_modules.setting_checks import require_one_of, require_unchanged
from lightning_modules.spectrogram import Geometry
from lightning_modules.training_state import require_usable_state

Interval = Literal["epoch", "step"]


class SeparatrixModule(LightningModule):
    """A LightningModule on one spectrogram geometry.

    Subclasses call `save_hyperparameters()`, with `sample_rate`, `window` and `hop` among them, and name in `identity`
    what a checkpoint and the data must agree on.

    Args:
        sample_rate: in Hz.
        window: of the spectrogram, in samples.
        hop: of the spectrogram, in samples.
        optimizer: of the parameters that are to be learnt.
        scheduler: of the optimiser's learning rate; the rate stays unless given. One on a metric follows the validation
            loss, after every epoch that ends in a validation.
        scheduler_interval: whether the schedule steps every `epoch` or every optimiser `step`.
    """

    # Whether estimates come in any order, and are to be compared with the sources in the best one.
    permutation_invariant = False
    # Whether there is anything to learn: what has learnt is evaluated from a checkpoint.
    learns = True
    # Settings that a resumed training takes as they are now: paths of what is read anew, which may have moved.
    replaceable: frozenset[str] = frozenset()

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
        self.test_si_sdr, self.test_improvement = MixtureMean(), MixtureMean()
        self._validated = False  # whether the epoch under way has been: not every one need be
        self._watch = {split: LossWatch(split) for split in ("train", "validation")}

    def save_hyperparameters(self, *args: Any, frame: Any = None, **options: Any) -> None:
        """As Lightning's; classes are kept as their path and settings, which a checkpoint can hold."""
        frame = frame or inspect.currentframe().f_back  # type: ignore[union-attr]  # of CPython
        super().save_hyperparameters(*args, frame=frame, **options)
        self.hparams.update(without_callables(dict(self.hparams)))
        self._hparams_initial = copy.deepcopy(self._hparams)

    def identity(self) -> dict[str, Any]:
        """What data, checkpoint and model must have in common, in words a user knows."""
        return {
            "sample_rate": self.geometry.sample_rate,
            "window": self.geometry.window,
            "hop": self.geometry.hop,
        }

    def setup(self, stage: str) -> None:
        """Compare the model with the data module that it is about to meet.

        Raises:
            InputError: they differ in rate, geometry, classes, domain or number of sources.
        """
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        offered = {
            "sample_rate": data.geometry.sample_rate,
            "window": data.geometry.window,
            "hop": data.geometry.hop,
            **{name: getattr(data, name, None) for name in ("classes", "domain", "sources")},
        }
        require_same_identity(self.identity(), offered, "the model", "the data")

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser on what is to be learnt, and its schedule."""
        learnt = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = made_of(self.optimizer, Optimizer)(learnt)
        if self.scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": made_of(self.scheduler, LRScheduler)(optimizer),
                "monitor": "validation_loss",
                "interval": self.scheduler_interval,
                "strict": False,  # not every epoch, or training, is validated
            },
        }

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """As Lightning's for schedules of time; one on a metric has stepped already, in `on_train_epoch_end`.

        Lightning would step it after writing the epoch's checkpoint, and a resumed training would lack the step.
        """
        if metric is None:
            super().lr_scheduler_step(scheduler, metric)

    def on_validation_epoch_start(self) -> None:
        """Look at the training losses first: weights that one of them has spoilt would be blamed on validation."""
        self._watch["train"].check(self.current_epoch)

    def on_validation_epoch_end(self) -> None:
        """Look at the losses that are still to be looked at."""
        self._watch["validation"].check(self.current_epoch)
        self._validated = True

    def on_train_epoch_end(self) -> None:
        """Look at the losses to the last one, and step schedules on a metric before the checkpoint is written."""
        self._watch["train"].check(self.current_epoch)
        for config in self.trainer.lr_scheduler_configs if self._validated else ():
            if config.reduce_on_plateau:
                config.scheduler.step(self.trainer.callback_metrics[config.monitor or "validation_loss"])  # type: ignore[arg-type]
        self._validated = False

    def on_validation_start(self) -> None:
        """Compute so that rows do not depend on batches."""
        evaluate_batch_invariantly(True)

    def on_validation_end(self) -> None:
        """Compute as fast as possible."""
        evaluate_batch_invariantly(False)

    on_test_start, on_test_end = on_validation_start, on_validation_end

    def on_test_batch_end(self, outputs: Any, batch: Batch, batch_index: int, loader_index: int = 0) -> None:
        """Log the mean scores of a test, which `Trainer.test` returns, unless a callback scores it."""
        if not any(getattr(callback, "scores_tests", False) for callback in self.trainer.callbacks):  # type: ignore[attr-defined]
            self.log_test_scores(outputs, batch)

    def log_test_scores(self, outputs: Any, batch: Batch) -> None:
        """Log SI-SDR and its improvement, in dB, over all sources that have one, of what the test step returned.

        Args:
            outputs: estimates, [B, Q, T].
            batch: with their sources.
        """
        estimates = in_best_order(outputs, batch.sources) if self.permutation_invariant else outputs
        present, names = batch.clip_labels, [""] * batch.sources.shape[1]
        scores = score_separation(batch.mixture, batch.sources, estimates, present, batch.indices, names)
        pairs = [(each.si_sdr, each.si_sdr - each.input_si_sdr) for each in scores if each.left_out is LeftOut.NO]
        reached, improved = torch.tensor(pairs, device=self.device).reshape(-1, 2).unbind(-1)
        self.test_si_sdr.update(reached)
        self.test_improvement.update(improved)
        means = {"test_si_sdr_db": self.test_si_sdr, "test_improvement_db": self.test_improvement}
        self.log_dict(means, on_epoch=True, batch_size=len(batch.indices))

    def on_train_batch_start(self, batch: Any, batch_index: int) -> None:
        """Seed torch from (seed, epoch, rank), so that a resumed training draws what an uninterrupted one would.

        With the epoch's first batch: starting an epoch, Lightning draws a random number or not, depending on whether
        the training was resumed.
        """
        if batch_index == 0:
            torch.manual_seed(1_000_003 * self.data_seed + 10_007 * self.current_epoch + self.global_rank)

    @property
    def data_seed(self) -> int:
        """Seed of the trainer's data module; 0 without one."""
        return int(getattr(getattr(self._trainer, "datamodule", None), "seed", 0))

    def log_loss(self, loss: torch.Tensor, batch: Batch, split: Literal["train", "validation"]) -> torch.Tensor:
        """Log the losses of a batch's mixtures.

        Args:
            loss: of each mixture, [B].
            batch: which mixtures they are.
            split: whose losses they are: of training, or of validation.

        Returns:
            Their mean, which the step takes.

        Raises:
            InputError: a loss is not finite; on a GPU, some steps later.
        """
        self._watch[split].take(loss, batch.indices, self.current_epoch)
        mean = loss.mean()
        if split == "train":
            self.log("train_loss", mean.detach(), on_step=True, on_epoch=False, prog_bar=True)
            self.log(
                "train_loss_epoch", mean.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(loss)
            )
        else:
            self.validation_loss.update(loss)
            self.log("validation_loss", self.validation_loss, on_epoch=True, prog_bar=True, batch_size=len(loss))
        return mean

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Name the kind of module, so that `load_module` can tell.

        Raises:
            InputError: weights are not finite, as a gradient can leave them though every loss was.
        """
        for name, value in self.state_dict().items():
            if not value.isfinite().all():
                raise InputError(
                    f"{name}: not finite after epoch {self.current_epoch + 1}; the checkpoints of earlier epochs are "
                    f"kept; clip gradients, or lower the learning rate in another --run"
                )
        checkpoint["module"] = type(self).__name__

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another kind or identity before any of its weights is taken.

        Raises:
            InputError: kind of module, rate, geometry, classes, supervision or sizes differ; where a training goes on,
                any setting but `replaceable` ones, or its state is not what this trainer would have saved.
        """
        kind, needed = checkpoint.get("module"), type(self).__name__
        if not isinstance(kind, str) or kind != needed:
            named = kind if isinstance(kind, str) else "something else"
            raise InputError(f"ckpt_path: a checkpoint of {named}; one of {needed} is needed")
        stored = checkpoint.get("hyper_parameters", {})
        require_same_identity(self.identity(), stored, "the model", "the checkpoint")
        if self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            # Names with an underscore are LightningCLI's notes on how it made the module.
            kept = {name for name in self.hparams if not name.startswith("_")} - self.replaceable
            before = {name: completed(value) for name, value in stored.items()}
            require_unchanged({name: completed(self.hparams[name]) for name in sorted(kept)}, before)
        weights, own = checkpoint["state_dict"], self.state_dict()
        for name in sorted(own.keys() | weights.keys()):
            shapes = [list(each[name].shape) if name in each else "missing" for each in (weights, own)]
            if shapes[0] != shapes[1]:
                raise InputError(
                    f"ckpt_path: {name} is {shapes[0]} in the checkpoint, {shapes[1]} in the model; "
                    f"give the network's settings as in training"
                )
        if self._trainer is not None:
            require_usable_state(checkpoint, self, self.trainer)


def require_same_identity(expected: dict[str, Any], offered: dict[str, Any], expecting: str, offering: str) -> None:
    """Raise InputError naming both sides where a setting that both state differs."""
    for name, value in expected.items():
        if name in offered and _plain(offered[name]) != _plain(value):
            raise InputError(
                f"{name}: {expecting} has {_plain(value)}, {offering} {_plain(offered[name])}; make them agree"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
