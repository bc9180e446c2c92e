"""What a report says of a model selection: the paper's tables, confidence, calibration, embeddings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from experiments.report.charts import box_chart, box_limits, calibration_chart, confidence_chart
from experiments.report.drawing import INK, Drawings, colour_of, variable
from experiments.report.page import Cell, Charts, Table, table_of
from experiments.report.run_folder import Run
from experiments.reproduction.model_selection_sections import NAMES, score_section
from experiments.reproduction.model_selection_table import Findings, further_sections, published_counts, published_means
from lightning_modules.errors import InputError
from lightning_modules.scores.ensembles import Confusion
from lightning_modules.scores.figures import PALETTE, embedding_figure
from lightning_modules.scores.intervals import correlation, points
from lightning_modules.scores.selection_rows import Evaluated

ENSEMBLES = {"oracle": INK, "confidence": PALETTE[4], "calibrated": PALETTE[3]}


def score_table(found: Findings) -> Table:
    """SI-SDR of every ensemble and model by domain, ours beside the published figures, the difference marked."""
    published = published_means(found.evaluated.domains)
    section = score_section(found.scores, published, found.evaluated)
    scores = {(score.row, score.domain): score for score in found.scores}
    domains = list(dict.fromkeys(score.domain for score in found.scores))
    models = list(found.evaluated.models)
    rows = []
    for row in dict.fromkeys(score.row for score in found.scores):
        cells = []
        for domain in domains:
            score, theirs = scores[row, domain], published.get((row, domain))
            ours = f"{score.mean:.1f} ± {score.std:.1f}"
            cells.append(
                Cell(ours) if theirs is None else Cell(ours, f"{theirs:.1f}", round(score.mean, 1) - round(theirs, 1))
            )
        colour = (
            variable(colour_of(row, models)) if row in models else variable(ENSEMBLES[row]) if row in ENSEMBLES else ""
        )
        rows.append((NAMES.get(row, f"{row} model"), cells, colour))
    heading, *counts = section.rows[-1]
    rows.append((heading, [Cell(count) for count in counts], ""))
    remarks = [remark.replace("In brackets the", "Below ours the") for remark in section.remarks]
    return Table("SI-SDR in dB", section.header, rows, remarks, "DCASE 2020")


def confusion_table(
    title: str, ours: Confusion, published: Mapping[tuple[str, str], int], colours: Sequence[str]
) -> Table:
    """Picked models by true domain; a cell is shaded by its share of the domain's mixtures."""
    totals = {domain: int(count) for domain, count in zip(ours.domains, ours.counts.sum(0), strict=True)}
    theirs = {domain: sum(n for (_, of), n in published.items() if of == domain) for domain in ours.domains}
    known = ours.by_pair().keys() <= published.keys()
    precision, recall = ours.precision(), ours.recall()
    rows = []
    for model, colour in zip(ours.models, colours, strict=True):
        cells = []
        for domain in ours.domains:
            count = ours.by_pair()[model, domain]
            share = count / totals[domain] if totals[domain] else 0.0
            text = f"{count} ({share:.0%})"
            if known and theirs[domain]:
                their_share = published[model, domain] / theirs[domain]
                percent = 100 * (share - their_share)
                shown = f"{published[model, domain]} ({their_share:.0%})"
                # Only where domain and model agree is more better.
                cells.append(Cell(text, shown, percent, "points", model == domain, share))
            else:
                cells.append(Cell(text, share=share))
        rows.append((f"{model} model", [*cells, Cell(_percent(precision.get(model)))], colour))
    rows.append(("recall", [*(Cell(_percent(recall.get(domain))) for domain in ours.domains), Cell("")], ""))
    remarks = ["Mixtures, and their share of the true domain's."]
    if not np.isnan(ours.accuracy()):
        remarks.append(f"Accuracy {ours.accuracy():.1%}, n = {int(ours.counts.sum())}.")
    return Table(title, ["picked \\ true", *ours.domains, "precision"], rows, remarks, "DCASE 2020" if known else "")


def _percent(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.1%}"


def models_table(evaluated: Evaluated) -> Table:
    """The models on the mixtures of one selection run: SI-SDR, confidence, how often each was picked."""
    names = list(evaluated.models)
    rows = []
    for number, model in enumerate(names):
        si_sdr, confidence = evaluated.si_sdr[:, number], evaluated.confidence[:, number]
        picked = evaluated.picked[:, number]
        texts = (f"{si_sdr.mean():.1f} ± {si_sdr.std():.1f}", f"{np.nanmean(confidence):.3f}", f"{picked.mean():.0%}")
        rows.append((f"{model} model", [Cell(text) for text in texts], variable(colour_of(model, names))))
    remark = f"Mean ± standard deviation over {len(evaluated.index)} mixtures."
    return Table("What they make of the mixtures", ["", "SI-SDR, dB", "confidence", "picked"], rows, [remark])


def further_tables(found: Findings) -> list[Table]:
    """The shares of the way to the oracle, what a choice gains, and correlations."""
    shares, gains, *_, correlated = further_sections(found)
    return [table_of(section) for section in (shares, gains, correlated)]


def confusion_tables(found: Findings) -> list[Table]:
    """Picked by confidence, beside the published counts, and picked by calibrated confidence."""
    colours = [variable(colour_of(model, list(found.evaluated.models))) for model in found.evaluated.models]
    return [
        confusion_table("Picked by confidence", found.picks["confidence"], published_counts(), colours),
        confusion_table("Picked by calibrated confidence", found.picks["calibrated"], {}, colours),
    ]


def distribution_charts(found: Findings, drawings: Drawings) -> Charts:
    """Boxes of SI-SDR of the ensembles that choose, and of each model, by domain."""
    evaluated = found.evaluated
    models = list(evaluated.models)
    rows = [row for row in (*ENSEMBLES, *models) if row in found.probabilities]
    colours = {row: ENSEMBLES.get(row, PALETTE[0]) if row not in models else colour_of(row, models) for row in rows}
    names = {row: NAMES.get(row, f"{row} model").removeprefix("by ").removesuffix(" ensemble") for row in rows}
    by_domain = {
        domain: {row: (found.probabilities[row][member] * evaluated.si_sdr[member]).sum(1) for row in rows}
        for domain in evaluated.domains
        if (member := evaluated.domain == domain).any()
    }
    limits = box_limits(scores for values in by_domain.values() for scores in values.values())
    charts = []
    for domain, values in by_domain.items():
        medians = ", ".join(f"{names[row]} {np.median(scores):.1f}" for row, scores in values.items())
        figure = box_chart(values, limits, colours, names, "SI-SDR, mean over sources (dB)", domain)
        charts.append(drawings.chart(figure, f"SI-SDR in {domain} in dB; medians: {medians}."))
    caption = (
        f"One value for each mixture, n = {len(evaluated.index)}. Box: quartiles; line: median; diamond: mean; "
        "whiskers: 5th and 95th percentile; in brackets n."
    )
    return Charts("How SI-SDR is distributed", charts, caption)


def confidence_charts(evaluated: Evaluated, drawings: Drawings) -> Charts:
    """Confidence against SI-SDR by domain, with the own model's regression line and correlation."""
    charts = []
    for domain in evaluated.domains:
        if not (evaluated.domain == domain).any():
            continue
        title, alternative = domain, f"Confidence against SI-SDR in {domain}, coloured by model."
        if domain in evaluated.models:
            _, confidence, si_sdr = points(evaluated, domain, domain)
            r = correlation(confidence, si_sdr)
            title = f"{domain}: r = {r:.2f} (own model)"
            alternative += f" Pearson correlation of its own model's sources: {r:.2f}, n = {len(si_sdr)}."
        charts.append(drawings.chart(confidence_chart(evaluated, domain, title), alternative))
    names = list(evaluated.models)
    keys = [(f"{model} model", variable(colour_of(model, names))) for model in names]
    sources = evaluated.source_si_sdr.size
    caption = (
        f"One point for each separated source under each model, n = {sources}, at most 500 of each model drawn in a "
        "panel. The line is the regression of SI-SDR on confidence for the domain's own model, r its Pearson "
        "correlation, over all its points."
    )
    return Charts("Confidence against SI-SDR", charts, caption, keys)


def calibration_charts(found: Findings, drawings: Drawings) -> Charts:
    """Every model's map from confidence to expected SI-SDR, beside what test mixtures had."""
    evaluated = found.evaluated
    models = list(evaluated.models)
    charts = []
    for number, model in enumerate(models):
        knots = found.calibration.knots[model]
        title = f"{model} model"
        alternative = (
            f"Calibration of the {model} model: expected SI-SDR rises from {knots[1][0]:.1f} to {knots[1][-1]:.1f} dB "
            f"over confidences {knots[0][0]:.3f} to {knots[0][-1]:.3f}."
        )
        figure = calibration_chart(
            knots, evaluated.confidence[:, number], evaluated.si_sdr[:, number], colour_of(model, models), title
        )
        charts.append(drawings.chart(figure, alternative))
    caption = (
        f"Lines: expected SI-SDR, fitted on {found.calibrating} validation mixtures of all domains. Points: mean ± "
        f"standard deviation of a tenth each, by confidence, of n = {len(evaluated.index)} test mixtures."
    )
    return Charts("Calibration", charts, caption)


def embedding_charts(runs: Sequence[Run], drawings: Drawings) -> Charts | None:
    """Pictures of embeddings from what the tests left, one for each mixture and model; None where there is none.

    Raises:
        InputError: a file is damaged.
    """
    charts = []
    count = 0
    for run in runs:
        for path in sorted(run.folder.glob("embeddings/*.npz")):
            index, _, model = path.stem.partition("-")
            count, chart = _embedding(path, f"{run.name.rpartition('/')[2]} mixture {index}, {model} model", drawings)
            charts.append(chart)
    if not charts:
        return None
    caption = (
        f"A mixture's loudest bins, {count} of them drawn at random, in the plane of their embeddings' two principal "
        "components. Left: the clusters that k-means finds; right: which source truly dominates each bin."
    )
    return Charts("The loudest bins", charts, caption, layout="wide")


def _embedding(path: Path, title: str, drawings: Drawings) -> tuple[int, Markup]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            embedding, clusters, sources = (stored[name] for name in ("embedding", "clusters", "sources"))
        agree = float(np.mean(clusters == sources)) if len(sources) else 0.0
        figure = embedding_figure(embedding, clusters, sources, title)
    except Exception:  # NumPy's reader raises whatever a damaged archive leads it to
        raise InputError(f"{path}: damaged; test the selection again") from None
    figure.set_size_inches(6.2, 3.6)
    alternative = f"Embedding of {title}: {agree:.0%} of the bins shown lie in the cluster of their dominant source."
    return len(sources), drawings.chart(figure, alternative)
