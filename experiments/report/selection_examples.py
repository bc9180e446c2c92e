"""The best, the median and the worst mixture of every domain, with what every model makes of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from datamodules.mixture_dataset import MixtureDataset
from experiments.report.drawing import colour_of, variable
from experiments.report.examples import Tell, at_ranks, listening
from experiments.report.media import Pictures, audio, common_gain
from experiments.report.mixtures import arithmetic, lies_in, tested_mixtures
from experiments.report.page import Cell, Example, Listening, Sound, Table
from experiments.report.run_folder import Run
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.selection import ModelSelection, Selection
from lightning_modules.errors import InputError
from lightning_modules.scores.selection_rows import Evaluated
from lightning_modules.separation_scores import compare, in_best_order


class SelectionExamples:
    """Makes the mixtures to listen to of a model selection.

    Args:
        folder: that the report is of; models that were moved with it are found in it.
        runs: the selection on each domain's mixtures.
        evaluated: their rows.
        device: that the models run on.
    """

    def __init__(self, folder: Path, runs: Sequence[Run], evaluated: Evaluated, device: torch.device) -> None:
        self.folder = folder
        self.runs = runs
        self.evaluated = evaluated
        self.device = device
        self.missing: list[str] = []
        self._largest_difference = 0.0
        self._selections: dict[tuple[str, ...], ModelSelection] = {}

    def listening(self, count: int, tell: Tell) -> Listening | None:
        """So many mixtures of every domain, by the SI-SDR of the picked model; None where none can be made again."""
        examples: list[Example] = []
        rates = set()
        for run in self.runs:
            domain = str(run.setting("data", "domain", run.name.rpartition("/")[2]))
            try:
                mixtures, models = tested_mixtures(run), self._selection(run)
            except InputError as error:
                self.missing.append(f"Mixtures of {domain}: {error}")
                continue
            rates.add(mixtures.geometry.sample_rate)
            places = np.flatnonzero(self.evaluated.domain == domain)
            picked = (self.evaluated.si_sdr * self.evaluated.picked).sum(1)[places]
            chosen = at_ranks(picked.tolist(), count)
            tell(f"mixtures to listen to: {domain}, {len(chosen)} of {len(places)}")
            examples += [self._example(run, rank, int(places[place]), mixtures, models) for rank, place in chosen]
        if not examples:
            return None
        chosen_by = "Per domain, from best to worst by the SI-SDR of the picked model's output"
        return listening(examples, chosen_by, "SI-SDR of the estimate", max(rates), self._largest_difference)

    def _selection(self, run: Run) -> ModelSelection:
        paths = [str(lies_in(self.folder, str(path))) for path in run.setting("model", "checkpoints") or []]
        clusters = run.setting("model", "confidence_clusters", "refit")
        key = (*paths, clusters)
        if key not in self._selections:
            self._selections[key] = ModelSelection(paths, clusters).eval().to(self.device)
        return self._selections[key]

    def _example(self, run: Run, rank: str, place: int, mixtures: MixtureDataset, models: ModelSelection) -> Example:
        evaluated = self.evaluated
        domain, index = str(evaluated.domain[place]), int(evaluated.index[place])
        batch = mixtures.batch([index])
        found = self._select(run, models, batch)
        estimates = [in_best_order(of_model.float().cpu(), batch.sources)[0] for of_model in found["estimates"]]
        si_sdr, confidence = evaluated.si_sdr[place], evaluated.confidence[place]
        picked, oracle = int(evaluated.picked[place].argmax()), int(si_sdr.argmax())
        self._compare(batch, estimates, place)
        names = list(evaluated.models)
        colours = [variable(colour_of(name, names)) for name in names]
        badges = [
            " and ".join(word for word, of in (("picked", picked), ("best", oracle)) if of == number)
            for number in range(len(names))
        ]
        rate = mixtures.geometry.sample_rate
        gain = common_gain(batch.mixture, batch.sources, *estimates)
        pictures = Pictures(batch.mixture[0], mixtures.geometry)
        sources = []
        for source, truth in enumerate(batch.sources[0]):
            seen = pictures.spectrogram(truth), pictures.mask(truth)
            sounds = [Sound("true source", "currentColor", "", audio(truth, rate, gain), *seen)]
            for number, name in enumerate(names):
                estimate = estimates[number][source]
                sounds.append(
                    Sound(
                        f"{name} model",
                        colours[number],
                        f"{evaluated.source_si_sdr[place, number, source]:.1f} dB",
                        audio(estimate, rate, gain),
                        pictures.spectrogram(estimate),
                        pictures.mask(estimate),
                        badges[number],
                    )
                )
            sources.append((f"source {source + 1}", sounds))
        rows = [
            (f"{name} model", [Cell(f"{confidence[n]:.3f}"), Cell(f"{si_sdr[n]:.1f}"), Cell(badges[n])], colours[n])
            for n, name in enumerate(names)
        ]
        table = Table(f"Models on mixture {index}", ["model", "confidence", "SI-SDR, dB", ""], rows)
        of = [f"{names[number]} {si_sdr[number]:.1f} dB" for number in (picked, oracle)]
        heading = f"mixture {index}: picked {of[0]}, best {of[1]}"
        mixture = batch.mixture[0]
        heard = Sound("mixture", "currentColor", "", audio(mixture, rate, gain), pictures.spectrogram(mixture))
        return Example(domain, rank, heading, heard, None, table, sources)

    def _select(self, run: Run, models: ModelSelection, batch: Batch) -> Selection:
        with torch.inference_mode(), arithmetic(run.precision, self.device):
            return models.select(batch.mixture.to(self.device), batch.indices.to(self.device))

    def _compare(self, batch: Batch, estimates: Sequence[torch.Tensor], place: int) -> None:
        for number, found in enumerate(compare(batch.sources, [estimate[None] for estimate in estimates])):
            scores = found.si_sdr[0].diagonal().numpy()
            usable = ~found.silent[0].numpy()
            differences = np.abs(scores - self.evaluated.source_si_sdr[place, number])[usable]
            self._largest_difference = max(self._largest_difference, float(differences.max(initial=0)))
