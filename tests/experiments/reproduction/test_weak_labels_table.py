"""The table from rows alone."""

from itertools import product

import numpy as np
import pytest

from experiments.reproduction.weak_labels_table import PUBLISHED, make_table, published_figures, score_table
from lightning_modules.scores.rows import read_rows, write_rows
from lightning_modules.scores.summary import CLASSIFIER_COLUMNS, RECORDINGS, SCORE_COLUMNS

CLASSES = ["dog_bark", "siren"]
SYSTEMS = ["clip", "frame", "strong", "oracle_activity_mask", "ideal_ratio_mask"]


def write_classifiers(output, classes):
    """The classifiers' rows, which have every class, in the order of the settings."""
    for supervision in ("frame", "clip"):
        rows = [
            (supervision, level, label, 0.9, 0.8, 0.7, 60, 20) for level, label in product(("frame", "clip"), classes)
        ]
        write_rows(output / f"classifier_{supervision}" / "classifier.csv", CLASSIFIER_COLUMNS, rows)


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
    write_classifiers(tmp_path, CLASSES)
    return tmp_path


def test_published_figures_stand_beside_the_rows_that_the_paper_has(output):
    make_table(output)
    published = {(line["row"], line["class"]): (line["mean_db"], line["std_db"]) for line in read_rows(PUBLISHED)}
    for line in read_rows(output / "table.csv"):
        expected = published.get((line["row"], line["class"]), ("", ""))
        if line["class"] == "overall":  # the paper's is of five classes
            expected = ("", "")
        assert (line["published_mean_db"], line["published_std_db"]) == expected
    write_classifiers(output, ["siren", "dog_bark", "car_horn", "gun_shot", "jackhammer"])
    make_table(output)
    lines = read_rows(output / "table.csv")
    assert {line["row"]: line["published_mean_db"] for line in lines if line["class"] == "overall"}["strong"] == "9.0"
    assert [line["class"] for line in lines][:3] == ["siren", "dog_bark", "overall"]  # in the classifiers' order
    assert not published_figures(["drums", "bass"])


def test_a_reader_can_do_the_sum_of_our_figure_and_the_published_one(output):
    for name, *cells in score_table({row: output / row / "scores.csv" for row in SYSTEMS}, CLASSES).cells:
        for cell in cells:
            if cell.published:
                ours, theirs = (float(text.split(" ± ")[0]) for text in (cell.text, cell.published))
                assert cell.difference == (None if name.text == "input SI-SDR" else pytest.approx(ours - theirs))
            else:
                assert cell.difference is None


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


def test_the_text_says_what_its_figures_are_of_and_what_was_left_out(output, capsys):
    write_rows(output / "frame" / "scores.csv", SCORE_COLUMNS, [(0, "siren", "a|b\n# title", *(np.nan,) * 3)])
    make_table(output, "Procedural sounds: no recordings.")
    text = (output / "table.md").read_text()
    assert text.startswith("Procedural sounds: no recordings.\n\n| dB | dog bark | siren | overall |")
    assert (
        "Left out of oracle_activity_mask: 12 rows (single class)." in text
        and "a\\|b # title" in text
        and "\n# title" not in text
    )
    assert "[-5.4 ± 4.8]" in text and "| n | 24 | 24 | 48 |" in text
    assert "frame" not in {line["row"] for line in read_rows(output / "table.csv")}
    worse = "Where the improvement (Δ) is negative, the estimate is worse than the unprocessed mixture."
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith(f"Procedural sounds: no recordings. {worse}") and worse in text


def test_all_rows_are_gathered_under_their_systems_name_unchanged(output):
    make_table(output)
    gathered = read_rows(output / "scores.csv")
    assert [line["row"] for line in gathered] == [system for system in SYSTEMS for _ in range(60)]
    for system in SYSTEMS:
        own = [{k: v for k, v in line.items() if k != "row"} for line in gathered if line["row"] == system]
        assert own == read_rows(output / system / "scores.csv")
    assert [line["supervision"] for line in read_rows(output / "classifier.csv")] == ["frame"] * 4 + ["clip"] * 4


@pytest.mark.parametrize("label", ["residual", "animal/all"])
def test_a_residual_or_a_parent_has_a_column_behind_the_overall_and_no_part_in_it(output, label):
    make_table(output)
    before = [(output / name).read_text() for name in ("table.md", "table.csv")]
    for system in SYSTEMS:
        rows = [tuple(line.values()) for line in read_rows(output / system / "scores.csv")]
        rows = [(*row[:3], *map(float, row[3:])) for row in rows] + [(30, label, "", -9.0, 1.0, 10.0)]
        write_rows(output / system / "scores.csv", SCORE_COLUMNS, rows)
    make_table(output)
    text, table = ((output / name).read_text() for name in ("table.md", "table.csv"))
    assert f"| dB | dog bark | siren | overall | {label} |" in text and "| n | 24 | 24 | 48 | 1 |" in text
    others = [line for line in table.splitlines(keepends=True) if f",{label}," not in line]
    assert "".join(others) == before[1] and table.count(f",{label},") == 6
    assert text.split("\n\n")[2:] == before[0].split("\n\n")[2:]  # intervals and percentiles


def test_intervals_are_of_recordings_and_differences_of_rows_that_both_systems_have(tmp_path):
    """Two recordings: an interval is as wide as they differ, however many rows each makes."""
    for system, gain in zip(SYSTEMS, (1.0, 3.0, 3.0, 0.0, 9.0), strict=True):
        rows = [
            (mixture, label, "", 0.0, value, value, f"{label}{mixture % 2}")
            for mixture, label in product(range(40), CLASSES)
            for value in [gain + (4.0 if mixture % 2 else 0.0)]
        ]
        rows[0] = (0, CLASSES[0], *(("single class", *(np.nan,) * 3) if system == "clip" else rows[0][2:6]), rows[0][6])
        write_rows(tmp_path / system / "scores.csv", (*SCORE_COLUMNS, RECORDINGS), rows)
    write_classifiers(tmp_path, CLASSES)
    make_table(tmp_path)
    lines = (tmp_path / "table.md").read_text().splitlines()
    (heading,) = [number for number, line in enumerate(lines) if line.startswith("| improvement, dB |")]
    table = {
        name: cells for name, *cells in (line.strip("| ").split(" | ") for line in lines[heading + 2 : heading + 10])
    }
    assert table["Δ frame labels"][:2] == ["5.0, 3.0 to 7.0"] * 2
    assert table["frame labels - clip labels"] == ["2.0, 2.0 to 2.0"] * 3
    assert table["strong labels - frame labels"] == ["0.0, 0.0 to 0.0"] * 3
    assert table["recordings"] == ["2", "2", "4"]
    assert list(read_rows(tmp_path / "scores.csv")[0]) == ["row", *SCORE_COLUMNS, RECORDINGS]
