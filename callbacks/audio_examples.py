"""What a separator sounds and looks like while it learns: the same few mixtures again and again, in W&B."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.tracker import trackers
from lightning_modules.batch import Batch
from lightning_modules.scores.figures import separation_figure
from lightning_modules.separation_scores import in_best_order, score_separation
from lightning_modules.setting_checks import require_whole
from lightning_modules.spectrogram import stft

COLUMNS = ["mixture", "source", "model", "input_si_sdr_db", "si_sdr_db"]
COLUMNS += ["mixture_audio", "truth", "estimate", "spectrograms"]


class AudioExamples(Callback):
    """Logs a W&B table, `examples/validation` or `examples/test`, of the first mixtures of rank 0: a row a source.

    A row holds the SI-SDR before and after, the sounds of mixture, source and estimate, and pictures of their
    magnitudes and of the effective mask |Ŝ|/|X|. Classifiers, which separate nothing, leave no table.

    Args:
        mixtures: how many, the first of validation and test each.
        every_epochs: while training, validations of every so many epochs are logged, the first one among them.
    """

    def __init__(self, mixtures: int = 2, every_epochs: int = 5) -> None:
        require_whole(1, 10_000, mixtures=mixtures, every_epochs=every_epochs)
        self.mixtures = mixtures
        self.every_epochs = every_epochs
        self._taken = 0  # mixtures
        self._rows: list[tuple[Any, ...]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._taken, self._rows = 0, []

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        wanted = self.mixtures - self._taken
        between = trainer.state.fn is TrainerFn.FITTING and trainer.current_epoch % self.every_epochs
        if wanted > 0 and not trainer.sanity_checking and not between:
            self._taken += len(batch.indices)
            for tracker in trackers(trainer):
                tracker.attempt(self._take, pl_module, outputs, Batch(*(field[:wanted] for field in batch)))

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        # At the step of the validation's own values: Lightning counts those of a training from 0.
        split = "test" if trainer.state.fn is TrainerFn.TESTING else "validation"
        for tracker in trackers(trainer) if self._rows else ():
            import wandb

            table = wandb.Table(columns=[*COLUMNS], data=self._rows)
            tracker.log_metrics({f"examples/{split}": table}, max(trainer.global_step - 1, 0))

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]
    on_test_end = on_validation_end

    def _take(self, module: Any, outputs: Any, batch: Batch) -> None:
        """Make the rows of some mixtures."""
        rate, labels, count = module.geometry.sample_rate, module.classes, len(batch.indices)
        models = [type(module).__name__] * count
        if isinstance(outputs, Tensor):
            estimates = outputs[:count]
        elif "picked" in outputs:  # a selection: what the most confident model made of each
            picked = outputs["picked"][:count]
            estimates = outputs["estimates"][picked, torch.arange(count, device=picked.device)]
            models = [module.names[number] for number in picked.tolist()]
        else:
            return
        if module.permutation_invariant:
            estimates = in_best_order(estimates, batch.sources)
        batch, estimates = Batch(*(field.cpu() for field in batch)), estimates.float().cpu()
        present = torch.ones_like(batch.clip_labels)
        scores = iter(score_separation(batch.mixture, batch.sources, estimates, present, batch.indices, labels))
        spectra = stft(torch.cat((batch.mixture[:, None], batch.sources, estimates), 1), module.geometry)
        for place, (mixture, *others) in enumerate(spectra.abs().numpy()):
            mixture_audio = _sound(batch.mixture[place], rate)
            for number, label in enumerate(labels):
                score = next(scores)
                magnitudes = mixture, others[number], others[number + len(labels)]
                figure = separation_figure(*magnitudes, module.geometry.hop / rate, rate / 2)
                before_and_after = (value if np.isfinite(value) else None for value in score[-2:])
                sounds = mixture_audio, *(_sound(each[place, number], rate) for each in (batch.sources, estimates))
                self._rows.append((score.mixture, label, models[place], *before_and_after, *sounds, _picture(figure)))


def _sound(samples: Tensor, rate: int) -> Any:
    """Audio for W&B: at its own level, unless that would be clipped."""
    import wandb

    return wandb.Audio((samples / samples.abs().max().clamp_min(1)).numpy(), sample_rate=rate)


def _picture(figure: Figure) -> Any:
    """A figure for W&B, drawn once: W&B itself would write a file, read it and write another."""
    import wandb

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return wandb.Image(np.asarray(canvas.buffer_rgba())[..., :3])
