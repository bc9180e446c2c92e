"""Files that are there as a whole or not at all; that kills do not change it is in tests/integration."""

import os

import pytest

from lightning_modules.atomic_file import atomic_file, write_text_atomically


def test_a_file_comes_to_its_place_with_its_folder_and_nothing_beside_it(tmp_path):
    path = tmp_path / "run" / "table.md"
    write_text_atomically(path, "α ± σ\n")
    assert path.read_text() == "α ± σ\n"
    assert list(path.parent.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_block_ends_and_where_it_fails(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), atomic_file(path) as file:
        file.write(b"half of a longer file")
        raise OSError("disk full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    (tmp_path / ".table.md.partial").write_text("half of a longer file that a kill left")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["table.md", ".table.md.partial"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / name).symlink_to(tmp_path / "victim")
    write_text_atomically(tmp_path / "table.md", "new")
    assert (tmp_path / "victim").read_text() == "mine" and not (tmp_path / "table.md").is_symlink()
    assert (tmp_path / "table.md").read_text() == "new" and len(list(tmp_path.iterdir())) == 2


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    happened = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (happened.append(os.readlink(f"/proc/self/fd/{file}")), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda one, two: (happened.append(str(two)), replace(one, two)))
    path = tmp_path / "table.md"
    write_text_atomically(path, "new")
    assert happened == [str(tmp_path / ".table.md.partial"), str(path)]


def test_a_new_file_may_be_read_by_everyone_who_may_read_new_files(tmp_path):
    (tmp_path / "plain").touch()
    write_text_atomically(tmp_path / "table.md", "")
    assert (tmp_path / "table.md").stat().st_mode == (tmp_path / "plain").stat().st_mode
