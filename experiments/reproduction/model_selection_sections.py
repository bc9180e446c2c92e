"""What the model-selection paper's tables say, section by section, ours beside the published figures."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.sections import Section
from lightning_modules.scores.ensembles import Confusion, EnsembleScore, shares_of_the_way
from lightning_modules.scores.intervals import HOME, Correlation, Difference
from lightning_modules.scores.selection_rows import Evaluated

NAMES = {
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


def score_section(
    scores: Sequence[EnsembleScore], published: Mapping[tuple[str, str], float], evaluated: Evaluated
) -> Section:
    """SI-SDR of every ensemble by domain, ours and published."""
    domains = list(dict.fromkeys(score.domain for score in scores))
    rows = []
    for row in dict.fromkeys(score.row for score in scores):
        cells = [
            f"{score.mean:.1f} ± {score.std:.1f}{_bracket(published.get((row, score.domain)), '.1f')}"
            for score in scores
            if score.row == row
        ]
        rows.append([NAMES.get(row, f"{row} model" if row in evaluated.models else f"by {row}"), *cells])
    rows.append(["n", *(str(next(score.n for score in scores if score.domain == domain)) for domain in domains)])
    remarks = [
        "SI-SDR (the paper says SDR), mean over the sources. Mean ± standard deviation over mixtures, of random also "
        "over its choices; "
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


def share_section(
    scores: Sequence[EnsembleScore], published: Mapping[tuple[str, str], float], validation_mixtures: int
) -> Section:
    """How far confidence and its calibration come from random to oracle."""

    def share(row: str, domain: str) -> float | None:
        if (row, domain) not in published:
            return None
        random = published["random", domain]
        return (published[row, domain] - random) / (published["oracle", domain] - random)

    rows = [
        [
            NAMES[row],
            *(f"{_figure(own, '.2f')}{_bracket(share(row, domain), '.2f')}" for domain, own in shares.items()),
        ]
        for row, shares in ((row, shares_of_the_way(scores, row)) for row in ("confidence", "calibrated"))
    ]
    remarks = [
        "(row - random) / (oracle - random) of the means. With the mean of the published model rows for random the "
        "published shares would be 0.84 / 0.97 / 0.73.",
        f"The calibration is of {validation_mixtures} validation mixtures of all domains. Each model's checkpoint was "
        "chosen on its own domain's too: at home it expects a little too much.",
    ]
    return Section(
        "Share of the way from random to oracle", ["", *dict.fromkeys(score.domain for score in scores)], rows, remarks
    )


def difference_section(gains: Sequence[Difference]) -> Section:
    """What confidence gains over random, and calibration over confidence, with intervals."""
    rows = [
        [
            f"{NAMES[gain.row]} - {NAMES[gain.reference]}",
            gain.domain,
            f"{gain.mean:+.2f}",
            _interval(gain.low, gain.high, "+.2f"),
            str(gain.mixtures),
            str(gain.recordings),
        ]
        for gain in gains
    ]
    header = ["difference, dB", "domain", "mean", "95 % interval", "mixtures", "recordings"]
    return Section("What a choice gains", header, rows, ["Paired by mixture; intervals as below."])


def confusion_section(title: str, ours: Confusion, published: Mapping[tuple[str, str], int]) -> Section:
    """Picked models by true domain, with precision, recall and accuracy."""
    pairs = ours.by_pair()
    theirs = None
    if pairs.keys() <= published.keys():
        table = [[published[model, domain] for domain in ours.domains] for model in ours.models]
        theirs = Confusion(ours.models, ours.domains, np.array(table))
    precision, recall = ours.precision(), ours.recall()
    their_precision, their_recall = (theirs.precision(), theirs.recall()) if theirs else ({}, {})

    def ratio(values: Mapping[str, float], others: Mapping[str, float], name: str) -> str:
        return f"{_figure(values[name], '.1%')}{_bracket(others.get(name), '.1%')}" if name in values else ""

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


def correlation_section(correlated: Sequence[Correlation], published: Mapping[tuple[str, str, str], float]) -> Section:
    """Confidence with SI-SDR by domain, with intervals."""
    rows = [
        [
            line.domain,
            f"{line.domain} model" if line.models == HOME else "all models",
            line.coefficient.capitalize(),
            f"{_figure(line.value, '.2f')}{_bracket(published.get(line[:3]), '.2f')}",
            _interval(line.low, line.high, ".2f"),
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


def _figure(value: float, form: str) -> str:
    """A figure, or a dash for one that is not defined: too few points, constant ones, nothing to divide by."""
    return "–" if np.isnan(value) else f"{value:{form}}"


def _interval(low: float, high: float, form: str) -> str:
    return "–" if np.isnan(low) or np.isnan(high) else f"{low:{form}} to {high:{form}}"


def _bracket(published: float | None, form: str) -> str:
    return "" if published is None else f" [{published:{form}}]"
