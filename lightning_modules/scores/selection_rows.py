"""Rows of a model-selection evaluation: every model's separation of every mixture, as arrays.

N mixtures, M models, Q sources.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightning_modules.errors import InputError
from lightning_modules.scores.rows import Floats, named_recordings, numbers, read_table, whole_numbers
from lightning_modules.scores.summary import LARGEST_SI_SDR

SELECTION_SCORES = (
    *("silhouette", "posterior", "confidence", "silhouette_masks", "posterior_masks", "confidence_masks"),
    *("jensen_shannon", "cluster_balance"),
)
TEXTS = ("index", "domain", "recordings", "model", "source", "left_out")
SELECTION_COLUMNS = (*TEXTS, "input_si_sdr_db", "si_sdr_db", *SELECTION_SCORES, "picked")
# Columns of selections that ask for them: what estimates look like from outside, see `signal_features`.
SIGNAL_FEATURES = (
    *("signal_residual_db", "signal_level_spread_db"),
    *("signal_correlation", "signal_similarity", "signal_time_similarity", "signal_frequency_similarity"),
    *("signal_decidedness", "signal_time_decidedness", "signal_frequency_decidedness"),
    *("signal_time_changes", "signal_frequency_changes", "signal_sparsity", "signal_mixture_sparsity"),
    *("signal_mixture_centroid", "signal_mixture_flatness", "signal_mixture_time_changes"),
)
SILENT_ESTIMATE = "silent estimate"


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
        scores: SELECTION_SCORES, and that of a selection which picks by one of its own, each [N, M]; the higher, the
            more confident is the model; NaN of a model that has no embeddings. SIGNAL_FEATURES, where there are.
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
    scores: dict[str, Floats]
    picked: NDArray[np.bool_]
    left_out: dict[tuple[str, str], int]
    silent_estimates: dict[tuple[str, str], int]

    @property
    def si_sdr(self) -> Floats:
        """Mean over the sources, in dB, [N, M]."""
        return self.source_si_sdr.mean(-1)

    @property
    def own_scores(self) -> tuple[str, ...]:
        """Names of the scores by which a selection of the user's own picks."""
        return tuple(name for name in self.scores if name not in (*SELECTION_SCORES, *SIGNAL_FEATURES))

    @property
    def without_confidence(self) -> tuple[str, ...]:
        """Models that have no confidence in any mixture, such as those without embeddings."""
        known = np.isfinite(self.confidence)
        return tuple(model for place, model in enumerate(self.models) if len(known) and not known[:, place].any())

    @property
    def confidence(self) -> Floats:
        """Silhouette times posterior, [N, M]."""
        return self.scores["confidence"]


def read_evaluated(paths: Sequence[Path]) -> Evaluated:
    """Read files with SELECTION_COLUMNS and those of own scores: one row per mixture, model and source.

    Raises:
        InputError: a file is missing, all are empty, their columns differ, a mixture lacks rows or has too many, or an
            SI-SDR is not finite and nothing says why.
    """
    if missing := [path for path in paths if not path.is_file()]:
        raise InputError(f"{missing[0]}: no such file; evaluate the models on this domain first")
    where = ", ".join(map(str, paths))
    tables = [_read(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if list(table.columns) != list(tables[0].columns):
            raise InputError(f"{path}: other columns than {paths[0]}; evaluate both with one selection")
    rows = pd.concat(tables, ignore_index=True)
    if rows.empty:
        raise InputError(f"{where}: no rows")
    models = tuple(rows["model"].unique())
    rows["mixture"] = rows.groupby(["domain", "index"], sort=False).ngroup()
    rows["model"] = pd.factorize(rows["model"])[0]
    rows = rows.sort_values(["mixture", "model", "source"], kind="stable")
    sources = 1 + int(rows["source"].max())
    per_mixture = rows.groupby("mixture")
    distinct = rows.drop_duplicates(["mixture", "model", "source"]).groupby("mixture").size()
    complete = (per_mixture.size() == len(models) * sources) & (distinct == len(models) * sources)
    mixtures = per_mixture[["domain", "index", "recordings"]].first()
    names = mixtures["domain"] + " mixture " + mixtures["index"].astype(str)
    if not complete.all():
        raise InputError(
            f"{where}: {names[~complete].iloc[0]} does not have one row for each of the {len(models)} models' "
            f"{sources} sources; evaluate again"
        )

    def arranged(column: str) -> NDArray:
        return rows[column].to_numpy().reshape(len(mixtures), len(models), sources)

    reason = arranged("left_out")
    silent = reason == SILENT_ESTIMATE
    unscored = (reason != "") & ~silent
    scored = ~unscored.any((1, 2))
    si_sdr = with_silent(arranged("si_sdr_db"), silent, arranged("input_si_sdr_db")[:, 0])
    if (wrong := scored & ~(np.abs(si_sdr) <= LARGEST_SI_SDR).all((1, 2))).any():
        raise InputError(f"{where}: {names[wrong].iloc[0]} has an SI-SDR that is not finite and nothing says why")
    own = [column for column in tables[0].columns if column not in SELECTION_COLUMNS]
    scores = {name: arranged(name)[scored, :, 0] for name in (*SELECTION_SCORES, *own)}
    if infinite := [name for name, values in scores.items() if np.isinf(values).any()]:
        raise InputError(f"{where}: {infinite[0]} is infinite in a row; evaluate again")
    domain, kept = mixtures["domain"].to_numpy(), mixtures[scored]
    return Evaluated(
        models=models,
        domains=tuple(dict.fromkeys(domain)),
        index=kept["index"].to_numpy(),
        domain=kept["domain"].to_numpy(dtype=np.str_),
        recordings=tuple(map(named_recordings, kept["recordings"])),
        source_si_sdr=si_sdr[scored],
        scores=scores,
        picked=arranged("picked")[scored, :, 0] == 1,
        left_out=dict(Counter((domain[i], reason[i][unscored[i]][0]) for i in np.flatnonzero(~scored))),
        silent_estimates=dict(
            Counter((domain[i], models[m]) for i, m, _ in np.argwhere(silent & scored[:, None, None]))
        ),
    )


def with_silent(si_sdr: Floats, silent: NDArray[np.bool_], of_mixture: Floats) -> Floats:
    """SI-SDR of models, [..., M, Q], with that of silent estimates: the worst of the mixture, [..., Q], and all others.

    Otherwise a model would gain by silence.
    """
    of_others = np.where(silent, np.inf, si_sdr)
    return np.where(silent, np.minimum(of_mixture, of_others.min(-2))[..., None, :], of_others)


def _read(path: Path) -> pd.DataFrame:
    """The rows of one file, mixtures and sources as whole numbers, SI-SDR and selection scores as numbers."""
    table = read_table(path, SELECTION_COLUMNS)
    for column in ("index", "source"):
        table[column] = whole_numbers(path, table, column)
    of_numbers = [column for column in table.columns if column not in TEXTS]
    table[of_numbers] = numbers(path, table, of_numbers)
    return table
