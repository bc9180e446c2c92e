"""Row files of the model-selection evaluation as arrays."""

from itertools import product

import numpy as np
import pytest

from lightning_modules.errors import InputError
from lightning_modules.scores.rows import write_rows
from lightning_modules.scores.selection_rows import SELECTION_COLUMNS, SELECTION_SCORES, SILENT_ESTIMATE, read_evaluated
from lightning_modules.separation_scores import LeftOut

MODELS = ("speech", "music")


@pytest.fixture
def rows():
    """Four mixtures of one domain, two models, two sources; values that tell where they come from."""
    return [
        {
            "index": index,
            "domain": "speech",
            "recordings": f"a{index}|b",
            "model": model,
            "source": source,
            "left_out": "",
            "input_si_sdr_db": 1.0 - 2 * source,
            "si_sdr_db": 10.0 * index + 5 * (model == "speech") + source,
            **{name: i + 0.1 * index + 0.01 * (model == "speech") for i, name in enumerate(SELECTION_SCORES)},
            "picked": int(model == "speech"),
        }
        for index, model, source in product(range(4), MODELS[::-1], range(2))
    ]


@pytest.fixture
def read(tmp_path):
    def write_and_read(rows):
        write_rows(tmp_path / "scores.csv", SELECTION_COLUMNS, [[row[c] for c in SELECTION_COLUMNS] for row in rows])
        return read_evaluated([tmp_path / "scores.csv"])

    return write_and_read


def test_values_lie_where_their_rows_say_in_any_order_of_rows(rows, read):
    for shuffled in (rows, [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]):
        evaluated = read(shuffled)
        for row in rows:
            i = next(i for i in range(4) if evaluated.index[i] == row["index"])
            m = evaluated.models.index(row["model"])
            assert evaluated.source_si_sdr[i, m, row["source"]] == row["si_sdr_db"]
            assert all(evaluated.scores[name][i, m] == row[name] for name in SELECTION_SCORES)
            assert evaluated.picked[i, m] == row["picked"]
            assert evaluated.recordings[i] == (f"a{row['index']}", "b")
        np.testing.assert_array_equal(evaluated.si_sdr, evaluated.source_si_sdr.sum(-1) / 2)
    assert read(rows).models == ("music", "speech")


@pytest.mark.parametrize("reason", ["silent source", "exact estimate"])
def test_a_mixture_without_a_score_under_one_model_is_left_out_for_all_and_counted(rows, read, reason):
    rows[5] |= {"left_out": reason, "si_sdr_db": np.nan}
    evaluated = read(rows)
    assert evaluated.index.tolist() == [0, 2, 3]
    assert evaluated.left_out == {("speech", reason): 1}
    assert len(evaluated.recordings) == len(evaluated.domain) == len(evaluated.confidence) == 3


def test_silence_never_scores_above_what_any_model_or_the_mixture_reaches(rows, read):
    assert SILENT_ESTIMATE == LeftOut.SILENT_ESTIMATE
    silent = {"left_out": SILENT_ESTIMATE, "si_sdr_db": np.nan}
    before = read(rows)
    rows[2 * 4 + 0] |= silent  # music model, source 0: the other model has 25, the mixture 1
    rows[0 * 4 + 3] |= silent  # speech model, source 1: the other model has 1, the mixture -1
    rows[1 * 4 + 0] |= silent | {"input_si_sdr_db": 40.0}  # the other model has 15
    rows[3 * 4 + 0] |= silent  # both models are silent: the mixture's
    rows[3 * 4 + 2] |= silent
    evaluated = read(rows)
    expected = before.source_si_sdr.copy()
    expected[2, 0, 0], expected[0, 1, 1], expected[1, 0, 0], expected[3, :, 0] = 1.0, -1.0, 15.0, 1.0
    np.testing.assert_array_equal(evaluated.source_si_sdr, expected)
    assert evaluated.left_out == {}
    assert evaluated.silent_estimates == {("speech", "music"): 3, ("speech", "speech"): 2}


def test_a_domain_without_any_scored_mixture_is_still_named(rows, read):
    lost = [row | {"domain": "music", "left_out": "silent source", "si_sdr_db": np.nan} for row in rows]
    evaluated = read(rows + lost)
    assert evaluated.domains == ("speech", "music") and set(evaluated.domain) == {"speech"}
    assert evaluated.left_out == {("music", "silent source"): 4}
    assert read(lost).source_si_sdr.shape == (0, 2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(5), "speech mixture 1 does not have one row for each of the 2 models' 2 sources"),
        (lambda rows: rows.append(rows[9]), "speech mixture 2 does not have one row"),
        (lambda rows: rows[9].update(rows[8]), "speech mixture 2 does not have one row"),
        (lambda rows: rows[2].update(source=10**15), "have one row for each of the 2 models' 1000000000000001"),
        (lambda rows: rows[3].update(si_sdr_db=np.nan), "speech mixture 0 has an SI-SDR that is not finite"),
        (lambda rows: rows[-1].update(si_sdr_db=np.inf), "speech mixture 3 has an SI-SDR that is not finite"),
        (lambda rows: rows[-1].update(si_sdr_db=-1e4), "speech mixture 3 has an SI-SDR that is not finite"),
        (lambda rows: rows[2].update(confidence=np.inf), "confidence is infinite in a row"),
        (lambda rows: rows[2].update(silhouette="high"), "silhouette: could not convert string to float: 'high'"),
        (lambda rows: rows[2].update(index="-1"), "index '-1' is not a whole number"),
        (lambda rows: rows[2].update(picked=""), "picked: could not convert"),
        (lambda rows: rows.clear(), "no rows"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused_in_one_line(rows, read, change, message):
    change(rows)
    with pytest.raises(InputError, match=message) as error:
        read(rows)
    assert "\n" not in str(error.value) and "scores.csv" in str(error.value)


def test_files_are_read_together_a_missing_one_and_one_of_other_columns_are_named(rows, read, tmp_path):
    read(rows)
    one, other = tmp_path / "scores.csv", tmp_path / "music.csv"
    write_rows(other, SELECTION_COLUMNS, [[{**row, "domain": "music"}[c] for c in SELECTION_COLUMNS] for row in rows])
    evaluated = read_evaluated([one, other])
    assert evaluated.domain.tolist() == ["speech"] * 4 + ["music"] * 4 and evaluated.index.tolist() == [0, 1, 2, 3] * 2
    write_rows(other, [*SELECTION_COLUMNS, "own"], [[*row.values(), 0.5] for row in rows])
    assert read_evaluated([other]).own_scores == ("own",)
    with pytest.raises(InputError, match=f"^{other}: other columns than {one}"):
        read_evaluated([one, other])
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        read_evaluated([tmp_path / "none.csv"])
