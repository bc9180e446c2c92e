"""Rows on disk: numbers and texts survive, and what holds no rows is refused."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.errors import InputError
from lightning_modules.scores.rows import numbers, read_rows, read_table, whole_numbers, write_rows

COLUMNS = ("index", "class", "value")


@given(st.lists(st.floats(width=64)))
def test_numbers_come_back_exactly(values):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.csv"
        write_rows(path, COLUMNS, [(i, "siren", value) for i, value in enumerate(values)])
        table = read_table(path, COLUMNS)
    np.testing.assert_array_equal(numbers(path, table, ["value"])[:, 0], values)
    assert whole_numbers(path, table, "index").tolist() == list(range(len(values)))


def test_rows_are_written_as_python_writes_numbers_and_csv_texts(tmp_path):
    rows = [(np.int64(3), 'horn, "old"', np.float64(0.1)), (4, "", math.nan), (5, "nan", -math.inf), (6, "", "")]
    write_rows(tmp_path / "a.csv", COLUMNS, rows)
    text = 'index,class,value\n3,"horn, ""old""",0.1\n4,,nan\n5,nan,-inf\n6,,\n'
    assert (tmp_path / "a.csv").read_bytes() == text.encode()
    back = [dict(zip(COLUMNS, map(str, row), strict=True)) for row in rows]
    assert read_rows(tmp_path / "a.csv") == back


def test_a_failing_write_leaves_the_old_file(tmp_path):
    write_rows(tmp_path / "a.csv", COLUMNS, [(1, "siren", 0.5)])

    def failing():
        yield 2, "siren", 0.5
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_rows(tmp_path / "a.csv", COLUMNS, failing())
    assert len(read_rows(tmp_path / "a.csv")) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'value', found none"),
        (b"index,class\n1,2\n", "no column 'value', found index, class"),
        (b"index,class,value\n1,2,3,4\n", "not readable as CSV"),
        (b"index,class,value\n1,2,3\n1,2,3,4\n", "not readable as CSV"),
        (b"index,class,value\n\xff,2,3\n", "not readable as CSV in UTF-8"),
        (b'index,class,value\n1,"2,3\n', "not readable as CSV"),
        (b"index,class,value\n1,2\n", "value: could not convert"),
    ],
)
def test_a_file_that_holds_no_such_rows_is_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        numbers(path, read_table(path, ("value",)), ["value"])
    assert str(error.value).startswith(str(path)) and str(error.value).isprintable()


@given(st.text())
def test_a_cell_is_a_number_or_refused_by_its_column(text):
    table = pd.DataFrame({"index": [text]}, dtype=str)
    for read, columns in ((whole_numbers, "index"), (numbers, ["index"])):
        try:
            read(Path("scores.csv"), table, columns)
        except InputError as error:
            assert str(error).startswith("scores.csv: index") and str(error).isprintable()
