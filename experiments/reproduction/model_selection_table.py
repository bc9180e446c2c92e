"""The tables of the model-selection paper, ours beside the published ones, from rows alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.reproduction.sources import DOMAINS
from experiments.tables import Cell, Table, formatted, table_console
from lightning_modules.atomic_file import write_text_atomically
from lightning_modules.run_files import RunFiles
from lightning_modules.scores.calibration import Calibration
from lightning_modules.scores.ensembles import (
    MEAN,
    Confusion,
    EnsembleScore,
    confusion,
    ensemble_scores,
    recovered_shares,
)
from lightning_modules.scores.expected_si_sdr import EXPECTED_FROM
from lightning_modules.scores.figures import confidence_figure, write_figure
from lightning_modules.scores.fitted_ensembles import FittedEnsembles
from lightning_modules.scores.intervals import OWN_MODEL, Correlation, Difference, correlations, differences
from lightning_modules.scores.programmes import WHOLE
from lightning_modules.scores.rows import Floats, read_table, write_rows
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, Evaluated, read_evaluated

PUBLISHED = Path(__file__).parents[1] / "published"
TABLE_COLUMNS = ("row", "class", "mean_db", "std_db", "n", "published_mean_db")
CONFUSION_COLUMNS = ("picked", "domain", "count", "published_count")
SOURCE = "DCASE 2020"
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
    "standardised": "by standardised confidence",
    "standardised_masks": "by standardised confidence of the masks' clusters",
    "expected": "by SI-SDR expected from all scores",
    "expected_signals": "by SI-SDR expected from the signals",
    "expected_both": "by SI-SDR expected from scores and signals",
    WHOLE: "by confidence in the whole recording",
}
# Rows whose picks and share of the way from random to oracle have tables.
PICKS = ("confidence", "standardised", "standardised_masks", "calibrated", *EXPECTED_FROM)


def make_tables(output: Path, note: str = "", names: Sequence[str] = tuple(DOMAINS), compared: bool = True) -> None:
    """Write all tables as CSV, table.md and confidence.png from the rows; print the tables.

    Args:
        output: folder of the reproduction; rows lie in `output`/selection/DOMAIN/scores.csv and validation_scores.csv.
        note: above the tables.
        names: of the domains.
        compared: whether the published figures stand beside.

    Raises:
        InputError: rows are missing, or do not fit together.
    """
    found, files = read_findings(output, names, compared), RunFiles(output)
    means, counts, coefficients = found.published
    pooled = [read_table(files.selection(name).scores)[list(SELECTION_COLUMNS)] for name in names]
    write_rows(files.scores, SELECTION_COLUMNS, pd.concat(pooled).to_numpy())
    found.calibration.write(files.calibration)
    cells = [(*score, means.get((score.row, score.domain), "")) for score in found.scores]
    write_rows(files.table, TABLE_COLUMNS, cells)
    pairs = [(*pair, count, counts.get(pair, "")) for pair, count in found.picks["confidence"].by_pair().items()]
    write_rows(files.confusion, CONFUSION_COLUMNS, pairs)
    lines = [(*_defined(line), coefficients.get(line[:3], "")) for line in found.correlated]
    write_rows(files.correlation, (*Correlation._fields, "published"), lines)
    write_rows(files.differences, Difference._fields, map(_defined, found.gains))
    write_figure(files.confidence, confidence_figure(found.evaluated, note))
    shares, gains, *correlated = further_tables(found)
    tables = [score_table(found), shares, gains, *pick_tables(found), *correlated]
    texts = [note and f"{note}\n", *(table.markdown() for table in tables)]
    write_text_atomically(files.table_text, "\n".join(filter(None, texts)))
    console = table_console()
    console.print(*tables)
    console.print(note, markup=False)


class Published(NamedTuple):
    """The paper's figures; of other models than its three none of what is picked among them."""

    means: dict[tuple[str, str], float]
    counts: dict[tuple[str, str], int]
    coefficients: dict[tuple[str, str, str], float]


@dataclass(frozen=True)
class Findings:
    """What the rows of a reproduction say, of N mixtures and M models."""

    evaluated: Evaluated  # test mixtures of all domains
    calibration: Calibration  # fitted on the validation mixtures
    calibrating: int  # number of these
    probabilities: dict[str, Floats]  # of each model's output in each ensemble, [N, M]
    scores: list[EnsembleScore]
    picks: dict[str, Confusion]  # of those of PICKS that there are
    gains: list[Difference]
    correlated: list[Correlation]
    of_signals: list[Correlation]  # of the SI-SDR that the signals let expect; none of rows without their features
    published: Published

    @property
    def domains(self) -> list[str]:
        """Those that have a score, and their mean."""
        return list(dict.fromkeys(score.domain for score in self.scores))


def read_findings(output: Path, names: Sequence[str] = tuple(DOMAINS), compared: bool = True) -> Findings:
    """Evaluate the rows in `output`/selection/DOMAIN/scores.csv and validation_scores.csv; see `make_tables`."""
    selections = [RunFiles(output).selection(name) for name in names]
    evaluated = read_evaluated([files.scores for files in selections])
    calibrating = read_evaluated([files.validation_scores for files in selections])
    fitted = FittedEnsembles.fit(calibrating)
    probabilities = fitted.probabilities(evaluated)
    of_signals: list[Correlation] = []
    if "expected_signals" in probabilities:
        expected = fitted.expected["expected_signals"].expected(evaluated)
        of_signals = correlations(evaluated, score=expected, coefficients=["pearson"])
    published = Published(published_means(evaluated.domains), published_counts(), published_coefficients())
    if set(evaluated.models) != set(DOMAINS):  # what is picked depends on what there is to pick
        own = {key: mean for key, mean in published.means.items() if key[0] in evaluated.models}
        published = Published(own, {}, published.coefficients)
    return Findings(
        evaluated,
        fitted.calibration,
        len(calibrating.index),
        probabilities,
        ensemble_scores(evaluated, probabilities),
        {row: confusion(evaluated, probabilities[row]) for row in PICKS if row in probabilities},
        differences(evaluated, probabilities),
        correlations(evaluated),
        of_signals,
        published if compared else Published({}, {}, {}),
    )


def score_table(found: Findings) -> Table:
    """SI-SDR of every ensemble and model by domain, beside the published figures."""
    evaluated, published = found.evaluated, found.published.means
    rows: dict[str, list[str | Cell]] = {}
    for score in found.scores:
        theirs = published.get((score.row, score.domain))
        beside = (f"{theirs:z.1f}", round(score.mean, 1) - round(theirs, 1)) if theirs is not None else ()
        cells = rows.setdefault(score.row, [name_of(score.row, evaluated.models)])
        cells.append(Cell(f"{score.mean:z.1f} ± {score.std:z.1f}", *beside))
    mixtures: list[str | Cell] = ["n", *({score.domain: str(score.n) for score in found.scores}.values())]
    notes = [
        "SI-SDR (the paper says SDR), mean over the sources. Mean ± standard deviation over mixtures, of random also "
        "over its choices; `mean`: domains count alike.",
    ]
    if ("random", found.domains[0]) in published:
        notes.append(
            f"In brackets the published figures ({SOURCE}) and, under `mean`, their mean. The published random row "
            "(4.8 / 4.2 / 2.8) is not the mean of the published model rows (3.9 / 3.4 / 5.8); ours is, exactly."
        )
    for model in evaluated.without_confidence:
        notes.append(f"The {model} model has no confidence: rows that need it choose among the others.")
    for (domain, reason), count in evaluated.left_out.items():
        notes.append(f"Left out of {domain}: {count} mixtures ({reason}), for all rows.")
    for (domain, model), count in evaluated.silent_estimates.items():
        notes.append(
            f"{domain}: {count} silent estimates of the {model} model, scored as the worst of the unprocessed mixture "
            "and all models' other estimates of the source."
        )
    return Table("SI-SDR, dB", ["dB", *found.domains], [*rows.values(), mixtures], notes, source=SOURCE)


def name_of(row: str, models: Sequence[str]) -> str:
    """What an ensemble or a model is called."""
    return NAMES.get(row, f"{row} model" if row in models else f"by {row}")


def further_tables(found: Findings) -> list[Table]:
    """Shares of the way from random to oracle, what a choice gains, and correlations."""
    tables = [share_table(found), difference_table(found.gains)]
    tables.append(correlation_table(found.correlated, found.published.coefficients))
    if found.of_signals:
        tables.append(correlation_table(found.of_signals, {}, "SI-SDR expected from the signals"))
    return tables


def share_table(found: Findings) -> Table:
    """How far confidence and its calibration come from random to oracle."""
    papers = [EnsembleScore(row, domain, mean, 0, 0) for (row, domain), mean in found.published.means.items()]
    published: dict[str, dict[str, float]] = {row: {} for row in found.picks}
    published |= {"confidence": recovered_shares(papers, "confidence")}
    rows: list[list[str | Cell]] = []
    for row, theirs in published.items():
        shares = recovered_shares(found.scores, row)
        rows.append([NAMES[row], *(_beside(share, theirs.get(domain), ".2f") for domain, share in shares.items())])
    of_paper = " With the mean of the published model rows for random the published shares would be 0.84 / 0.97 / 0.73."
    beside_paper = any(domain in published["confidence"] for domain in found.domains)
    notes = [
        f"(row - random) / (oracle - random) of the means.{of_paper if beside_paper else ''}",
        f"The calibration is of {found.calibrating} validation mixtures of all domains. Each model's checkpoint was "
        "chosen on its own domain's too, where it overestimates SI-SDR a little. Standardised: a model's confidence in "
        "deviations from its mean on its own domain's validation mixtures, of which no score is used. Expected from "
        "all scores: by a random forest per model, fitted on the mixtures that calibrate.",
    ]
    return Table("Share of the way from random to oracle", ["", *found.domains], rows, notes)


def difference_table(gains: Sequence[Difference]) -> Table:
    """What confidence gains over random, and calibration over confidence, with intervals."""
    rows = [
        [
            f"{NAMES[gain.row]} - {NAMES[gain.reference]}",
            gain.domain,
            f"{gain.mean:+.2f}",
            interval(gain.low, gain.high, "+.2f"),
            str(gain.mixtures),
            str(gain.recordings),
        ]
        for gain in gains
    ]
    columns = ["difference, dB", "domain", "mean", "95 % interval", "mixtures", "recordings"]
    return Table("Gain between ensembles", columns, rows, ["Paired by mixture; intervals as below."], texts=2)


def pick_tables(found: Findings) -> list[Table]:
    """Picked models by true domain: by confidence, beside the published counts, and by others of PICKS."""
    titles = {row: NAMES[row] for row in found.picks} | {"confidence": "by confidence"}
    published = {"confidence": found.published.counts}
    return [confusion_table(f"Picked {titles[row]}", of, published.get(row, {})) for row, of in found.picks.items()]


def confusion_table(title: str, ours: Confusion, published: Mapping[tuple[str, str], int]) -> Table:
    """Picked models by true domain, with precision, recall and accuracy."""
    theirs = None
    if ours.by_pair().keys() == published.keys():  # ratios of other models or domains are others
        counts = [[published[model, domain] for domain in ours.domains] for model in ours.models]
        theirs = Confusion(ours.models, ours.domains, np.array(counts))

    def ratio(kind: str, name: str) -> Cell:
        own, papers = (getattr(of, kind)() if of else {} for of in (ours, theirs))
        return _beside(own[name], papers.get(name), ".1%") if name in own else Cell("")

    totals = dict(zip(ours.domains, ours.counts.sum(0).tolist(), strict=True))
    rows: dict[str, list[str | Cell]] = {model: [f"{model} model"] for model in ours.models}
    for (model, domain), n in ours.by_pair().items():
        share = n / totals[domain] if totals[domain] else 0.0
        rows[model].append(Cell(str(n), str(published.get((model, domain), "")), share=share))
    for model, cells in rows.items():
        cells.append(ratio("precision", model))
    recall: list[str | Cell] = ["recall", *(ratio("recall", domain) for domain in ours.domains), ""]
    notes = []
    if not np.isnan(ours.accuracy()):
        notes = [f"Accuracy {_beside(ours.accuracy(), theirs and theirs.accuracy(), '.1%').lines(' ')}."]
    return Table(title, ["picked \\ true", *ours.domains, "precision"], [*rows.values(), recall], notes, source=SOURCE)


def correlation_table(
    correlated: Sequence[Correlation], published: Mapping[tuple[str, str, str], float], score: str = "confidence"
) -> Table:
    """Confidence, or another score, with SI-SDR by domain, with intervals, beside the published coefficients."""
    rows: list[list[str | Cell]] = [
        [
            line.domain,
            f"{line.domain} model" if line.models == OWN_MODEL else "all models",
            line.coefficient.capitalize(),
            _beside(line.value, published.get(line[:3]), ".2f"),
            interval(line.low, line.high, ".2f"),
            str(line.points),
            str(line.recordings),
        ]
        for line in correlated
    ]
    notes = ["One point per separated source. 95 % intervals: pigeonhole bootstrap by recording."]
    if score == "confidence":
        notes[0] += (
            " The paper does not say of which models' outputs its figures are; they stand beside those of the domain's "
            "own model."
        )
    notes += [
        f"{line.domain}, {line.models} models, {line.coefficient}: {line.skipped} draws had too few points or constant "
        "ones and were skipped."
        for line in correlated
        if line.skipped
    ]
    columns = ["domain", "outputs of", "coefficient", "r", "95 % interval", "sources", "recordings"]
    return Table(f"Correlation of {score} with SI-SDR", columns, rows, notes, texts=3)


def _beside(ours: float, published: float | None, form: str) -> Cell:
    return Cell(formatted(ours, form), "" if published is None else f"{published:{form}}")


def interval(low: float, high: float, form: str) -> str:
    """An interval as text."""
    return "–" if np.isnan(low) or np.isnan(high) else f"{low:{form}} to {high:{form}}"


def _defined(row: Iterable[Any]) -> list[Any]:
    """A row of a table, its cell empty where a figure is not defined."""
    return ["" if value != value else value for value in row]


def published_means(domains: Sequence[str]) -> dict[tuple[str, str], float]:
    """Mean SDR in dB by (row, domain); for rows that have all the domains also their `mean`, which the paper omits."""
    published = _published("model_selection")
    for row in {row for row, _ in published}:
        if all((row, domain) in published for domain in domains):
            published[row, MEAN] = float(np.mean([published[row, domain] for domain in domains]))
    return published


def published_counts() -> dict[tuple[str, str], int]:
    """Number of mixtures by (picked model, true domain)."""
    return _published("model_selection_confusion")


def published_coefficients() -> dict[tuple[str, str, str], float]:
    """Correlation of confidence with SDR by (domain, models, coefficient)."""
    published = _published("model_selection_correlation")
    return {(domain, OWN_MODEL, coefficient): value for (domain, coefficient), value in published.items()}


def _published(table: str) -> dict[Any, Any]:
    """The last column of a published table by the values of the others."""
    *keys, figure = (columns := pd.read_csv(PUBLISHED / f"{table}.csv"))
    return columns.set_index(keys)[figure].to_dict()
