"""A report's tables: any text stays in its cell, and what is not defined is a dash."""

import io
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from experiments.reproduction.model_selection_sections import (
    confusion_section,
    correlation_section,
    difference_section,
)
from experiments.reproduction.weak_labels_table import score_section
from experiments.sections import Section, markdown, terminal_table
from lightning_modules.scores.ensembles import Confusion
from lightning_modules.scores.intervals import Correlation, Difference

texts = st.text(max_size=12) | st.sampled_from(
    ["a|b", "a\\|b", "\x1b[31m", "<script>", "[x](y)", "[/red]", "a\nb", "`|`"]
)


def cells(line: str) -> int:
    """How many cells a reader of Markdown sees: a bar after an odd number of backslashes is text."""
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) - 1


@given(st.lists(st.lists(texts, min_size=3, max_size=3), min_size=2, max_size=4), texts.filter(bool), texts)
def test_any_text_stays_in_its_cell(rows, title, remark):
    section = Section(title, rows[0], rows[1:], [remark])
    written = markdown(section)
    assert all(character.isprintable() or character == "\n" for character in written)
    lines = written.split("\n")
    table = lines[2 : 3 + len(rows)]
    assert lines[0].startswith("### ") and lines[1] == ""
    assert (
        all(line.startswith("| ") and cells(line) == 3 for line in table[:1] + table[2:])
        and table[1] == "|---|---|---|"
    )
    assert "<" not in written and "](" not in written.replace("\\](", "")
    console = Console(file=io.StringIO(), width=300)
    console.print(terminal_table(section))
    assert "\x1b" not in console.file.getvalue()


def test_names_of_odd_letters_are_shown_in_the_terminal_as_they_are():
    console = Console(file=io.StringIO(), width=200)
    console.print(terminal_table(Section("[bold]title", ["[red]a", "b"], [["[/red]", "[link=x]y"]])))
    assert all(text in console.file.getvalue() for text in ("[bold]title", "[red]a", "[/red]", "[link=x]y"))


def test_what_is_not_defined_is_a_dash_and_never_nan():
    nan = float("nan")
    sections = [
        correlation_section([Correlation("speech", "own", "pearson", nan, nan, nan, 2, 1, 1000)], {}),
        difference_section([Difference("confidence", "random", "speech", 0.5, nan, nan, 1, 1)]),
        confusion_section("picked", Confusion(("speech",), ("speech", "music"), np.zeros((1, 2), np.int64)), {}),
    ]
    for section in sections:
        written = markdown(section)
        assert "nan" not in written.lower() and "–" in written


def test_reasons_and_classes_of_a_row_file_stay_in_their_place():
    written = markdown(score_section([], {"strong": {"a|b\n# title": 3}}))
    assert "a\\|b # title" in written and "\n# title" not in written


def test_a_section_without_a_title_is_its_table_alone():
    assert markdown(Section("", ["a", "b"], [["c", "d"]])) == "| a | b |\n|---|---|\n| c | d |\n"
