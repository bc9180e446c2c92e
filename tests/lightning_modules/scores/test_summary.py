"""Statistics of row files against numpy on the same numbers."""

import io

import numpy as np
import pytest
from rich.console import Console

from callbacks.separation_evaluation import score_row, summary_table
from lightning_modules.errors import InputError
from lightning_modules.scores.rows import read_rows, write_rows
from lightning_modules.scores.summary import LARGEST_SI_SDR, SCORE_COLUMNS, left_out_counts, summarise
from lightning_modules.separation_scores import LeftOut, Score

CLASSES = ("[red] siren", "dog_bark", "car_horn")


@pytest.fixture
def scores():
    """Sirens and dogs in numbers that differ, and what is no class; car horns only without a score."""
    generator = np.random.default_rng(0)
    return [
        *(Score(i, "[red] siren", LeftOut.NO, *generator.normal(-3, 4, 2).tolist()) for i in range(7)),
        *(Score(i, "dog_bark", LeftOut.NO, *generator.normal(5, 1, 2).tolist()) for i in range(3)),
        *(Score(i, "residual", LeftOut.NO, *generator.normal(0, 1, 2).tolist()) for i in range(4)),
        *(Score(i, "car_horn", LeftOut.SINGLE_CLASS, np.nan, np.nan) for i in (7, 8)),
        Score(9, "[red] siren", LeftOut.SILENT_ESTIMATE, np.nan, np.nan),
    ]


@pytest.fixture
def path(scores, tmp_path):
    write_rows(tmp_path / "scores.csv", SCORE_COLUMNS, map(score_row, scores))
    return tmp_path / "scores.csv"


def test_every_quantity_of_every_class_and_of_all_rows_pooled_has_numpys_statistics(scores, path):
    values = {
        "input": lambda score: score.input_si_sdr,
        "output": lambda score: score.si_sdr,
        "improvement": lambda score: score.si_sdr - score.input_si_sdr,
    }
    expected = {}
    for quantity, value in values.items():
        labels = {"[red] siren": 7, "dog_bark": 3, "overall": 10, "residual": 4}
        for label, count in labels.items():
            of = CLASSES if label == "overall" else (label,)
            pooled = [value(s) for s in scores if s.left_out is LeftOut.NO and s.label in of]
            expected[quantity, label] = (np.mean(pooled), np.std(pooled), np.median(pooled), count)
    summaries = summarise(path, CLASSES)
    assert [(s.quantity, s.label) for s in summaries] == list(expected)
    for s in summaries:
        assert (s.mean, s.std, s.median, s.n) == pytest.approx(expected[s.quantity, s.label])


def test_left_out_rows_are_counted_by_reason_and_without_rows_there_are_no_statistics(path):
    assert left_out_counts(path) == {"single class": 2, "silent estimate": 1}
    write_rows(path, SCORE_COLUMNS, [])
    assert summarise(path, CLASSES) == [] and left_out_counts(path) == {}


def test_table_shows_means_deviations_and_counts_of_the_classes_that_have_scores(path):
    console = Console(width=80, file=io.StringIO())
    console.print(summary_table(summarise(path, CLASSES)))
    text = console.file.getvalue()
    lines = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    assert set(lines) == {s.label for s in summarise(path, CLASSES)} and "…" not in text
    for s in summarise(path, CLASSES):
        assert f"{s.mean:.1f} ± {s.std:.1f}" in lines[s.label]
    assert [line.split("│")[-2].strip() for line in lines.values()] == ["7", "3", "10", "4"]
    assert "[red] siren" in text and "overall" in text and "car_horn" not in text


@pytest.mark.parametrize("column", ["input_si_sdr_db", "si_sdr_db", "improvement_db"])
@pytest.mark.parametrize("value", ["nan", "-inf", "x", "", "2000.1"])
def test_a_scored_row_without_a_finite_score_is_refused_and_never_averaged(column, value, path):
    rows = read_rows(path)
    rows[3][column] = value
    write_rows(path, SCORE_COLUMNS, [row.values() for row in rows])
    with pytest.raises(InputError, match=rf"scores\.csv: .*{column}"):
        summarise(path, CLASSES)


def test_an_improvement_may_be_twice_the_largest_score(path):
    write_rows(path, SCORE_COLUMNS, [score_row(Score(0, "dog_bark", LeftOut.NO, *(-LARGEST_SI_SDR, LARGEST_SI_SDR)))])
    assert summarise(path, ["dog_bark"])[-1].mean == 2000
