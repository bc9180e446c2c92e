"""A folder that replaces another one: at every moment one of the two is there."""

import os
from pathlib import Path

import pytest

from experiments.output.new_folder import new_folder

MOMENTS = ["amid the writing", "before the old one is moved", "between the two", "after the new one is there"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interruption_leaves_one_of_the_folders(moment, tmp_path, monkeypatch):
    out, rename, renamed = tmp_path / "out", os.rename, []
    out.mkdir()
    (out / "made").write_text("old")

    def interrupted(source: Path, target: Path) -> None:
        number = len(renamed)
        renamed.append(target)
        if (moment, number) == ("before the old one is moved", 0):
            raise KeyboardInterrupt
        rename(source, target)
        if (moment, number) in (("between the two", 0), ("after the new one is there", 1)):
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), new_folder(out, overwrite=True, made_by_us="made") as folder:
        (folder / "made").write_text("new")
        if moment == "amid the writing":
            raise KeyboardInterrupt
    assert (out / "made").read_text() == ("new" if moment == "after the new one is there" else "old")
    assert not (tmp_path / ".out.unfinished").exists() and not (tmp_path / "..out.writer").exists()
