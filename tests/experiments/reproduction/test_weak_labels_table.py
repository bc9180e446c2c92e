"""The table from rows alone."""

import csv
from itertools import product

import numpy as np
import pandas
import pytest
from rich.console import Console

from experiments.reproduction.weak_labels_table import PUBLISHED, make_table
from lightning_modules.scores.rows import read_rows, write_rows
from lightning_modules.scores.summary import CLASSIFIER_COLUMNS, SCORE_COLUMNS

CLASSES = ["dog_bark", "siren"]
SYSTEMS = ["clip", "frame", "strong", "gate", "ideal_ratio_mask"]


def write_judges(output, classes):
    """The judges' rows, which have every class, in the order of the settings."""
    for supervision in ("frame", "clip"):
        rows = [
            (supervision, level, label, 0.9, 0.8, 0.7, 60, 20) for level, label in product(("frame", "clip"), classes)
        ]
        write_rows(output / f"judge_{supervision}" / "classifier.csv", CLASSIFIER_COLUMNS, rows)


@pytest.fixture
def output(tmp_path):
    """Rows of two classes in thirty mixtures for every system; every fifth has no score."""
    generator = np.random.default_rng(0)
    before = generator.normal(-4, 5, (30, 2))
    for system, gain in zip(SYSTEMS, (3.0, 4.0, 6.0, 1.0, 12.0), strict=True):
        after = before + generator.normal(gain, 2, before.shape)
        rows = []
        for (mixture, label), x, y in zip(product(range(30), CLASSES), before.flat, after.flat, strict=True):
            scores = (float(x), float(y), float(y) - float(x)) if mixture % 5 else (np.nan,) * 3
            rows.append((mixture, label, "" if mixture % 5 else "single class", *scores))
        write_rows(tmp_path / system / "scores.csv", SCORE_COLUMNS, rows)
    write_judges(tmp_path, CLASSES)
    return tmp_path


def test_cells_are_the_statistics_of_their_scored_rows(output):
    make_table(output)
    cells = {(line["row"], line["class"]): line for line in read_rows(output / "table.csv")}
    assert list(cells) == list(product(["input", *SYSTEMS], [*CLASSES, "overall"]))
    for (row, label), cell in cells.items():
        column = "input_si_sdr_db" if row == "input" else "improvement_db"
        with (output / ("gate" if row == "input" else row) / "scores.csv").open() as file:
            values = [
                float(line[column])
                for line in csv.DictReader(file)
                if not line["left_out"] and label in ("overall", line["class"])
            ]
        assert int(cell["n"]) == len(values) == (48 if label == "overall" else 24)
        ours = [float(cell[f"{name}_db"]) for name in ("mean", "std", "median")]
        np.testing.assert_allclose(ours, [np.mean(values), np.std(values), np.median(values)], rtol=1e-12)


def test_pandas_tells_scored_rows_from_others_and_reads_the_very_numbers(output):
    make_table(output)
    rows = pandas.read_csv(output / "scores.csv")
    scored = rows.left_out.isna()
    assert scored.sum() == 5 * 48 and (rows.left_out[~scored] == "single class").all()
    assert rows.improvement_db[~scored].isna().all()
    assert rows.si_sdr_db[scored].tolist() == [
        float(line["si_sdr_db"]) for line in read_rows(output / "scores.csv") if not line["left_out"]
    ]


def test_published_figures_stand_beside_the_rows_that_the_paper_has(output):
    make_table(output)
    published = {(line["row"], line["class"]): (line["mean_db"], line["std_db"]) for line in read_rows(PUBLISHED)}
    for line in read_rows(output / "table.csv"):
        expected = published.get((line["row"], line["class"]), ("", ""))
        if line["class"] == "overall":  # the paper's is of five classes
            expected = ("", "")
        assert (line["published_mean_db"], line["published_std_db"]) == expected


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_table_fits_the_terminal_and_says_what_a_narrow_one_leaves_out(output, monkeypatch, capsys, columns):
    monkeypatch.setattr("experiments.reproduction.weak_labels_table.table_console", lambda: Console(width=columns))
    make_table(output)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    assert ("±" in shown) != ("too narrow" in " ".join(shown.split()))
    assert columns == 40 or "[-5.4" in shown  # the published input, beside ours


def test_the_published_overall_stands_beside_the_same_classes_only(output):
    write_judges(output, ["siren", "dog_bark", "car_horn", "gun_shot", "jackhammer"])
    make_table(output)
    overall = [line for line in read_rows(output / "table.csv") if line["class"] == "overall"]
    assert {line["row"]: line["published_mean_db"] for line in overall}["strong"] == "9.0"


def test_classes_stand_in_the_order_of_the_judges_rows(output):
    write_judges(output, CLASSES[::-1])
    make_table(output)
    assert [line["class"] for line in read_rows(output / "table.csv")][:3] == [*CLASSES[::-1], "overall"]


def test_the_published_table_is_the_papers():
    table = {
        "input": ("-5.8 ± 5.1", "-5.4 ± 4.8", "-5.5 ± 4.4", "-2.9 ± 4.8", "-3.0 ± 4.6", "-4.5 ± 4.9"),
        "clip": ("6.5 ± 6.1", "6.4 ± 4.4", "8.8 ± 5.5", "4.6 ± 3.8", "1.8 ± 6.7", "5.6 ± 5.9"),
        "frame": ("7.0 ± 7.4", "8.3 ± 5.6", "9.7 ± 5.4", "5.7 ± 4.2", "3.1 ± 6.4", "6.8 ± 6.3"),
        "strong": ("9.9 ± 10.1", "10.0 ± 7.1", "12.5 ± 8.0", "7.8 ± 6.6", "4.9 ± 8.9", "9.0 ± 8.6"),
    }
    columns = ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren", "overall")
    assert {(line["row"], line["class"]): f"{line['mean_db']} ± {line['std_db']}" for line in read_rows(PUBLISHED)} == {
        (row, label): cell for row, cells in table.items() for label, cell in zip(columns, cells, strict=True)
    }


def test_the_report_tells_what_was_left_out_and_why(output):
    make_table(output)
    report = (output / "table.md").read_text()
    for system in SYSTEMS:
        assert f"Left out of {system}: 12 rows (single class)." in report
    assert "| n | 24 | 24 | 48 |" in report


def test_all_rows_are_gathered_under_their_systems_name_unchanged(output):
    make_table(output)
    gathered = read_rows(output / "scores.csv")
    assert [line["row"] for line in gathered] == [system for system in SYSTEMS for _ in range(60)]
    for system in SYSTEMS:
        own = [{k: v for k, v in line.items() if k != "row"} for line in gathered if line["row"] == system]
        assert own == read_rows(output / system / "scores.csv")
    assert [line["supervision"] for line in read_rows(output / "classifier.csv")] == ["frame"] * 4 + ["clip"] * 4


def test_made_again_the_files_are_the_same(output):
    names = ("table.csv", "table.md", "scores.csv", "classifier.csv")
    make_table(output)
    first = [(output / name).read_bytes() for name in names]
    make_table(output)
    assert [(output / name).read_bytes() for name in names] == first


def test_a_class_without_any_scored_row_has_no_cell(output):
    write_judges(output, [*CLASSES, "car_horn"])
    make_table(output)
    assert {line["class"] for line in read_rows(output / "table.csv")} == {*CLASSES, "overall"}


def test_a_system_without_any_scored_row_has_no_cell_and_says_so(output):
    rows = [(mixture, "siren", "silent estimate", *(np.nan,) * 3) for mixture in range(30)]
    write_rows(output / "clip" / "scores.csv", SCORE_COLUMNS, rows)
    make_table(output)
    assert "clip" not in {line["row"] for line in read_rows(output / "table.csv")}
    assert "Left out of clip: 30 rows (silent estimate)." in (output / "table.md").read_text()


def test_the_table_says_what_its_figures_are_of(output):
    make_table(output, "Procedural sounds: no recordings.")
    assert (output / "table.md").read_text().startswith("Procedural sounds: no recordings.\n\n| dB |")
