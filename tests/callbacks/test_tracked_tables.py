"""Files of rows as tables of W&B."""

from pathlib import Path
from types import SimpleNamespace

from callbacks import tracked_tables
from callbacks.rows import write_rows
from callbacks.tracked_tables import show_rows, track_rows
from callbacks.tracker import Tracker


class Run:
    """In place of a run: keeps what is logged."""

    id = "abc"

    def __init__(self) -> None:
        self.logged: list[dict] = []
        self.artifacts: list = []

    def log(self, values: dict) -> None:
        self.logged.append(values)

    def log_artifact(self, artifact) -> None:
        self.artifacts.append(artifact)


def test_columns_of_numbers_hold_numbers_and_nothing_where_there_is_none(tmp_path):
    path = tmp_path / "scores.csv"
    rows = [(0, "siren", "", 1.25, float("nan")), (1, "dog, bark", "silent source", float("inf"), "")]
    write_rows(path, ("index", "class", "left_out", "before", "after"), rows)
    run = Run()
    track_rows(SimpleNamespace(loggers=[Tracker(run)]), path)
    (values,) = run.logged
    table = values["tables/scores"]
    assert table.columns == ["index", "class", "left_out", "before", "after"]
    assert table.data == [[0.0, "siren", "", 1.25, None], [1.0, "dog, bark", "silent source", None, None]]


def test_a_file_without_rows_is_an_empty_table(tmp_path):
    write_rows(tmp_path / "none.csv", ("a", "b"), [])
    run = Run()
    show_rows(Tracker(run), tmp_path / "none.csv")
    assert run.logged[0]["tables/none"].data == []


def test_more_rows_than_a_browser_shows_are_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(tracked_tables, "MOST_ROWS", 3)
    run, path = Run(), tmp_path / "many.csv"
    for count, shown in ((3, True), (4, False)):
        write_rows(path, ("a",), [(number,) for number in range(count)])
        show_rows(Tracker(run), path)
        assert bool(run.logged) == shown
        run.logged.clear()
    (artifact,) = run.artifacts
    assert (artifact.type, artifact.name, dict(artifact.metadata)) == ("rows", "many-abc", {"rows": 4})
    copied = Path(artifact.manifest.entries["many.csv"].local_path)
    assert copied.read_bytes() == path.read_bytes()
