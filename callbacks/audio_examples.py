"""What a separator sounds and looks like while it learns: the same few mixtures again and again, in W&B."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from callbacks.figures import separation_figure
from callbacks.tracker import Tracker, trackers
from datamodules.batch import Batch
from lightning_modules.separation_scores import in_best_order, score_separation
from lightning_modules.setting_checks import require_whole
from lightning_modules.spectrogram import stft

COLUMNS = ("mixture", "source", "model", "input_si_sdr_db", "si_sdr_db", "heard", "truth", "estimate", "spectrograms")


class Example(NamedTuple):
    """A separated mixture, on the CPU.

    Attributes:
        model: that separated it.
        batch: of this mixture alone.
        estimates: in the order of the sources, [1, C, T].
    """

    model: str
    batch: Batch
    estimates: Tensor


class AudioExamples(Callback):
    """Logs a W&B table, `examples/validation` or `examples/test`, of the first mixtures of rank 0: a row a source.

    A row holds the SI-SDR before and after, the sounds of mixture, source and estimate, and pictures of their
    magnitudes and of the effective mask |Ŝ|/|X|. Judges, which separate nothing, leave no table.

    Args:
        mixtures: how many, the first of validation and test each.
        every_epochs: while training, validations of every so many epochs are logged, the first one among them.
    """

    def __init__(self, mixtures: int = 2, every_epochs: int = 5) -> None:
        require_whole(1, 10_000, mixtures=mixtures, every_epochs=every_epochs)
        self.mixtures = mixtures
        self.every_epochs = every_epochs
        self._examples: list[Example] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the last ones."""
        self._examples = []

    on_test_start = on_validation_start

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        """Keep a batch's first mixtures, as long as some are wanted."""
        wanted = self.mixtures - len(self._examples)
        between = trainer.state.fn is TrainerFn.FITTING and trainer.current_epoch % self.every_epochs
        if wanted <= 0 or not trackers(trainer) or trainer.sanity_checking or between:
            return
        for tracker in trackers(trainer):
            tracker.attempt(lambda: self._keep(pl_module, outputs, Batch(*(field[:wanted] for field in batch))))

    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the table."""
        for tracker in trackers(trainer) if self._examples else ():
            tracker.attempt(lambda tracker=tracker: self._log(tracker, trainer, pl_module))  # type: ignore[misc]

    on_test_end = on_validation_end

    def _keep(self, module: LightningModule, outputs: Any, batch: Batch) -> None:
        self._examples += list(_examples(module, outputs, batch))

    def _log(self, tracker: Tracker, trainer: Trainer, module: Any) -> None:
        import wandb

        rate = module.geometry.sample_rate
        table = wandb.Table(columns=list(COLUMNS))
        for example in self._examples:
            batch, labels = example.batch, module.classes
            present = torch.ones_like(batch.clip_labels)
            scores = score_separation(batch.mixture, batch.sources, example.estimates, present, batch.indices, labels)
            spectra = stft(torch.cat((batch.mixture[:, None], batch.sources, example.estimates), 1)[0], module.geometry)
            mixture, *others = spectra.abs().numpy()
            heard = _sound(batch.mixture[0], rate)
            for number, (label, score) in enumerate(zip(labels, scores, strict=True)):
                truth, estimate = others[number], others[number + len(labels)]
                figure = separation_figure(mixture, truth, estimate, module.geometry.hop / rate, rate / 2)
                table.add_data(
                    score.mixture,
                    label,
                    example.model,
                    _finite(score.input_si_sdr),
                    _finite(score.si_sdr),
                    heard,
                    _sound(batch.sources[0, number], rate),
                    _sound(example.estimates[0, number], rate),
                    _picture(figure),
                )
        # At the step of the validation's own values: Lightning counts those of a training from 0.
        split = "test" if trainer.state.fn is TrainerFn.TESTING else "validation"
        tracker.log_metrics({f"examples/{split}": table}, max(trainer.global_step - 1, 0))


def _examples(module: LightningModule, outputs: Any, batch: Batch) -> Iterator[Example]:
    """What a validation or test step made of the mixtures of `batch`, the first of its own."""
    count = len(batch.indices)
    models = [type(module).__name__] * count
    if isinstance(outputs, Tensor):
        estimates = outputs[:count]
    elif "picked" in outputs:  # a selection: what the most confident model made of each
        picked = outputs["picked"][:count]
        estimates = outputs["estimates"][picked, torch.arange(count, device=picked.device)]
        names: list[str] = module.names  # type: ignore[assignment]
        models = [names[number] for number in picked.tolist()]
    else:
        return
    if module.permutation_invariant:
        estimates = in_best_order(estimates, batch.sources)
    for place, model in enumerate(models):
        of_mixture = Batch(*(field[place : place + 1].cpu() for field in batch))
        yield Example(model, of_mixture, estimates[place : place + 1].float().cpu())


def _sound(samples: Tensor, rate: int) -> Any:
    """Audio for W&B: at its own level, unless that would be clipped."""
    import wandb

    values: NDArray[np.float32] = samples.numpy()
    return wandb.Audio(values / max(1.0, float(np.abs(values).max(initial=0))), sample_rate=rate)


def _picture(figure: Figure) -> Any:
    """A figure for W&B, drawn once: W&B itself would write a file, read it and write another."""
    import wandb

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return wandb.Image(np.asarray(canvas.buffer_rgba())[..., :3])


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
