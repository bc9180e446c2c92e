"""Growing row files: what ranks and interruptions may do to them."""

import threading

import pytest

from callbacks.row_parts import RowParts
from lightning_modules.errors import InputError
from lightning_modules.scores.rows import read_rows, recordings_field

COLUMNS = ("index", "class", "value")


def rows_of(mixture):
    """Two rows of a mixture, siren before dog: not in alphabetical order."""
    return [(mixture, "siren", mixture + 0.1), (mixture, "dog, bark", -mixture / 3)]


def lines_of(mixture):
    return [f"{mixture},siren,{mixture + 0.1!r}\n", f'{mixture},"dog, bark",{-mixture / 3!r}\n']


def append(folder, mixtures, rank=0, batch=2):
    """What one rank writes, in batches."""
    parts = RowParts(folder, COLUMNS)
    for begin in range(0, len(mixtures), batch):
        parts.append([row for mixture in mixtures[begin : begin + batch] for row in rows_of(mixture)], rank)
    parts.close()


def read(folder):
    return RowParts(folder, COLUMNS).read()


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_parts_of_any_number_of_ranks_merge_into_the_same_file_sorted_by_index(ranks, tmp_path):
    for rank in reversed(range(ranks)):
        append(tmp_path / "scores.parts", list(range(rank, 12, ranks)), rank, batch=1 + ranks)
    parts = RowParts(tmp_path / "scores.parts", COLUMNS)
    parts.merge(tmp_path / "scores.csv", 24)
    parts.remove()
    expected = ["index,class,value\n", *(line for mixture in range(12) for line in lines_of(mixture))]
    assert (tmp_path / "scores.csv").read_text() == "".join(expected)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_rows_are_counted_and_outlive_a_process_that_never_closes_its_part(tmp_path):
    parts = RowParts(tmp_path, COLUMNS)
    assert [parts.append(rows, rank=0) for rows in (rows_of(3), [], rows_of(4))] == [2, 0, 2]
    assert read(tmp_path) == {3: lines_of(3), 4: lines_of(4)}


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


def test_a_mixture_that_two_processes_scored_is_there_once_and_without_parts_there_is_none(tmp_path):
    assert read(tmp_path / "never-made") == {}
    for rank, mixtures in ((0, [0, 1, 2]), (1, [1, 3])):
        append(tmp_path, mixtures, rank, batch=1)
    assert read(tmp_path) == {mixture: lines_of(mixture) for mixture in range(4)}
    later = RowParts(tmp_path, COLUMNS)
    later.append([(1, "siren", 7.0)], rank=2)
    later.close()
    assert read(tmp_path)[1] == lines_of(1)


def test_wherever_a_kill_cuts_a_part_a_mixture_has_all_its_rows_or_none_and_later_ones_follow(tmp_path):
    append(tmp_path, [0, 1, 2, 3])
    (part,) = tmp_path.glob("rank-*.csv")
    whole = part.read_bytes()
    for length in range(len(whole), -1, -1):
        part.write_bytes(whole[:length])
        found = read(tmp_path)
        assert found == {mixture: lines_of(mixture) for mixture in range(len(found))}
        assert len(found) == 2 * whole[:length].count(b"\n\n")
    part.write_bytes(whole[: len(whole) // 2 + 3])
    append(tmp_path, [1, 2])
    assert read(tmp_path) == {mixture: lines_of(mixture) for mixture in range(3)}


def test_rows_of_another_model_or_data_are_refused_and_those_of_the_same_are_resumed(tmp_path):
    RowParts(tmp_path, COLUMNS).belong_to("none")  # an evaluation without rows leaves nothing to the next
    RowParts(tmp_path, COLUMNS).belong_to("one")
    append(tmp_path, [1])
    RowParts(tmp_path, COLUMNS).belong_to("one")
    assert [path.name for path in tmp_path.glob("owner-*")] == ["owner-one"]
    with pytest.raises(InputError, match="rows of an interrupted test of another model or data"):
        RowParts(tmp_path, COLUMNS).belong_to("another")
    assert read(tmp_path) == {1: lines_of(1)}


@pytest.mark.parametrize(
    "content", [b"x,siren,1.0\n\n", b"1,siren\n\n", b"-1,a,2\n\n", b"1,a,2\n\xff\n\n", b'1,"a,2\n\n']
)
def test_a_damaged_part_is_refused_by_name(content, tmp_path):
    (tmp_path / "rank-0-x.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"rank-0-x\.csv: damaged, or of a test with other columns; delete it"):
        read(tmp_path)


def test_parts_are_not_written_into_a_linked_folder(tmp_path):
    (tmp_path / "scores.parts").symlink_to(tmp_path)
    with pytest.raises(InputError, match=r"scores\.parts: is a link"):
        RowParts(tmp_path / "scores.parts", COLUMNS)


def test_names_of_recordings_of_any_reader_stay_within_their_line(tmp_path):
    parts = RowParts(tmp_path / "scores.parts", COLUMNS)
    written = parts.append([(0, "siren", recordings_field(["Side A\nTrack 1", "a|b"])), (1, "dog", "c")], rank=0)
    parts.close()
    parts.merge(tmp_path / "scores.csv", written)
    assert [row["value"] for row in read_rows(tmp_path / "scores.csv")] == [r"Side A\nTrack 1|a/b", "c"]
