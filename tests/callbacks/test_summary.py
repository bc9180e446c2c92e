"""Statistics of row files against numpy on the same numbers."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from callbacks.rows import read_rows, write_rows
from callbacks.separation_evaluation import SCORE_COLUMNS, score_row
from callbacks.summary import left_out_counts, summarise, summary_table
from lightning_modules.errors import InputError
from lightning_modules.separation_scores import LeftOut, Score

CLASSES = ("siren", "dog_bark", "car_horn")


@pytest.fixture
def scores() -> list[Score]:
    """Sirens and dogs in numbers that differ; car horns only without a score."""
    generator = np.random.default_rng(0)
    return [
        *(Score(i, "siren", LeftOut.NO, *generator.normal(-3, 4, 2).tolist()) for i in range(7)),
        *(Score(i, "dog_bark", LeftOut.NO, *generator.normal(5, 1, 2).tolist()) for i in range(3)),
        Score(7, "siren", LeftOut.SINGLE_CLASS, np.nan, np.nan),
        Score(8, "car_horn", LeftOut.SINGLE_CLASS, np.nan, np.nan),
        Score(9, "siren", LeftOut.SILENT_ESTIMATE, np.nan, np.nan),
    ]


@pytest.fixture
def path(scores: list[Score], tmp_path: Path) -> Path:
    write_rows(tmp_path / "scores.csv", SCORE_COLUMNS, map(score_row, scores))
    return tmp_path / "scores.csv"


def test_every_quantity_of_every_class_and_overall_has_numpys_statistics(scores, path):
    values = {
        "input": lambda score: score.input_si_sdr,
        "output": lambda score: score.si_sdr,
        "improvement": lambda score: score.si_sdr - score.input_si_sdr,
    }
    expected = {}
    for quantity, value in values.items():
        for label, count in (("siren", 7), ("dog_bark", 3), ("overall", 10)):
            pooled = [value(s) for s in scores if s.left_out is LeftOut.NO and label in ("overall", s.label)]
            expected[quantity, label] = (np.mean(pooled), np.std(pooled), np.median(pooled), count)
    summaries = summarise(path, CLASSES)
    assert [(s.quantity, s.label) for s in summaries] == list(expected)
    for s in summaries:
        assert (s.mean, s.std, s.median, s.n) == pytest.approx(expected[s.quantity, s.label])


def test_overall_pools_rows_instead_of_averaging_classes(path):
    improvement = {s.label: s for s in summarise(path, CLASSES) if s.quantity == "improvement"}
    siren, dog, overall = improvement["siren"], improvement["dog_bark"], improvement["overall"]
    assert overall.mean == pytest.approx((7 * siren.mean + 3 * dog.mean) / 10)


def test_left_out_rows_are_counted_by_reason(path):
    assert left_out_counts(path) == {"single class": 2, "silent estimate": 1}


def test_a_file_without_scored_rows_has_no_statistics(tmp_path):
    write_rows(tmp_path / "scores.csv", SCORE_COLUMNS, [])
    assert summarise(tmp_path / "scores.csv", CLASSES) == []
    assert left_out_counts(tmp_path / "scores.csv") == {}


def test_table_shows_means_deviations_and_counts_of_the_classes_that_have_scores(path):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(summary_table(summarise(path, CLASSES)))
    text = console.export_text()
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    assert set(lines) == {"input", "output", "improvement", "median improvement", "n"}
    for s in summarise(path, CLASSES):
        assert f"{s.mean:.1f} ± {s.std:.1f}" in lines[s.quantity]
    assert [cell.strip() for cell in lines["n"].split("│")[2:5]] == ["7", "3", "10"]
    assert "siren" in text and "dog_bark" in text and "overall" in text and "car_horn" not in text


@pytest.mark.parametrize("column", ["input_si_sdr_db", "si_sdr_db", "improvement_db"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "x", ""])
def test_a_scored_row_without_a_finite_score_is_refused_and_never_averaged(column, value, path):
    rows = [dict(row) for row in read_rows(path)]
    rows[3][column] = value
    write_rows(path, SCORE_COLUMNS, [row.values() for row in rows])
    with pytest.raises(InputError, match=rf"scores\.csv: .*{column}"):
        summarise(path, CLASSES)


def test_a_single_row_has_a_deviation_of_zero_and_a_class_without_rows_no_cell(tmp_path):
    write_rows(tmp_path / "one.csv", SCORE_COLUMNS, [score_row(Score(0, "[red]", LeftOut.NO, -1.0, 2.0))])
    summaries = summarise(tmp_path / "one.csv", ("[red]", "never"))
    assert {(summary.label, summary.std, summary.n) for summary in summaries} == {
        ("[red]", 0.0, 1),
        ("overall", 0.0, 1),
    }
    console = Console(file=io.StringIO(), width=200)
    console.print(summary_table(summaries))
    shown = console.file.getvalue()
    assert "[red]" in shown and "nan" not in shown.lower()
