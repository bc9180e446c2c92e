"""Rows of a model-selection evaluation: every model's separation of every mixture, as arrays.

N mixtures, M models, Q sources.
"""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from callbacks.rows import LARGEST_SI_SDR, each_row, index_of, value_of
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
_NUMBERS = ("input_si_sdr_db", "si_sdr_db", *MEASURES, "picked")


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
        measures: of confidence, each [N, M]; the higher, the more a model trusts its output. Beside MEASURES that of a
            selection which picks by one of its own.
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
    def own_measures(self) -> tuple[str, ...]:
        """Names of the measures that are not among MEASURES."""
        return tuple(name for name in self.measures if name not in MEASURES)

    @property
    def confidence(self) -> Floats:
        """Silhouette times posterior, [N, M]."""
        return self.measures["confidence"]


def read_evaluated(paths: Sequence[Path]) -> Evaluated:
    """Read files with SELECTION_COLUMNS and those of own measures: one row per mixture, model and source.

    Raises:
        InputError: a file is missing, all are empty, their columns differ, a mixture lacks rows or has too many, or an
            SI-SDR is not finite and nothing says why.
    """
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(f"{missing[0]}: no such file; evaluate the models on this domain first")
    where = ", ".join(map(str, paths))
    read = _read(paths)
    if not len(read.numbers):
        raise InputError(f"{where}: no rows")
    models, mixtures = tuple(read.models), list(read.mixtures)
    places, shape = _places(read, where)

    def arranged(values: NDArray[Any]) -> NDArray[Any]:
        placed = np.empty_like(values)
        placed[places] = values
        return placed.reshape(shape)

    numbers = dict(zip(read.columns, map(arranged, read.numbers.T), strict=True))
    reason = arranged(read.reason)
    silent = reason == read.reasons.get(SILENT_ESTIMATE, -1)
    unscored = (reason != read.reasons.get("", -1)) & ~silent
    scored = ~unscored.any((1, 2))
    of_others = np.where(silent, np.inf, numbers["si_sdr_db"])
    worst = np.minimum(of_others.min(1), numbers["input_si_sdr_db"][:, 0])
    si_sdr = np.where(silent, worst[:, None], of_others)
    if len(wrong := np.flatnonzero(scored & ~(np.abs(si_sdr) <= LARGEST_SI_SDR).all((1, 2)))):
        raise InputError(f"{where}: {_name(mixtures[wrong[0]])} has an SI-SDR that is not finite and nothing says why")
    names_of_measures = (*MEASURES, *read.columns[len(_NUMBERS) :])
    measures = {name: numbers[name][scored, :, 0] for name in names_of_measures}
    if infinite := [name for name, values in measures.items() if np.isinf(values).any()]:
        raise InputError(f"{where}: {infinite[0]} is infinite in a row; evaluate again")
    names, kept = list(read.reasons), [mixtures[i] for i in np.flatnonzero(scored)]
    return Evaluated(
        models=models,
        domains=tuple(dict.fromkeys(domain for domain, _ in mixtures)),
        index=np.array([index for _, index in kept], dtype=np.int64),
        domain=np.array([domain for domain, _ in kept], dtype=np.str_),
        recordings=tuple(tuple(dict.fromkeys(read.mixtures[mixture].split(SEPARATOR))) for mixture in kept),
        source_si_sdr=si_sdr[scored],
        measures=measures,
        picked=numbers["picked"][scored, :, 0] == 1,
        left_out=dict(Counter((mixtures[i][0], names[reason[i][unscored[i]][0]]) for i in np.flatnonzero(~scored))),
        silent_estimates=dict(
            Counter((mixtures[i][0], models[m]) for i, m, _ in np.argwhere(silent & scored[:, None, None]))
        ),
    )


class _Rows(NamedTuple):
    """Rows in the order in which they were read, n of them, without their text.

    Attributes:
        models: number of each.
        mixtures: recordings of each, by (domain, index).
        reasons: number of each why a source has no score; of none the empty one.
        place: number of the mixture, number of the model, and source, [n, 3].
        reason: [n].
        columns: the _NUMBERS and own measures, c of them.
        numbers: of these columns, [n, c].
    """

    models: dict[str, int]
    mixtures: dict[tuple[str, int], str]
    reasons: dict[str, int]
    place: NDArray[np.int64]
    reason: NDArray[np.int64]
    columns: tuple[str, ...]
    numbers: Floats


def _read(paths: Sequence[Path]) -> _Rows:
    models: dict[str, int] = {}
    reasons: dict[str, int] = {}
    recordings: dict[tuple[str, int], str] = {}
    number_of: dict[tuple[str, int], int] = {}
    place, reason, numbers = array("q"), array("q"), array("d")
    columns: tuple[str, ...] = ()
    for path in paths:
        of_file: tuple[str, ...] = ()
        for row in each_row(path, SELECTION_COLUMNS):
            if not of_file:
                of_file = (*_NUMBERS, *(name for name in row if name not in SELECTION_COLUMNS))
                columns = columns or of_file
                if of_file != columns:
                    raise InputError(f"{path}: other columns than {paths[0]}; evaluate both with one selection")
            mixture = row["domain"], index_of(path, row, "index")
            recordings.setdefault(mixture, row["recordings"])
            place.append(number_of.setdefault(mixture, len(number_of)))
            place.append(models.setdefault(row["model"], len(models)))
            place.append(index_of(path, row, "source"))
            reason.append(reasons.setdefault(row["left_out"], len(reasons)))
            numbers.extend([value_of(path, row, column) for column in columns])
    return _Rows(
        models,
        recordings,
        reasons,
        np.array(place).reshape(-1, 3),
        np.array(reason),
        columns,
        np.array(numbers).reshape(-1, len(columns or _NUMBERS)),
    )


def _places(read: _Rows, where: str) -> tuple[NDArray[np.int64], tuple[int, int, int]]:
    """Where each row belongs among all sorted by mixture, model and source, [n], and how many there are of each.

    Raises:
        InputError: a mixture does not have exactly one row for each model's sources.
    """
    mixture, model, source = read.place.T
    shape = len(read.mixtures), len(read.models), 1 + int(source.max())
    counts = np.bincount(mixture)
    wrong = counts != shape[1] * shape[2]
    if not wrong.any():
        places = np.ravel_multi_index((mixture, model, source), shape)
        wrong = (np.bincount(places, minlength=len(places)) != 1).reshape(shape).any((1, 2))
    if wrong.any():
        raise InputError(
            f"{where}: {_name(list(read.mixtures)[int(wrong.argmax())])} does not have one row for each of the "
            f"{shape[1]} models' {shape[2]} sources; evaluate again"
        )
    return places, shape


def _name(mixture: tuple[str, int]) -> str:
    return f"{mixture[0]} mixture {mixture[1]}"
