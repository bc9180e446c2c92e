"""Mixtures to listen to, from the best to the worst, each with what every model makes of it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning import LightningModule
from markupsafe import Markup
from torch import Tensor

from experiments.report.charts import colour_of, css_colour, timeline_chart
from experiments.report.media import LOWEST_DB, Pictures, audio, common_gain, scale
from experiments.report.mixtures import arithmetic, estimates_of, mixtures_of, selection_of, separator_of
from experiments.report.model_selection import model_colours
from experiments.report.page import Example, Listening, Sound
from experiments.report.run_folder import Run
from experiments.report.weak_labels import system_name
from experiments.tables import Table, formatted
from lightning_modules.batch import Batch
from lightning_modules.batch_invariance import sigmoid
from lightning_modules.errors import InputError
from lightning_modules.scores import RESIDUAL
from lightning_modules.scores.rows import numbers, read_table, whole_numbers
from lightning_modules.scores.selection_rows import Evaluated
from lightning_modules.scores.summary import SCORE_COLUMNS
from lightning_modules.separation_scores import compare, in_best_order, score_separation, with_residual
from lightning_modules.spectrogram import Geometry, stft
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier

ShowLine = Callable[[str], None]
SAME_DB = 0.05  # what rows and estimates made again may differ by: a tenth, as it is shown


class Row(NamedTuple):
    """A class of a mixture: SI-SDR of mixture and estimate in dB, or why there is none."""

    before: float
    after: float
    left_out: str


class Sources(NamedTuple):
    """The true sources of a mixture or a model's estimates of them, [Q, T], and what is said of each."""

    title: str
    colour: str
    samples: Tensor
    said: Sequence[str]
    badge: str = ""


class ExampleOptions(NamedTuple):
    """How many mixtures are shown, and who gets a line on what is done next and on what is missing."""

    examples: int  # of each class or domain
    show: ShowLine
    missing: ShowLine


def separation_examples(
    runs: Sequence[Run], classes: Sequence[str], classifier: Run | None, options: ExampleOptions
) -> Listening:
    """Mixtures of every class that all these runs were tested on, by the improvement that frame labels bring to it."""
    mixtures = mixtures_of(runs[0])
    systems: dict[str, tuple[LightningModule, str]] = {}
    for run in runs:
        try:
            systems[run.name] = separator_of(run), run.precision
        except InputError as error:
            options.missing(f"Estimates of {system_name(run.name)}: {error}")
    if not systems:
        raise InputError("none of the separators can be loaded")
    event_classifier = None
    if classifier is not None:
        try:
            event_classifier = load_module(classifier.files.best, EventClassifier).eval()
        except InputError as error:
            options.missing(f"The classifier's probabilities: {error}")
    names = [*classes, RESIDUAL]
    shown = [label.replace("_", " ") for label in names]
    rows = {run.name: _read_rows(run) for run in runs if run.name in systems}
    by = next((name for name in ("frame", "clip", "strong") if name in systems), next(iter(systems)))
    examples, differences = [], [0.0]
    for place, label in enumerate(classes):
        gains = {
            index: row.after - row.before for (index, of), row in rows[by].items() if of == label and not row.left_out
        }
        chosen = at_ranks(list(gains.values()), options.examples)
        options.show(f"mixtures to listen to: {label}, {len(chosen)} of {len(gains)}")
        for rank, index in ((rank, list(gains)[number]) for rank, number in chosen):
            batch = mixtures.batch([index])
            of_mixture = {name: [of.get((index, label)) for label in names] for name, of in rows.items()}
            before = next(iter(of_mixture.values()))
            said = [f"mixture: {row.before:z.1f} dB" if row and row.before == row.before else "" for row in before]
            sources = [Sources("true source", "currentColor", batch.sources[0], said)]
            for name, (module, precision) in systems.items():
                whole, estimate, scored = with_residual(batch, estimates_of(module, batch, precision), classes)
                colour = css_colour(colour_of(name, list(systems)))
                sources.append(Sources(system_name(name), colour, estimate[0], [*map(_score, of_mixture[name])]))
                parts = whole.clip_labels, whole.indices, scored
                for score in score_separation(batch.mixture, batch.sources, estimate, *parts):
                    row = rows[name].get((index, score.label))
                    if row and not row.left_out and not score.left_out:
                        differences.append(abs(score.si_sdr - row.after))
            present = np.flatnonzero(whole.clip_labels[0]).tolist()
            present.sort(key=lambda source: source != place)  # the class that it is an example of comes first
            heading = f"mixture {index}: {shown[place]} {gains[index]:+z.1f} dB under {system_name(by)}"
            example = make_example(
                heading, batch, mixtures.geometry, {source: shown[source] for source in present}, sources
            )
            timeline = _timeline(heading, batch, event_classifier, shown[: len(classes)], mixtures.geometry.sample_rate)
            examples.append(example._replace(group=shown[place], rank=rank, timeline=timeline))
    chosen_by = f"Per class, from best to worst by its SI-SDR improvement under {system_name(by)}"
    scores = "SI-SDR, and in brackets its improvement over the mixture; below the true source the mixture's own"
    return listening(examples, chosen_by, scores, mixtures.geometry.sample_rate, max(differences))


def selection_examples(
    folder: Path, runs: Sequence[Run], evaluated: Evaluated, options: ExampleOptions
) -> Listening | None:
    """Mixtures of every domain, by the SI-SDR of the picked model; None where none can be made again."""
    names = evaluated.models
    titles, colours = [f"{name} model" for name in names], model_colours(names)
    examples, differences, rates = [], [0.0], [0]
    for run in runs:
        domain = str(run.tested("domain", run.name.rpartition("/")[2]))
        try:
            mixtures, models = mixtures_of(run), selection_of(run, folder)
        except InputError as error:
            options.missing(f"Mixtures of {domain}: {error}")
            continue
        rates.append(mixtures.geometry.sample_rate)
        places = np.flatnonzero(evaluated.domain == domain)
        chosen = at_ranks((evaluated.si_sdr * evaluated.picked).sum(1)[places].tolist(), options.examples)
        options.show(f"mixtures to listen to: {domain}, {len(chosen)} of {len(places)}")
        for rank, place in ((rank, int(places[number])) for rank, number in chosen):
            batch = mixtures.batch([int(evaluated.index[place])])
            with torch.inference_mode(), arithmetic(run.precision):
                found = models.select(batch.mixture, batch.indices)["estimates"]
            estimates = [in_best_order(of_model.float(), batch.sources) for of_model in found]
            scores, own = evaluated.source_si_sdr[place], evaluated.si_sdr[place]
            picked, best = int(evaluated.picked[place].argmax()), int(own.argmax())
            sources = [Sources("true source", "currentColor", batch.sources[0], [""] * scores.shape[1])]
            lines = []
            for number, compared in enumerate(compare(batch.sources, estimates)):
                badge = " and ".join(word for word, of in (("picked", picked), ("best", best)) if of == number)
                said = [f"{score:z.1f} dB" for score in scores[number]]
                sources.append(Sources(titles[number], colours[number], estimates[number][0], said, badge))
                lines.append(
                    [
                        titles[number],
                        formatted(evaluated.confidence[place, number], ".3f"),
                        f"{own[number]:z.1f}",
                        badge,
                    ]
                )
                differing = np.abs(compared.si_sdr[0].diagonal().numpy() - scores[number])
                differences += differing[~compared.silent[0].numpy()].tolist()
            heading = f"mixture {evaluated.index[place]}: picked {names[picked]} {own[picked]:z.1f} dB"
            heading += f", best {names[best]} {own[best]:z.1f} dB"
            title = f"Models on mixture {evaluated.index[place]}"
            table = Table(title, ["model", "confidence", "SI-SDR, dB", ""], lines, colours=colours)
            shown = {source: f"source {source + 1}" for source in range(scores.shape[1])}
            example = make_example(heading, batch, mixtures.geometry, shown, sources)
            examples.append(example._replace(group=domain, rank=rank, table=table))
    chosen_by = "Per domain, from best to worst by the SI-SDR of the picked model's output"
    shown_scores = "SI-SDR of the estimate"
    return listening(examples, chosen_by, shown_scores, max(rates), max(differences)) if examples else None


def at_ranks(scores: Sequence[float], count: int) -> list[tuple[str, int]]:
    """Places of so many scores, evenly spread from the highest to the lowest, each with its name.

    One is the median, two are the best and the worst, three all of these. Of equal scores the first comes first.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    shares = [0.5] if count == 1 else np.linspace(0, 1, count).tolist()
    names = {0.0: "best", 0.5: "median", 1.0: "worst"}
    places: dict[int, str] = {}
    for share in shares if len(order) else []:
        name = names.get(share, f"{100 * (1 - share):.0f}th percentile")
        places.setdefault(int(order[round(share * (len(order) - 1))]), name)
    return [(name, place) for place, name in places.items()]


def make_example(
    heading: str, batch: Batch, geometry: Geometry, names: Mapping[int, str], sources: Sequence[Sources]
) -> Example:
    """Sounds and pictures of the one mixture of a batch, and of its sources by name, true and estimated."""
    mixture = batch.mixture[0]
    gain = common_gain(mixture, *(of.samples for of in sources))
    pictures = Pictures(mixture, geometry)

    def played(samples: Tensor) -> tuple[str, str]:
        return audio(samples, geometry.sample_rate, gain), pictures.spectrogram(samples)

    def sound(of: Sources, place: int) -> Sound:
        samples = of.samples[place]
        return Sound(of.title, of.colour, of.said[place], *played(samples), pictures.mask(samples), of.badge)

    by_source = [(name, [sound(of, place) for of in sources]) for place, name in names.items()]
    return Example("", "", heading, Sound("mixture", "currentColor", "", *played(mixture)), by_source)


def listening(
    examples: Sequence[Example], chosen_by: str, scores: str, sample_rate: int, largest_difference: float
) -> Listening:
    """Mixtures to listen to; the rows on disk and the estimates made again differ by so many dB at most."""
    notes = [
        f"{chosen_by}, of all test mixtures with a score.",
        "All sounds of a mixture are played with the same gain, as MP3.",
        f"Spectrograms reach up to {sample_rate / 2000:g} kHz; 0 dB is the mixture's loudest bin. Below them effective "
        "masks: the magnitude of what is played over that of the mixture.",
        f"Below a player: {scores}.",
    ]
    if any(example.timeline for example in examples):
        notes.append(
            "Beside a mixture: bars where a class sounds; the line is the classifier's probability of it, from 0 to 1."
        )
    if largest_difference > SAME_DB:
        notes.append(
            f"These estimates score up to {largest_difference:.1f} dB otherwise than the rows on disk: the checkpoints "
            "or sounds are not those that were tested."
        )
    return Listening(
        "Mixtures, and what was made of them", examples, notes, scale("magma"), scale("cividis"), LOWEST_DB
    )


def _timeline(
    heading: str, batch: Batch, classifier: EventClassifier | None, classes: Sequence[str], sample_rate: int
) -> Markup | None:
    active = batch.frame_labels[0, : len(classes)].double().numpy()  # of the classes, without parents
    if "source 1" in classes:  # sources of pairs start together, at 0
        return None
    duration = batch.mixture.shape[-1] / sample_rate
    present = ", ".join(classes[place] for place in np.flatnonzero(active.any(1)).tolist())
    alternative = f"{heading}. When each class sounds: {present} in {duration:g} seconds."
    probability = None
    if classifier is not None:
        with torch.inference_mode():
            spectrogram = stft(batch.mixture, classifier.geometry).abs()
            probability = sigmoid(classifier(spectrogram))[0, : len(classes)].double().numpy()
        alternative += " The line is the classifier's probability of the class."
    return timeline_chart(active, probability, classes, duration, alternative)


def _read_rows(run: Run) -> dict[tuple[int, str], Row]:
    path = run.files.scores
    table = read_table(path, SCORE_COLUMNS)
    keys = zip(whole_numbers(path, table, "index").tolist(), table["class"], strict=True)
    scores = numbers(path, table, ["input_si_sdr_db", "si_sdr_db"]).tolist()
    return {key: Row(both[0], both[1], why) for key, both, why in zip(keys, scores, table["left_out"], strict=True)}


def _score(row: Row | None) -> str:
    if row is None:
        return "no score"
    if row.left_out:
        return f"no score: {row.left_out}"
    gain = round(row.after - row.before, 1) + 0.0  # no negative zero
    return f"{row.after:z.1f} dB ({gain:+z.1f})"
