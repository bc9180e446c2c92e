"""What a report says of a model selection: the paper's tables, confidence, calibration, embeddings."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from experiments.report import charts
from experiments.report.charts import BOXES, INK, colour_of, css_colour
from experiments.report.page import Charts
from experiments.report.run_folder import Run
from experiments.reproduction.model_selection_table import Findings, name_of, pick_tables, score_table
from experiments.tables import Table
from lightning_modules.errors import InputError
from lightning_modules.scores.figures import PALETTE, embedding_figure
from lightning_modules.scores.intervals import correlation, points
from lightning_modules.scores.selection_rows import Evaluated

ENSEMBLES = {"oracle": INK, "confidence": PALETTE[4], "calibrated": PALETTE[3]}


def model_colours(models: Sequence[str]) -> list[str]:
    """The colours of models, as CSS, in their order."""
    return [css_colour(colour_of(model, models)) for model in models]


def coloured_tables(found: Findings) -> tuple[Table, list[Table]]:
    """The paper's table of scores, and its tables of picks, with the colours of ensembles and models."""
    models = found.evaluated.models
    colours = {row: css_colour(colour) for row, colour in ENSEMBLES.items()}
    colours |= dict(zip(models, model_colours(models), strict=True))
    rows = [colours.get(row, "") for row in dict.fromkeys(score.row for score in found.scores)]
    picks = [replace(table, colours=[*model_colours(models), ""]) for table in pick_tables(found)]
    return replace(score_table(found), colours=[*rows, ""]), picks


def models_table(evaluated: Evaluated) -> Table:
    """The models on the mixtures of one selection run: SI-SDR, confidence, how often each was picked."""
    rows = [
        [
            f"{model} model",
            f"{si_sdr.mean():z.1f} ± {si_sdr.std():z.1f}",
            "" if model in evaluated.without_confidence else f"{np.nanmean(score):.3f}",
            f"{picked.mean():.0%}",
        ]
        for model, si_sdr, score, picked in zip(
            evaluated.models, evaluated.si_sdr.T, evaluated.confidence.T, evaluated.picked.T, strict=True
        )
    ]
    columns = ["", "SI-SDR, dB", "confidence", "picked"]
    notes = [f"Mean ± standard deviation over {len(evaluated.index)} mixtures."]
    colours = model_colours(evaluated.models)
    return Table("What they make of the mixtures", columns, rows, notes, colours=colours)


def distribution_charts(found: Findings) -> Charts:
    """Boxes of SI-SDR of the ensembles that choose, and of each model, by domain."""
    evaluated = found.evaluated
    models = evaluated.models
    names = {
        row: name_of(row, models).removeprefix("by ").removesuffix(" ensemble")
        for row in (*ENSEMBLES, *models)
        if row in found.probabilities
    }
    colours = {name: ENSEMBLES[row] if row in ENSEMBLES else colour_of(row, models) for row, name in names.items()}
    groups = {
        domain: {
            name: (found.probabilities[row][member] * evaluated.si_sdr[member]).sum(1) for row, name in names.items()
        }
        for domain in evaluated.domains
        if (member := evaluated.domain == domain).any()
    }
    caption = f"One value for each mixture, mean over its sources, n = {len(evaluated.index)}. {BOXES}"
    return Charts("How SI-SDR is distributed", charts.boxes(groups, colours, "SI-SDR"), caption)


def confidence_charts(evaluated: Evaluated) -> Charts:
    """Confidence against SI-SDR by domain, with the own model's regression line and correlation."""
    drawn = []
    for domain in evaluated.domains:
        if not (evaluated.domain == domain).any():
            continue
        title, alternative = domain, f"Confidence against SI-SDR in {domain}, coloured by model."
        _, confidence, si_sdr = points(evaluated, domain, domain)
        if np.isfinite(r := correlation(confidence, si_sdr)):
            title = f"{domain}: r = {r:.2f} (own model)"
            alternative += f" Pearson correlation of its own model's sources: {r:.2f}, n = {len(si_sdr)}."
        drawn.append(charts.confidence_chart(evaluated, domain, title, alternative))
    keys = [(f"{model} model", css_colour(colour_of(model, evaluated.models))) for model in evaluated.models]
    caption = (
        f"One point for each separated source under each model, n = {evaluated.source_si_sdr.size}, at most 500 of "
        "each model drawn in a panel. The line is the regression of SI-SDR on confidence for the domain's own model, "
        "r its Pearson correlation, over all its points."
    )
    return Charts("Confidence against SI-SDR", drawn, caption, keys)


def calibration_charts(found: Findings) -> Charts:
    """Every model's map from confidence to expected SI-SDR, beside what test mixtures had."""
    evaluated = found.evaluated
    drawn = [
        charts.calibration_chart(
            found.calibration.knots[model],
            evaluated.confidence[:, number],
            evaluated.si_sdr[:, number],
            colour_of(model, evaluated.models),
            f"{model} model",
        )
        for number, model in enumerate(evaluated.models)
        if model in found.calibration.knots
    ]
    caption = (
        f"Lines: expected SI-SDR, fitted on {found.calibrating} validation mixtures of all domains. Points: mean ± "
        f"standard deviation of a tenth each, by confidence, of n = {len(evaluated.index)} test mixtures."
    )
    return Charts("Calibration", drawn, caption)


def embedding_charts(runs: Sequence[Run]) -> Charts | None:
    """Pictures of embeddings from what the tests left, one for each mixture and model; None where there is none."""
    drawn, count = [], 0
    for path in (path for run in runs for path in sorted(run.folder.resolve().glob("embeddings/*.npz"))):
        index, _, model = path.stem.partition("-")
        title = f"{path.parts[-3]} mixture {index}, {model} model"
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                embedding, clusters, sources = (stored[name] for name in ("embedding", "clusters", "sources"))
            figure = embedding_figure(embedding, clusters, sources, title)
            agree, count = np.mean(clusters == sources), len(sources)
        except Exception:  # NumPy's reader raises anything at a damaged archive
            raise InputError(f"{path}: damaged; test the selection again") from None
        figure.set_size_inches(6.2, 3.6)
        alternative = f"Embedding of {title}: {agree:.0%} of the bins lie in the cluster of their dominant source."
        drawn.append(charts.inline_svg(figure, alternative))
    caption = (
        f"A mixture's loudest bins, {count} of them drawn at random, in the plane of their embeddings' two principal "
        "components. Left: the clusters that k-means finds; right: which source truly dominates each bin."
    )
    return Charts("The loudest bins", drawn, caption, layout="wide") if drawn else None
