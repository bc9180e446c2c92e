"""The whole weak-label table at a tiny size: run, run again, refused."""

import shlex

import numpy as np
import pandas
import pytest
from documented_tables import assert_as_documented

ROWS = ["input", "clip", "frame", "strong", "gate", "ideal_ratio_mask"]
CLASSES = ["car_horn", "dog_bark", "gun_shot", "jackhammer", "siren"]
TRAINED = ["judge_frame", "judge_clip", "strong", "frame", "clip"]


@pytest.fixture(scope="module")
def command(weak_labels):
    """The command, without its folder."""
    return weak_labels.command


@pytest.fixture(scope="module")
def reproduction(weak_labels):
    """Folder of a reproduction that ran through, one stage at a time."""
    return weak_labels.output


def test_the_table_has_every_row_and_class_beside_the_published_figures(separatrix, reproduction):
    header = (reproduction / "table.csv").read_text().splitlines()[0]
    assert header == "row,class,mean_db,std_db,median_db,n,published_mean_db,published_std_db"
    lines = separatrix.rows(reproduction / "table.csv")
    assert [(line["row"], line["class"]) for line in lines] == [(r, c) for r in ROWS for c in [*CLASSES, "overall"]]
    published = {(line["row"], line["class"]): line["published_mean_db"] for line in lines}
    assert published["frame", "overall"] == "6.8" and published["input", "siren"] == "-3.0"
    assert not [row for row, _ in published if row in ("gate", "ideal_ratio_mask") and published[row, "siren"]]


def test_the_table_is_what_numpy_makes_of_the_scores(separatrix, reproduction):
    scores = [line for line in separatrix.rows(reproduction / "scores.csv") if not line["left_out"]]
    for line in separatrix.rows(reproduction / "table.csv"):
        row, column = ("clip", "input_si_sdr_db") if line["row"] == "input" else (line["row"], "improvement_db")
        values = np.array(
            [float(s[column]) for s in scores if s["row"] == row and line["class"] in (s["class"], "overall")]
        )
        assert int(line["n"]) == len(values) > 0
        ours = [float(line[name]) for name in ("mean_db", "std_db", "median_db")]
        np.testing.assert_allclose(ours, [values.mean(), values.std(), np.median(values)], rtol=1e-12, atol=1e-12)
        # mean and deviation as rounded in the report
        cell = f"{values.mean():.1f} ± {values.std():.1f}"
        assert cell in (reproduction / "table.md").read_text()


def test_the_scores_have_a_line_for_every_mixture_class_and_row(separatrix, reproduction):
    lines = separatrix.rows(reproduction / "scores.csv")
    places = {row: [(s["index"], s["class"]) for s in lines if s["row"] == row] for row in ROWS[1:]}
    assert sum(map(len, places.values())) == len(lines)
    assert len({tuple(of_row) for of_row in places.values()}) == 1  # the same mixtures for every system
    assert len(set(places["clip"])) == len(places["clip"])
    assert {int(index) for index, _ in places["clip"]} == set(range(7))
    for line in lines:
        if not line["left_out"]:
            gain = float(line["si_sdr_db"]) - float(line["input_si_sdr_db"])
            assert float(line["improvement_db"]) == gain


def test_pandas_reads_every_table_as_documented(reproduction):
    tables = [path for path in reproduction.rglob("*.csv") if path.name != "metrics.csv"]
    assert {path.name for path in tables} == {"scores.csv", "table.csv", "summary.csv", "classifier.csv"}
    for path in tables:
        assert_as_documented(path, "Weak labels")


def test_pandas_reads_the_curves_as_numbers(reproduction):
    for row in TRAINED:
        curves = pandas.read_csv(reproduction / row / "curves" / "version_0" / "metrics.csv")
        assert all(pandas.api.types.is_numeric_dtype(kind) for kind in curves.dtypes)
        assert len(curves.dropna(subset="validation_loss")) == 1  # of one epoch


def test_both_judges_are_in_the_classifiers_table(separatrix, reproduction):
    lines = separatrix.rows(reproduction / "classifier.csv")
    assert [(line["supervision"], line["level"], line["class"]) for line in lines] == [
        (supervision, level, label)
        for supervision in ("frame", "clip")
        for level in ("frame", "clip")
        for label in CLASSES
    ]


def test_a_second_run_trains_and_evaluates_nothing(separatrix, command, reproduction):
    before = separatrix.listing(reproduction)
    outcome = separatrix.succeed(*command, "--jobs", "1", "--output", reproduction)
    after = separatrix.listing(reproduction)
    assert "13 stages, 0 left" in outcome.out
    assert "to do" not in outcome.out
    assert before.keys() == after.keys()
    made_again = {name for name in after if before[name] != after[name]}
    assert made_again <= {"table.csv", "table.md", "scores.csv", "classifier.csv"}
    assert {name: before[name][0] for name in made_again} == {name: after[name][0] for name in made_again}


def test_the_same_folder_by_another_name_is_complete_too(separatrix, command, reproduction, monkeypatch):
    monkeypatch.chdir(reproduction.parent)
    outcome = separatrix.succeed(*command, "--jobs", "1", "--output", reproduction.name)
    assert "0 stages" in outcome.out


def test_two_stages_at_a_time_give_the_same_table_even_where_a_setting_was_refused_before(
    separatrix, command, reproduction, tmp_path
):
    refusal = separatrix.run(*command, "--trainer.max_epoks", "1", "--jobs", "1", "--output", tmp_path)
    assert refusal.status == 2
    assert refusal.err.splitlines()[-2:] == [
        "separatrix fit: --trainer.max_epoks: no such setting; did you mean --trainer.max_epochs?",
        "separatrix reproduce: strong.fit ended with status 2; what was complete before is kept",
    ]
    outcome = separatrix.succeed(*command, "--jobs", "2", "--output", tmp_path)
    assert "epoch 1/1" in outcome.out
    for name in ("table.csv", "scores.csv", "classifier.csv"):
        assert (tmp_path / name).read_bytes() == (reproduction / name).read_bytes()


def test_another_configuration_does_not_touch_a_finished_reproduction(separatrix, command, reproduction):
    before = separatrix.listing(reproduction)
    outcome = separatrix.run(*command, "--trainer.max_epochs", "2", "--jobs", "1", "--output", reproduction)
    assert outcome.status == 2
    (line,) = outcome.err.splitlines()
    assert line.startswith("separatrix reproduce: ") and "holds a run of another configuration" in line
    assert separatrix.listing(reproduction) == before


def test_the_commands_of_a_dry_run_make_the_same_rows_one_by_one(separatrix, command, reproduction, tmp_path):
    outcome = separatrix.succeed(*command, "--dry-run", "--output", tmp_path)
    assert not list(tmp_path.iterdir())
    commands = [shlex.split(line) for line in outcome.out.splitlines()]
    assert len(commands) == 13
    for program, *arguments in commands:
        assert program == "separatrix"
        separatrix.succeed(*arguments)
    for row in ROWS[1:]:
        assert (tmp_path / row / "scores.csv").read_bytes() == (reproduction / row / "scores.csv").read_bytes()


@pytest.mark.parametrize("variable, value", [("LOCAL_RANK", "0"), ("SLURM_STEP_NUM_TASKS", "2")])
def test_a_launcher_of_several_ranks_is_told_the_commands(variable, value, separatrix, command, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, value)
    outcome = separatrix.run(*command, "--output", tmp_path)
    assert outcome.status == 2
    first, *commands = outcome.err.splitlines()
    assert first.startswith("separatrix reproduce: start `reproduce` as one process")
    assert len(commands) == 13 and all(line.startswith("separatrix ") for line in commands)
    assert not list(tmp_path.iterdir())
