"""The best, the median and the worst mixture of every class, with what each separator makes of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from lightning import LightningModule
from markupsafe import Markup
from torch import Tensor

from experiments.report.charts import timeline_chart
from experiments.report.drawing import Drawings, colour_of, variable
from experiments.report.examples import Tell, at_ranks, listening
from experiments.report.media import Pictures, audio, common_gain
from experiments.report.mixtures import estimates_of, separator_of, tested_mixtures
from experiments.report.page import Example, Listening, Sound
from experiments.report.run_folder import Run
from experiments.report.weak_labels import system_name
from lightning_modules.activation import sigmoid
from lightning_modules.batch import Batch
from lightning_modules.checkpoint import load_module
from lightning_modules.errors import InputError
from lightning_modules.scores.figures import PALETTE
from lightning_modules.scores.rows import Floats, index_of, read_rows, value_of
from lightning_modules.scores.summary import SCORE_COLUMNS
from lightning_modules.separation_scores import score_separation
from lightning_modules.spectrogram import stft
from lightning_modules.weak_labels.classifier_module import EventClassifier


class Row(NamedTuple):
    """A present class of a mixture: SI-SDR in dB, or why it has none."""

    before: float
    after: float
    left_out: str


Rows = dict[tuple[int, str], Row]


class System(NamedTuple):
    """A separator that is listened to: its row's name, its module, and its rows on disk."""

    name: str
    module: LightningModule
    precision: str
    rows: Rows


class SeparationExamples:
    """Makes the mixtures to listen to of one or more separators that were tested on the same mixtures.

    Args:
        runs: of the separators, with rows.
        classes: names of the sources, in their order.
        judge: a run whose judge listens to the mixtures; none unless given.
        drawings: of the page.
        device: that the models run on.

    Raises:
        InputError: mixtures or all separators cannot be made again.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        classes: Sequence[str],
        judge: Run | None,
        drawings: Drawings,
        device: torch.device,
    ) -> None:
        self.drawings = drawings
        self.device = device
        self.missing: list[str] = []
        self._largest_difference = 0.0
        self.classes = list(classes)
        self.mixtures = tested_mixtures(runs[0])
        self.systems: list[System] = []
        for run in runs:
            try:
                self.systems.append(System(run.name, separator_of(run), run.precision, _read_rows(run)))
            except InputError as error:
                self.missing.append(f"Estimates of {system_name(run.name)}: {error}")
        if not self.systems:
            raise InputError("; ".join(self.missing))
        self.judge = self._judge(judge) if judge else None

    def listening(self, ranked_by: str, count: int, tell: Tell) -> Listening:
        """The mixtures of every class, by the improvement that a system brings to the class.

        Args:
            ranked_by: name of the system.
            count: mixtures of each class.
            tell: is told of every class.
        """
        system = next((system for system in self.systems if system.name == ranked_by), self.systems[0])
        examples = []
        for label in self.classes:
            scored = [
                (index, row.after - row.before)
                for (index, of), row in system.rows.items()
                if of == label and not row.left_out
            ]
            chosen = at_ranks([gain for _, gain in scored], count)
            tell(f"mixtures to listen to: {label}, {len(chosen)} of {len(scored)}")
            examples += [self._example(label, rank, *scored[place], system.name) for rank, place in chosen]
        chosen_by = f"Per class, from best to worst by its SI-SDR improvement under {system_name(system.name)}"
        scores = "SI-SDR, and in brackets its improvement over the mixture; below the true source the mixture's own"
        return listening(examples, chosen_by, scores, self.mixtures.geometry.sample_rate, self._largest_difference)

    def _example(self, label: str, rank: str, index: int, gain_db: float, ranked_by: str) -> Example:
        batch = self.mixtures.batch([index])
        estimates = {
            system.name: estimates_of(system.module, batch, system.precision, self.device)[0] for system in self.systems
        }
        for system in self.systems:
            self._compare(system, batch, estimates[system.name][None])
        rate = self.mixtures.geometry.sample_rate
        gain = common_gain(batch.mixture, batch.sources, *estimates.values())
        pictures = Pictures(batch.mixture[0], self.mixtures.geometry)
        names = [system.name for system in self.systems]

        def sound(title: str, samples: Tensor, colour: str, score: str = "") -> Sound:
            seen = pictures.spectrogram(samples), pictures.mask(samples)
            return Sound(title, colour, score, audio(samples, rate, gain), *seen)

        sources = []
        present = [place for place, there in enumerate(batch.clip_labels[0].tolist()) if there]
        # The class that the mixture is an example of comes first.
        for place in sorted(present, key=lambda place: self.classes[place] != label):
            name = self.classes[place]
            befores = [of.before for system in self.systems if (of := system.rows.get((index, name)))]
            before = f"mixture: {befores[0]:.1f} dB" if befores and befores[0] == befores[0] else ""
            sounds = [sound("true source", batch.sources[0, place], variable("#000000"), before)]
            for system in self.systems:
                score = _score(system.rows.get((index, name)))
                colour = variable(colour_of(system.name, names))
                sounds.append(sound(system_name(system.name), estimates[system.name][place], colour, score))
            sources.append((name.replace("_", " "), sounds))
        shown = label.replace("_", " ")
        heading = f"mixture {index}: {shown} {gain_db:+.1f} dB under {system_name(ranked_by)}"
        mixture = sound("mixture", batch.mixture[0], variable("#000000"))._replace(mask="")
        return Example(shown, rank, heading, mixture, self._timeline(batch), None, sources)

    def _compare(self, system: System, batch: Batch, estimates: Tensor) -> None:
        scores = score_separation(
            batch.mixture, batch.sources, estimates, batch.clip_labels, batch.indices, self.classes
        )
        for score in scores:
            row = system.rows.get((score.mixture, score.label))
            if row and not row.left_out and not score.left_out:
                self._largest_difference = max(self._largest_difference, abs(score.si_sdr - row.after))

    def _judge(self, run: Run) -> EventClassifier | None:
        try:
            return load_module(run.best, EventClassifier).eval()
        except InputError as error:
            self.missing.append(f"What the judge hears: {error}")
            return None

    def _timeline(self, batch: Batch) -> Markup | None:
        active: Floats = batch.frame_labels[0].double().numpy()
        if "source_1" in self.classes:  # sources of pairs start together, at 0
            return None
        heard = None
        if self.judge is not None:
            with torch.inference_mode():
                logits = self.judge.to(self.device)(stft(batch.mixture.to(self.device), self.judge.geometry).abs())
            heard = sigmoid(logits)[0].double().cpu().numpy()
        duration = batch.mixture.shape[-1] / self.mixtures.geometry.sample_rate
        present = [self.classes[place].replace("_", " ") for place in np.flatnonzero(active.any(1))]
        alternative = f"When each class sounds: {', '.join(present)} in {duration:g} seconds."
        if heard is not None:
            alternative += " The line is the judge's probability of the class."
        figure = timeline_chart(active, heard, self.classes, (PALETTE[2], "#000000"), duration)
        return self.drawings.chart(figure, alternative)


def _read_rows(run: Run) -> Rows:
    path = run.scores
    return {
        (index_of(path, row, "index"), row["class"]): Row(
            value_of(path, row, "input_si_sdr_db"), value_of(path, row, "si_sdr_db"), row["left_out"]
        )
        for row in read_rows(path, SCORE_COLUMNS)
    }


def _score(row: Row | None) -> str:
    if row is None or row.left_out:
        return f"no score: {row.left_out}" if row else "no score"
    gain = round(row.after - row.before, 1) + 0.0  # no negative zero
    return f"{row.after:.1f} dB ({gain:+.1f})"
