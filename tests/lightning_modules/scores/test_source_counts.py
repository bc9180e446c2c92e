"""The number of sources that was picked, against going through the mixtures one by one."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lightning_modules.errors import InputError
from lightning_modules.scores.rows import write_rows
from lightning_modules.scores.source_counts import COUNT_COLUMNS, count_scores, picks, read_counted

COUNTS = (2, 3, 4)


@pytest.fixture
def rows() -> list[dict]:
    """Twelve mixtures of 2 or 3 sources; values that tell where they come from."""
    generator = np.random.default_rng(0)
    return [
        {
            **{"index": index, "domain": "speech", "recordings": f"a{index % 5}|b{index}", "sources": 2 + index % 2},
            **{"clusters": count, "left_out": "", "input_si_sdr_db": 0.0, "si_sdr_db": generator.normal(4, 2)},
            **{name: generator.random() * count for name in ("silhouette", "posterior", "confidence")},
            "picked": 0,
        }
        for index, count in product(range(12), COUNTS)
    ]


def read(path: Path, rows: list[dict]):
    write_rows(path, COUNT_COLUMNS, [[row[name] for name in COUNT_COLUMNS] for row in rows])
    return read_counted(path)


def test_every_rules_scores_are_those_of_going_through_the_mixtures_one_by_one(rows, tmp_path):
    order = np.random.default_rng(1).permutation(len(rows))
    counted = read(tmp_path / "rows.csv", [rows[place] for place in order])
    validation = read(tmp_path / "validation.csv", [row | {"confidence": 2 * row["confidence"] + 1} for row in rows])
    scores = {(score.rule, score.sources): score for score in count_scores(counted, picks(counted, validation))}
    assert {rule for rule, _ in scores} == {"confidence", "silhouette", "standardised", "known", "best", "2", "3", "4"}
    statistics = {
        count: np.array([2 * np.mean(of) + 1, 2 * np.std(of)])
        for count in COUNTS
        for of in [[row["confidence"] for row in rows if row["clusters"] == count]]
    }
    rules = {
        "confidence": lambda row: row["confidence"],
        "silhouette": lambda row: row["silhouette"],
        "standardised": lambda row: np.divide(row["confidence"] - (of := statistics[row["clusters"]])[0], of[1]),
        "known": lambda row: row["clusters"] == row["sources"],
        "best": lambda row: row["si_sdr_db"],
        "3": lambda row: row["clusters"] == 3,
    }
    for (rule, key), sources in product(rules.items(), ("2", "3", "all")):
        right, found, gains = [], [], []
        for index in range(12):
            of_mixture = [row for row in rows if row["index"] == index]
            if sources in ("all", str(of_mixture[0]["sources"])):
                picked = max(of_mixture, key=key)
                known = next(row for row in of_mixture if row["clusters"] == row["sources"])
                right.append(picked is known)
                found.append(picked["si_sdr_db"])
                gains.append(picked["si_sdr_db"] - known["si_sdr_db"])
        score = scores[rule, sources]
        values = (score.accuracy, score.si_sdr_db, score.difference_db)
        np.testing.assert_allclose(values, [np.mean(right), np.mean(found), np.mean(gains)], atol=1e-12)
        assert (score.mixtures, score.recordings) == (len(right), 5 + len(right))
        assert score.accuracy_low <= score.accuracy <= score.accuracy_high
        assert score.difference_low <= score.difference_db <= score.difference_high
    always = scores["3", "all"]  # right in the half that has three, in every draw
    assert always.accuracy_low == always.accuracy == always.accuracy_high == pytest.approx(0.5)
    fewer = read(tmp_path / "fewer.csv", [row for row in rows if row["clusters"] != 3])
    alike = read(tmp_path / "alike.csv", [row | {"confidence": 0.0} for row in rows])
    chosen = picks(counted, alike)
    assert np.array_equal(chosen["standardised"], chosen["confidence"])
    assert "standardised" not in picks(counted) and "standardised" not in picks(fewer, validation)


def test_a_mixture_without_a_score_under_one_number_is_left_out_for_all_and_counted(rows, tmp_path):
    rows[4] |= {"left_out": "silent source", "si_sdr_db": np.nan}
    counted = read(tmp_path / "rows.csv", rows)
    assert counted.left_out == 1 and len(counted.sources) == len(counted.recordings) == len(counted.si_sdr) == 11
    none = read(tmp_path / "none.csv", [row | {"left_out": "silent source"} for row in rows])
    assert "standardised" not in picks(counted, none)
    (overall, *_) = count_scores(none, picks(none))
    assert np.isnan([overall.accuracy, overall.accuracy_low, overall.difference_db]).all() and overall.mixtures == 0


@pytest.mark.parametrize("change", [lambda rows: rows.pop(5), lambda rows: rows.append(rows[9]), list.clear])
def test_rows_that_do_not_fit_together_are_refused_in_one_line(change, rows, tmp_path):
    change(rows)
    with pytest.raises(InputError, match=r"rows\.csv: no row for each mixture and number of clusters; evaluate again$"):
        read(tmp_path / "rows.csv", rows)
