"""Row files: what ranks and interruptions may do to them, and that numbers survive."""

import csv
import math
import tempfile
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.rows import RowParts, index_of, read_rows, value_of, write_rows
from lightning_modules.errors import InputError

COLUMNS = ("index", "class", "value")


def rows_of(mixture: int) -> list[tuple[int, str, float]]:
    """Two rows of a mixture, siren before dog: not in alphabetical order."""
    return [(mixture, "siren", mixture + 0.1), (mixture, "dog_bark", -mixture / 3)]


def as_text(rows: list[tuple[int, str, float]]) -> list[list[str]]:
    return [[str(index), label, repr(value)] for index, label, value in rows]


def read(folder: Path) -> list[list[str]]:
    """The rows of all parts."""
    return [row for lines in RowParts(folder, COLUMNS).read().values() for row in csv.reader(lines)]


def append(folder: Path, mixtures: list[int], rank: int = 0, batch: int = 2) -> None:
    """What one rank writes, in batches."""
    parts = RowParts(folder, COLUMNS)
    for begin in range(0, len(mixtures), batch):
        parts.append([row for mixture in mixtures[begin : begin + batch] for row in rows_of(mixture)], rank)
    parts.close()


def test_parts_of_several_ranks_merge_into_one_file_sorted_by_index(tmp_path):
    append(tmp_path / "parts", [1, 4, 7, 10], rank=1)
    append(tmp_path / "parts", [0, 3, 6, 9], rank=0)
    append(tmp_path / "parts", [2, 5, 8], rank=2)
    parts = RowParts(tmp_path / "parts", COLUMNS)
    parts.merge(tmp_path / "scores.csv", 22)
    parts.remove()
    expected = [dict(zip(COLUMNS, row, strict=True)) for mixture in range(11) for row in as_text(rows_of(mixture))]
    assert read_rows(tmp_path / "scores.csv") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_the_merged_file_is_the_same_byte_for_byte_on_any_number_of_ranks(tmp_path):
    merged = []
    for ranks in (1, 2, 5):
        folder = tmp_path / str(ranks)
        for rank in range(ranks):
            append(folder / "parts", list(range(rank, 12, ranks)), rank, batch=1 + ranks)
        RowParts(folder / "parts", COLUMNS).merge(folder / "scores.csv", 24)
        merged.append((folder / "scores.csv").read_bytes())
    assert merged[0].startswith(b"index,class,value\n0,siren,0.1\n")
    assert merged[0] == merged[1] == merged[2]


def test_rows_outlive_a_process_that_never_closes_its_part(tmp_path):
    RowParts(tmp_path, COLUMNS).append(rows_of(3), rank=0)
    assert read(tmp_path) == as_text(rows_of(3))


def test_rows_that_a_network_shows_late_are_waited_for(tmp_path):
    append(tmp_path / "parts", [0, 1], rank=0)
    late = threading.Timer(0.2, append, (tmp_path / "parts", [2, 3], 1))
    late.start()
    RowParts(tmp_path / "parts", COLUMNS).merge(tmp_path / "scores.csv", 8)
    late.join()
    assert len(read_rows(tmp_path / "scores.csv")) == 8


@pytest.mark.parametrize("count", [3, 5])
def test_a_file_with_rows_missing_or_too_many_is_never_written(count, tmp_path):
    append(tmp_path / "parts", [0, 1], rank=0)
    with pytest.raises(InputError, match=rf"parts: 4 rows are there, {count} were written by this evaluation; give"):
        RowParts(tmp_path / "parts", COLUMNS).merge(tmp_path / "scores.csv", count, patience=0)
    assert not (tmp_path / "scores.csv").exists()


def test_a_mixture_that_two_processes_scored_is_there_once(tmp_path):
    for rank, mixtures in ((0, [0, 1, 2]), (1, [1, 3])):
        append(tmp_path / "parts", mixtures, rank, batch=1)
    assert read(tmp_path / "parts") == [row for mixture in range(4) for row in as_text(rows_of(mixture))]


def test_of_rows_that_are_merged_little_more_than_their_text_is_in_memory(tmp_path):
    append(tmp_path / "parts", list(range(4000)), batch=16)
    size = sum(part.stat().st_size for part in (tmp_path / "parts").iterdir())
    tracemalloc.start()
    RowParts(tmp_path / "parts", COLUMNS).merge(tmp_path / "scores.csv", 8000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size + 250 * 8000  # lists of strings have 400 bytes a row


def test_without_any_part_there_are_no_rows(tmp_path):
    parts = RowParts(tmp_path / "never-made", COLUMNS)
    assert parts.read() == {}
    parts.merge(tmp_path / "scores.csv", 0)
    assert (tmp_path / "scores.csv").read_text() == "index,class,value\n"


def cut(folder: Path, length: int) -> None:
    (part,) = folder.glob("rank-*.csv")
    part.write_bytes(part.read_bytes()[:length])


def test_a_last_line_that_a_kill_cut_short_is_left_out(tmp_path):
    append(tmp_path, [0, 1], batch=1)
    (part,) = tmp_path.glob("rank-*.csv")
    cut(tmp_path, part.read_bytes().index(b"1,siren") + len(b"1,siren,1"))
    assert read(tmp_path) == as_text(rows_of(0))


def test_wherever_a_kill_cuts_a_part_a_mixture_has_all_its_rows_or_none(tmp_path):
    append(tmp_path, [0, 1, 2, 3])
    (part,) = tmp_path.glob("rank-*.csv")
    for length in range(len(part.read_bytes()) - 1, -1, -1):
        cut(tmp_path, length)
        found = read(tmp_path)
        assert found == [row for index in sorted({int(row[0]) for row in found}) for row in as_text(rows_of(index))]


def test_an_evaluation_that_goes_on_after_a_kill_loses_no_row_even_under_the_same_process_number(tmp_path):
    append(tmp_path, [0, 1], batch=1)
    (part,) = tmp_path.glob("rank-*.csv")
    cut(tmp_path, part.read_bytes().index(b"1,siren") + 3)
    append(tmp_path, [1, 2])
    assert read(tmp_path) == as_text(rows_of(0) + rows_of(1) + rows_of(2))


@given(st.lists(st.floats(width=64)))
def test_numbers_come_back_exactly(values):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.csv"
        write_rows(path, COLUMNS, [(i, "siren", value) for i, value in enumerate(values)])
        back = [float(row["value"]) for row in read_rows(path)]
    assert len(back) == len(values)
    for value, again in zip(values, back, strict=True):
        assert again == value or (math.isnan(again) and math.isnan(value))


def test_numpy_numbers_are_written_like_python_numbers(tmp_path):
    write_rows(tmp_path / "a.csv", COLUMNS, [(np.int64(3), "siren", np.float64(0.1))])
    assert (tmp_path / "a.csv").read_text() == "index,class,value\n3,siren,0.1\n"


def test_text_with_separators_comes_back(tmp_path):
    write_rows(tmp_path / "a.csv", COLUMNS, [(0, 'horn, "old"', 1.0)])
    assert read_rows(tmp_path / "a.csv") == [{"index": "0", "class": 'horn, "old"', "value": "1.0"}]


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "scores.csv"
    write_rows(path, COLUMNS, rows_of(1))
    before = path.read_bytes()

    def failing():
        yield from rows_of(2)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_rows(path, COLUMNS, failing())
    assert path.read_bytes() == before


def test_rows_of_another_model_or_data_are_refused_and_those_of_the_same_are_gone_on_with(tmp_path):
    earlier = RowParts(tmp_path / "parts", ["index"])
    earlier.belong_to("one")
    earlier.append([(1,)], rank=0)
    earlier.close()
    later = RowParts(tmp_path / "parts", ["index"])
    later.belong_to("one")
    assert [path.name for path in (tmp_path / "parts").glob("owner-*")] == ["owner-one"]
    with pytest.raises(InputError, match="rows of an interrupted test of another model or data"):
        later.belong_to("another")
    assert later.read() == {1: ["1\n"]}


def test_an_evaluation_without_rows_leaves_nothing_of_its_owner_to_the_next(tmp_path):
    RowParts(tmp_path, ["index"]).belong_to("one")
    RowParts(tmp_path, ["index"]).belong_to("another")
    assert [path.name for path in tmp_path.iterdir()] == ["owner-another"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column 'value', found none"),
        (b"index,class\n1,2\n", "no column 'value', found index, class"),
        (b"index,class,value\n1,2\n", "row 1: not 3 values"),
        (b"index,class,value\n1,2,3\n1,2,3,4\n", "row 2: not 3 values"),
        (b"index,class,value\n\xff,2,3\n", "not readable as CSV in UTF-8"),
        (b"index,class,value\n" + b"x" * 200_000 + b",2,3\n", "not readable as CSV in UTF-8"),
    ],
)
def test_a_file_that_holds_no_such_rows_is_refused_in_one_line(content, message, tmp_path):
    (tmp_path / "scores.csv").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_rows(tmp_path / "scores.csv", ("value",))
    assert str(error.value).startswith(f"{tmp_path / 'scores.csv'}") and str(error.value).isprintable()


@pytest.mark.parametrize(
    "content", [b"x,siren,1.0\n\n", b"1,siren\n\n", b"-1,a,2\n\n", b"1,a,2\n\xff\n\n", b'1,"a,2\n\n']
)
def test_a_damaged_part_is_refused_by_name(content, tmp_path):
    (tmp_path / "rank-0-x.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"rank-0-x\.csv: damaged; delete it, its mixtures are then evaluated again"):
        RowParts(tmp_path, COLUMNS).read()


@given(st.text(), st.sampled_from(["index", "value"]))
def test_a_cell_is_a_number_or_refused_by_its_column(text, column):
    for function, kind in ((value_of, float), (index_of, int)):
        try:
            assert isinstance(function(Path("scores.csv"), {column: text}, column), kind)
        except InputError as error:
            assert str(error).startswith(f"scores.csv: {column} ") and str(error).isprintable()
