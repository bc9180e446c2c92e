"""The tables of the model-selection paper, ours beside the published ones, from rows alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from callbacks.calibration import Calibration
from callbacks.correlation import HOME, Correlation, correlations
from callbacks.figures import confidence_figure
from callbacks.model_selection import (
    MEAN,
    Confusion,
    EnsembleScore,
    confusion,
    ensemble_scores,
    ensembles,
    shares_of_the_way,
)
from callbacks.rows import read_rows, write_rows
from callbacks.selection_rows import SELECTION_COLUMNS, Evaluated, read_evaluated
from experiments.model_selection_stages import DOMAINS
from experiments.sections import Section, markdown, terminal_table

PUBLISHED = Path(__file__).parent / "published"
TABLE_COLUMNS = ("row", "class", "mean_db", "std_db", "n", "published_mean_db")
CONFUSION_COLUMNS = ("picked", "domain", "count", "published_count")
_NAMES = {
    "oracle": "oracle ensemble",
    "confidence": "confidence ensemble",
    "random": "random ensemble (expectation)",
    "silhouette": "by silhouette alone",
    "posterior": "by posterior alone",
    "confidence_masks": "by confidence of the masks' clusters",
    "jensen_shannon": "by Jensen-Shannon divergence",
    "cluster_balance": "by cluster balance",
    "calibrated": "by calibrated confidence",
}


def make_tables(output: Path, note: str = "", names: Sequence[str] = DOMAINS) -> None:
    """Write table, confusion, correlation, calibration and scores .csv, table.md and confidence.png; print the tables.

    Args:
        output: folder of the reproduction; rows lie in `output`/selection/DOMAIN/scores.csv and validation_scores.csv.
        note: what the figures are of.
        names: of the domains.

    Raises:
        InputError: rows are missing, or do not fit together.
    """
    test, validation = (
        [output / "selection" / name / file for name in names] for file in ("scores.csv", "validation_scores.csv")
    )
    evaluated, calibrating = read_evaluated(test), read_evaluated(validation)
    calibration = Calibration.fit(calibrating)
    probabilities = ensembles(evaluated, calibration.expected(evaluated))
    scores = ensemble_scores(evaluated, probabilities)
    picks = {row: confusion(evaluated, probabilities[row]) for row in ("confidence", "calibrated")}
    correlated = correlations(evaluated)

    means, counts, coefficients = published_means(evaluated.domains), published_counts(), published_coefficients()
    write_rows(
        output / "scores.csv",
        SELECTION_COLUMNS,
        [[row[name] for name in SELECTION_COLUMNS] for path in test for row in read_rows(path)],
    )
    calibration.write(output / "calibration.csv")
    write_rows(
        output / "table.csv", TABLE_COLUMNS, [(*score, means.get((score.row, score.domain), "")) for score in scores]
    )
    write_rows(
        output / "confusion.csv",
        CONFUSION_COLUMNS,
        [(*pair, count, counts.get(pair, "")) for pair, count in picks["confidence"].by_pair().items()],
    )
    write_rows(
        output / "correlation.csv",
        (*Correlation._fields, "published"),
        [(*line, coefficients.get(line[:3], "")) for line in correlated],
    )
    confidence_figure(evaluated, note).savefig(output / "confidence.png")
    sections = [
        _score_section(scores, means, evaluated),
        _share_section(scores, means, len(calibrating.index)),
        _confusion_section("Picked by confidence", picks["confidence"], counts),
        _confusion_section("Picked by calibrated confidence", picks["calibrated"], {}),
        _correlation_section(correlated, coefficients),
    ]
    (output / "table.md").write_text("\n".join(filter(None, (note and f"{note}\n", *map(markdown, sections)))))
    console = Console(width=max(120, Console().width))
    for section in sections:
        console.print(terminal_table(section))
    if note:
        console.print(note, markup=False)


def published_means(domains: Sequence[str]) -> dict[tuple[str, str], float]:
    """Mean SDR in dB by (row, domain); for rows that have all the domains also their `mean`, which the paper omits."""
    published = {
        (line["row"], line["class"]): float(line["mean_db"]) for line in read_rows(PUBLISHED / "model_selection.csv")
    }
    for row in dict.fromkeys(row for row, _ in published):
        if all((row, domain) in published for domain in domains):
            published[row, MEAN] = float(np.mean([published[row, domain] for domain in domains]))
    return published


def published_counts() -> dict[tuple[str, str], int]:
    """Number of mixtures by (picked model, true domain)."""
    lines = read_rows(PUBLISHED / "model_selection_confusion.csv")
    return {(line["picked"], line["domain"]): int(line["count"]) for line in lines}


def published_coefficients() -> dict[tuple[str, str, str], float]:
    """Correlation of confidence with SDR by (domain, models, coefficient)."""
    lines = read_rows(PUBLISHED / "model_selection_correlation.csv")
    return {(line["domain"], HOME, line["coefficient"]): float(line["value"]) for line in lines}


def _score_section(
    scores: Sequence[EnsembleScore], published: Mapping[tuple[str, str], float], evaluated: Evaluated
) -> Section:
    domains = list(dict.fromkeys(score.domain for score in scores))
    rows = []
    for row in dict.fromkeys(score.row for score in scores):
        cells = [
            f"{score.mean:.1f} ± {score.std:.1f}{_bracket(published.get((row, score.domain)), '.1f')}"
            for score in scores
            if score.row == row
        ]
        rows.append([_NAMES.get(row, f"{row} model"), *cells])
    rows.append(["n", *(str(next(score.n for score in scores if score.domain == domain)) for domain in domains)])
    remarks = [
        "SI-SDR, mean over the sources. Mean ± standard deviation over mixtures, of random also over its choices; "
        "`mean`: domains count alike.",
        "In brackets the published figures (DCASE 2020) and, under `mean`, their mean. The published random row "
        "(4.8 / 4.2 / 2.8) is not the mean of the published model rows (3.9 / 3.4 / 5.8); ours is, exactly.",
    ]
    remarks += [
        f"Left out of {domain}: {count} mixtures ({reason}), for all rows."
        for (domain, reason), count in evaluated.left_out.items()
    ]
    remarks += [
        f"{domain}: {count} silent estimates of the {model} model, scored as the worst of the unprocessed mixture and "
        "all models' other estimates of the source."
        for (domain, model), count in evaluated.silent_estimates.items()
    ]
    return Section("SI-SDR, dB", ["dB", *domains], rows, remarks)


def _share_section(
    scores: Sequence[EnsembleScore], published: Mapping[tuple[str, str], float], validation_mixtures: int
) -> Section:
    def share(row: str, domain: str) -> float | None:
        if (row, domain) not in published:
            return None
        random = published["random", domain]
        return (published[row, domain] - random) / (published["oracle", domain] - random)

    rows = [
        [_NAMES[row], *(f"{own:.2f}{_bracket(share(row, domain), '.2f')}" for domain, own in shares.items())]
        for row, shares in ((row, shares_of_the_way(scores, row)) for row in ("confidence", "calibrated"))
    ]
    remarks = [
        "(row - random) / (oracle - random) of the means. With the mean of the published model rows for random the "
        "published shares would be 0.84 / 0.97 / 0.73.",
        f"The calibration is of {validation_mixtures} validation mixtures of all domains.",
    ]
    return Section(
        "Share of the way from random to oracle", ["", *dict.fromkeys(score.domain for score in scores)], rows, remarks
    )


def _confusion_section(title: str, ours: Confusion, published: Mapping[tuple[str, str], int]) -> Section:
    pairs = ours.by_pair()
    theirs = None
    if pairs.keys() <= published.keys():
        table = [[published[model, domain] for domain in ours.domains] for model in ours.models]
        theirs = Confusion(ours.models, ours.domains, np.array(table))
    precision, recall = ours.precision(), ours.recall()
    their_precision, their_recall = (theirs.precision(), theirs.recall()) if theirs else ({}, {})

    def ratio(values: Mapping[str, float], others: Mapping[str, float], name: str) -> str:
        return f"{values[name]:.1%}{_bracket(others.get(name), '.1%')}" if name in values else ""

    rows = []
    for model in ours.models:
        cells = [f"{pairs[model, domain]}{_bracket(published.get((model, domain)), 'd')}" for domain in ours.domains]
        rows.append([f"{model} model", *cells, ratio(precision, their_precision, model)])
    rows.append(["recall", *(ratio(recall, their_recall, domain) for domain in ours.domains), ""])
    header = ["picked \\ true", *ours.domains, "precision"]
    if np.isnan(ours.accuracy()):
        return Section(title, header, rows)
    return Section(
        title, header, rows, [f"Accuracy {ours.accuracy():.1%}{_bracket(theirs and theirs.accuracy(), '.1%')}."]
    )


def _correlation_section(correlated: Sequence[Correlation], published: Mapping[tuple[str, str, str], float]) -> Section:
    rows = [
        [
            line.domain,
            f"{line.domain} model" if line.models == HOME else "all models",
            line.coefficient.capitalize(),
            f"{line.value:.2f}{_bracket(published.get(line[:3]), '.2f')}",
            f"{line.low:.2f} to {line.high:.2f}",
            str(line.points),
            str(line.recordings),
        ]
        for line in correlated
    ]
    remarks = [
        "One point per separated source. 95 % intervals: pigeonhole bootstrap by recording. The paper does not say of "
        "which models' outputs its figures are; they stand beside those of the domain's own model.",
    ]
    remarks += [
        f"{line.domain}, {line.models} models, {line.coefficient}: {line.skipped} draws had too few points or constant "
        "ones and were skipped."
        for line in correlated
        if line.skipped
    ]
    header = ["domain", "outputs of", "coefficient", "r", "95 % interval", "sources", "recordings"]
    return Section("Correlation of confidence with SI-SDR", header, rows, remarks)


def _bracket(published: float | None, form: str) -> str:
    return "" if published is None else f" [{published:{form}}]"
