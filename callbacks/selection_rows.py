"""Rows of a model-selection evaluation: every model's separation of every mixture, as arrays.

N mixtures, M models, Q sources.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from callbacks.rows import read_rows
from lightning_modules.errors import InputError

MEASURES = (
    "silhouette",
    "posterior",
    "confidence",
    "silhouette_masks",
    "posterior_masks",
    "confidence_masks",
    "jensen_shannon",
    "cluster_balance",
)
SELECTION_COLUMNS = (
    *("index", "domain", "recordings", "model", "source", "left_out", "input_si_sdr_db", "si_sdr_db"),
    *MEASURES,
    "picked",
)
SEPARATOR = "|"  # of recordings
SILENT_ESTIMATE = "silent estimate"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluated:
    """The scored mixtures of an evaluation.

    A mixture is left out for all models if one of its sources has no SI-SDR under any of them, and counted. A silent
    estimate leaves nothing out, or a model would gain by silence: it scores as the worst of the unprocessed mixture and
    all models' other estimates of the same source.

    Attributes:
        models: names, in the order of the rows; ties go to the first.
        domains: all that the rows name, also those without a scored mixture.
        index: of the mixtures within their domains, [N].
        domain: [N].
        recordings: what each mixture is made of: speakers, songs, clips; distinct ones, in order.
        source_si_sdr: in dB, [N, M, Q].
        measures: of confidence, each [N, M]; the higher, the more a model trusts its output.
        picked: whether the evaluation picked this model's output, [N, M].
        left_out: number of mixtures by (domain, reason).
        silent_estimates: number of silent estimates in scored mixtures, by (domain, model).
    """

    models: tuple[str, ...]
    domains: tuple[str, ...]
    index: NDArray[np.int64]
    domain: NDArray[np.str_]
    recordings: tuple[tuple[str, ...], ...]
    source_si_sdr: Floats
    measures: dict[str, Floats]
    picked: NDArray[np.bool_]
    left_out: dict[tuple[str, str], int]
    silent_estimates: dict[tuple[str, str], int]

    @property
    def si_sdr(self) -> Floats:
        """Mean over the sources, in dB, [N, M]."""
        return self.source_si_sdr.mean(-1)

    @property
    def confidence(self) -> Floats:
        """Silhouette times posterior, [N, M]."""
        return self.measures["confidence"]


def read_evaluated(paths: Sequence[Path]) -> Evaluated:
    """Read files with SELECTION_COLUMNS: one row per mixture, model and source.

    Raises:
        InputError: a file is missing, all are empty, a mixture lacks rows or has too many, or an SI-SDR is not finite
            and nothing says why.
    """
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(f"{missing[0]}: no such file; evaluate the models on this domain first")
    rows = [row for path in paths for row in read_rows(path)]
    where = ", ".join(map(str, paths))
    if not rows:
        raise InputError(f"{where}: no rows")
    models = tuple(dict.fromkeys(row["model"] for row in rows))
    mixtures, rows = _complete(rows, models, where)
    shape = len(mixtures), len(models), len(rows) // (len(mixtures) * len(models))

    def numbers(column: str) -> Floats:
        return np.array([float(row[column]) for row in rows]).reshape(shape)

    reasons = np.array([row["left_out"] for row in rows]).reshape(shape)
    silent = reasons == SILENT_ESTIMATE
    unscored = (reasons != "") & ~silent
    scored = ~unscored.any((1, 2))
    of_others = np.where(silent, np.inf, numbers("si_sdr_db"))
    worst = np.minimum(of_others.min(1), numbers("input_si_sdr_db")[:, 0])
    si_sdr = np.where(silent, worst[:, None], of_others)
    if len(wrong := np.flatnonzero(scored & ~np.isfinite(si_sdr).all((1, 2)))):
        raise InputError(f"{where}: {_name(mixtures[wrong[0]])} has an SI-SDR that is not finite and nothing says why")
    firsts = [rows[i * shape[1] * shape[2]] for i in np.flatnonzero(scored)]
    return Evaluated(
        models=models,
        domains=tuple(dict.fromkeys(domain for domain, _ in mixtures)),
        index=np.array([int(row["index"]) for row in firsts], dtype=np.int64),
        domain=np.array([row["domain"] for row in firsts], dtype=np.str_),
        recordings=tuple(tuple(dict.fromkeys(row["recordings"].split(SEPARATOR))) for row in firsts),
        source_si_sdr=si_sdr[scored],
        measures={name: numbers(name)[scored, :, 0] for name in MEASURES},
        picked=numbers("picked")[scored, :, 0] == 1,
        left_out=dict(Counter((mixtures[i][0], str(reasons[i][unscored[i]][0])) for i in np.flatnonzero(~scored))),
        silent_estimates=dict(
            Counter((mixtures[i][0], models[m]) for i, m, _ in np.argwhere(silent & scored[:, None, None]))
        ),
    )


def _complete(
    rows: list[dict[str, str]], models: tuple[str, ...], where: str
) -> tuple[list[tuple[str, int]], list[dict[str, str]]]:
    """The mixtures, (domain, index), and their rows sorted by mixture, model and source: each exactly once."""
    keys = [(row["domain"], int(row["index"])) for row in rows]
    mixtures = list(dict.fromkeys(keys))
    number = {mixture: i for i, mixture in enumerate(mixtures)}
    sources = [int(row["source"]) for row in rows]
    shape = len(mixtures), len(models), 1 + max(sources)
    places = [number[key] for key in keys], [models.index(row["model"]) for row in rows], sources
    place = np.ravel_multi_index(places, shape)
    wrong = np.flatnonzero((np.bincount(place, minlength=np.prod(shape)) != 1).reshape(shape).any((1, 2)))
    if len(wrong):
        raise InputError(
            f"{where}: {_name(mixtures[wrong[0]])} does not have one row for each of the {shape[1]} models' "
            f"{shape[2]} sources; evaluate again"
        )
    return mixtures, [rows[i] for i in np.argsort(place)]


def _name(mixture: tuple[str, int]) -> str:
    return f"{mixture[0]} mixture {mixture[1]}"
