"""What a separator sounds and looks like while it learns: the same few mixtures again and again."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.tracker import Example, trackers
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.selection import picked_estimates
from lightning_modules.scores.figures import separation_figure
from lightning_modules.separation_scores import in_best_order, score_separation, with_residual
from lightning_modules.setting_checks import require_whole
from lightning_modules.spectrogram import stft


class AudioExamples(Callback):
    """Shows in W&B or TensorBoard, as `examples/validation` or `examples/test`, the first mixtures of rank 0.

    Each of their sources has its SI-SDR before and after, the sounds of mixture, source and estimate, and pictures of
    their magnitudes and of the effective mask |Ŝ|/|X|. Classifiers, which separate nothing, leave none.

    Args:
        mixtures: how many, the first of validation and test each.
        every_epochs: while training, the first validation is logged, and the next one so many epochs later.
    """

    def __init__(self, mixtures: int = 2, every_epochs: int = 5) -> None:
        require_whole(1, 10_000, mixtures=mixtures, every_epochs=every_epochs)
        self.mixtures = mixtures
        self.every_epochs = every_epochs
        self._taken = 0  # mixtures
        self._next = 0  # epoch of which a validation is logged
        self._due = True  # whether the one under way is
        self._examples: list[Example] = []

    def state_dict(self) -> dict[str, Any]:
        return {"next": self._next}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._next = state_dict["next"]

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._taken, self._examples = 0, []
        training = trainer.state.fn is TrainerFn.FITTING
        self._due = not trainer.sanity_checking and (not training or trainer.current_epoch >= self._next)
        if training and self._due:
            self._next = trainer.current_epoch + self.every_epochs

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        wanted = self.mixtures - self._taken
        if wanted > 0 and self._due:
            self._taken += len(batch.indices)
            for tracker in trackers(trainer):
                tracker.attempt(self._take, pl_module, outputs, Batch(*(field[:wanted] for field in batch)))

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        # At the step of the validation's own values: Lightning counts those of a training from 0.
        split = "test" if trainer.state.fn is TrainerFn.TESTING else "validation"
        for tracker in trackers(trainer) if self._examples else ():
            rate, step = pl_module.geometry.sample_rate, max(trainer.global_step - 1, 0)
            tracker.attempt(tracker.show_examples, f"examples/{split}", self._examples, rate, step)

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]
    on_test_end = on_validation_end

    def _take(self, module: Any, outputs: Any, batch: Batch) -> None:
        """Make the examples of some mixtures."""
        rate, labels, count = module.geometry.sample_rate, module.classes, len(batch.indices)
        models = [type(module).__name__] * count
        if isinstance(outputs, Tensor):
            estimates = outputs[:count]
        elif "picked" in outputs:  # a selection: what the most confident model made of each
            estimates = picked_estimates(outputs)[:count]
            models = [module.names[number] for number in outputs["picked"][:count].tolist()]
        else:
            return
        if module.permutation_invariant:
            estimates = in_best_order(estimates, batch.sources)
        batch, estimates = Batch(*(field.cpu() for field in batch)), estimates.float().cpu()
        batch, estimates, labels = with_residual(batch, estimates, labels)
        present = torch.ones_like(batch.clip_labels)
        scores = iter(score_separation(batch.mixture, batch.sources, estimates, present, batch.indices, labels))
        spectra = stft(torch.cat((batch.mixture[:, None], batch.sources, estimates), 1), module.geometry)
        for place, (mixture, *others) in enumerate(spectra.abs().numpy()):
            mixture_audio = _sound(batch.mixture[place])
            for number, label in enumerate(labels):
                score = next(scores)
                magnitudes = mixture, others[number], others[number + len(labels)]
                figure = separation_figure(*magnitudes, module.geometry.hop / rate, rate / 2)
                before, after = (value if np.isfinite(value) else None for value in score[-2:])
                truth, estimate = (_sound(each[place, number]) for each in (batch.sources, estimates))
                words = score.mixture, label, models[place], before, after
                self._examples.append(Example(*words, mixture_audio, truth, estimate, _picture(figure)))


def _sound(samples: Tensor) -> np.ndarray:
    """Samples at their own level, unless they would be clipped."""
    return (samples / samples.abs().max().clamp_min(1)).numpy()


def _picture(figure: Figure) -> np.ndarray:
    """The pixels of a figure, uint8 [height, width, 3]: W&B itself would write a file, read it and write another."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
