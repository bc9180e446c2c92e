"""A table of results: any text stays in its cell, and no terminal cuts a cell or breaks a word."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from experiments.tables import Cell, Table, formatted

texts = st.text(max_size=12) | st.sampled_from(
    ["a|b", "a\\|b", "\x1b[31m", "<script>", "[x](y)", "[/red]", "a\nb", "`|`"]
)


def shown(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def cells(line: str) -> int:
    """How many cells a reader of Markdown sees: a bar after an odd number of backslashes is text."""
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) - 1


@given(st.lists(st.lists(texts, min_size=3, max_size=3), min_size=2, max_size=4), texts.filter(bool), texts)
def test_any_text_stays_in_its_cell(rows, title, note):
    table = Table(title, rows[0], rows[1:], [note])
    written = table.markdown()
    assert all(character.isprintable() or character == "\n" for character in written)
    lines = written.split("\n")
    assert lines[0].startswith("### ") and lines[1] == "" and lines[3] == "|---|---|---|"
    assert all(line.startswith("| ") and cells(line) == 3 for line in [lines[2], *lines[4 : 3 + len(rows)]])
    assert "<" not in written and "](" not in written.replace("\\](", "")
    assert "\x1b" not in shown(table, 300)


def test_names_of_odd_letters_are_shown_in_the_terminal_as_they_are():
    written = shown(Table("[bold]title", ["[red]a", "b"], [["[/red]", "[link=x]y"]]), 200)
    assert all(text in written for text in ("[bold]title", "[red]a", "[/red]", "[link=x]y"))


def test_a_published_figure_stands_in_brackets_beside_ours():
    table = Table("", ["dB", "siren"], [["Δ frame labels", Cell("3.1 ± 6", "2.0 ± 5", 1.1)]], ["A note."])
    assert table.markdown() == "| dB | siren |\n|---|---|\n| Δ frame labels | 3.1 ± 6 [2.0 ± 5] |\n\nA note.\n"
    written = shown(table, 80)
    assert "ours [published]" in written and "A note." not in written
    below = written.splitlines()
    assert below[-2].endswith("3.1 ± 6") and below[-1].endswith("[2.0 ± 5]")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_whatever_the_width_no_cell_is_cut_and_no_word_broken(width):
    columns = ["dB", *(f"class number {number}" for number in range(6))]
    names = ["Δ ideal ratio mask (truth, not learnt)", "by confidence of the masks' clusters"]
    rows = [[name, *(Cell(f"-{number}.5 ± 10.1", f"-{number}.4 ± 10.1") for number in range(6))] for name in names]
    lines = shown(Table("a table", columns, rows), width).splitlines()
    assert max(map(len, lines)) <= width
    for number in range(6):  # figures and their deviations stay in one line
        assert sum(f"-{number}.5 ± 10.1" in line for line in lines) == 2
        assert sum(f"[-{number}.4 ± 10.1]" in line for line in lines) == 2
    words = set(" ".join(lines).split())
    assert {word for text in (*columns, *names) for word in text.split()} <= words


def test_a_table_that_fits_a_width_to_the_last_column_is_not_parted():
    table = Table("", ["dB", *"abcdef"], [["x" * 30, *["-5.8 ± 10.1"] * 6]])
    lines = shown(table, 300).splitlines()
    assert shown(table, max(map(len, lines))).splitlines() == lines


def test_a_heading_of_figures_wraps_before_a_table_is_parted():
    table = Table("", ["", "input SI-SDR, dB"], [["x" * 30, "1.5"]])
    assert [line.split()[-1] for line in shown(table, 40).splitlines() if "SI-SDR" in line] == ["SI-SDR,"]


def test_names_of_rows_are_not_folded_into_three_lines():
    figures = [*["-5.8 ± 10.1"] * 4, *["5.8 ± 9.1"] * 2]  # which leave 12 of 80 columns
    lines = shown(Table("", ["dB", *"abcdef"], [["Δ oracle activity mask", *figures]]), 80).splitlines()
    assert any("activity mask" in line for line in lines)


def test_what_is_not_defined_is_a_dash():
    assert formatted(float("nan"), ".1%") == "–" and formatted(0.5, ".1%") == "50.0%"
