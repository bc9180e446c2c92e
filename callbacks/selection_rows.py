"""Rows of a model-selection evaluation: every model's separation of every mixture, as arrays.

N mixtures, M models, Q sources.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from callbacks.rows import LARGEST_SI_SDR, index_of, read_rows, value_of
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
PlacedRow = tuple[Path, dict[str, str]]  # and the file that it is from


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
    read = [(path, row) for path in paths for row in read_rows(path, SELECTION_COLUMNS)]
    where = ", ".join(map(str, paths))
    if not read:
        raise InputError(f"{where}: no rows")
    models = tuple(dict.fromkeys(row["model"] for _, row in read))
    mixtures, read = _complete(read, models, where)
    rows = [row for _, row in read]
    shape = len(mixtures), len(models), len(rows) // (len(mixtures) * len(models))

    def numbers(column: str) -> Floats:
        return np.array([value_of(path, row, column) for path, row in read]).reshape(shape)

    reasons = np.array([row["left_out"] for row in rows]).reshape(shape)
    silent = reasons == SILENT_ESTIMATE
    unscored = (reasons != "") & ~silent
    scored = ~unscored.any((1, 2))
    of_others = np.where(silent, np.inf, numbers("si_sdr_db"))
    worst = np.minimum(of_others.min(1), numbers("input_si_sdr_db")[:, 0])
    si_sdr = np.where(silent, worst[:, None], of_others)
    if len(wrong := np.flatnonzero(scored & ~(np.abs(si_sdr) <= LARGEST_SI_SDR).all((1, 2)))):
        raise InputError(f"{where}: {_name(mixtures[wrong[0]])} has an SI-SDR that is not finite and nothing says why")
    measures = {name: numbers(name)[scored, :, 0] for name in MEASURES}
    if infinite := [name for name, values in measures.items() if np.isinf(values).any()]:
        raise InputError(f"{where}: {infinite[0]} is infinite in a row; evaluate again")
    firsts = [rows[i * shape[1] * shape[2]] for i in np.flatnonzero(scored)]
    return Evaluated(
        models=models,
        domains=tuple(dict.fromkeys(domain for domain, _ in mixtures)),
        index=np.array([int(row["index"]) for row in firsts], dtype=np.int64),
        domain=np.array([row["domain"] for row in firsts], dtype=np.str_),
        recordings=tuple(tuple(dict.fromkeys(row["recordings"].split(SEPARATOR))) for row in firsts),
        source_si_sdr=si_sdr[scored],
        measures=measures,
        picked=numbers("picked")[scored, :, 0] == 1,
        left_out=dict(Counter((mixtures[i][0], str(reasons[i][unscored[i]][0])) for i in np.flatnonzero(~scored))),
        silent_estimates=dict(
            Counter((mixtures[i][0], models[m]) for i, m, _ in np.argwhere(silent & scored[:, None, None]))
        ),
    )


def _complete(
    read: list[PlacedRow], models: tuple[str, ...], where: str
) -> tuple[list[tuple[str, int]], list[PlacedRow]]:
    """The mixtures, (domain, index), and their rows sorted by mixture, model and source: each exactly once."""
    number = {model: i for i, model in enumerate(models)}
    of_mixture: dict[tuple[str, int], dict[tuple[int, int], PlacedRow]] = {}
    counts: Counter[tuple[str, int]] = Counter()
    for path, row in read:
        mixture = row["domain"], index_of(path, row, "index")
        place = number[row["model"]], index_of(path, row, "source")
        of_mixture.setdefault(mixture, {})[place] = path, row
        counts[mixture] += 1
    sources = 1 + max(source for rows in of_mixture.values() for _, source in rows)
    for mixture, rows in of_mixture.items():
        if not len(rows) == counts[mixture] == len(models) * sources:
            raise InputError(
                f"{where}: {_name(mixture)} does not have one row for each of the {len(models)} models' "
                f"{sources} sources; evaluate again"
            )
    return list(of_mixture), [rows[place] for rows in of_mixture.values() for place in sorted(rows)]


def _name(mixture: tuple[str, int]) -> str:
    return f"{mixture[0]} mixture {mixture[1]}"
