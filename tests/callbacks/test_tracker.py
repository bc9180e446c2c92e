"""A run of W&B that follows a trainer: where values stand, files of rows as tables, and what happens when W&B fails."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from callbacks import wandb_tracker as module
from callbacks.tracker import track_rows
from callbacks.wandb_tracker import WandbTracker
from lightning_modules.scores.rows import write_rows


class Run:
    """In place of a run: keeps what is logged, and fails from the n-th time on."""

    id = "abc"

    def __init__(self, fails_at: int | None = None) -> None:
        self.logged: list[dict] = []
        self.artifacts: list = []
        self.summary: dict = {}
        self.calls = 0
        self.fails_at = fails_at

    def log(self, values: dict) -> None:
        self.calls += 1
        if self.fails_at is not None and self.calls >= self.fails_at:
            raise ConnectionResetError("Connection\nlost")
        self.logged.append(values)

    def log_artifact(self, artifact) -> None:
        self.artifacts.append(artifact)


@pytest.mark.parametrize(("given", "step", "stands"), [(None, 7, 7), (40, None, 40), (40, 3, 40)])
def test_values_stand_at_the_trainers_step_and_those_of_an_evaluation_at_its_checkpoints(given, step, stands):
    run, tracker = Run(), WandbTracker()
    tracker.log_metrics({"loss": 0.5}, 1)  # before the run has begun
    tracker.run, tracker.step = run, given
    tracker.log_metrics({"loss": 1.5}, step)
    assert run.logged == [{"loss": 1.5, "trainer/global_step": stands}]


@pytest.mark.parametrize(("command", "name"), [("test", "loss"), ("validate", "validate/loss")])
def test_numbers_of_an_evaluation_are_figures_of_the_summary_and_no_charts(command, name):
    run = Run()
    WandbTracker(command, run).log_metrics({"loss": 0.5, "epoch": 3}, 7)
    assert run.summary == {name: 0.5} and run.logged == []


def test_a_failure_is_told_once_and_nothing_more_is_sent(capsys):
    run = Run(fails_at=2)
    tracker = WandbTracker(run=run)
    for step in range(5):
        tracker.log_metrics({"loss": 1.0}, step)
    assert len(run.logged) == 1 and run.calls == 2
    assert capsys.readouterr().err == "W&B failed and is left alone: ConnectionResetError: Connection lost\n"


def test_columns_of_numbers_hold_numbers_and_nothing_where_there_is_none(tmp_path):
    rows = [(0, "siren", "", 1.25, float("nan")), (1, "dog, bark", "silent source", float("inf"), "")]
    for path, lines in ((tmp_path / "scores.csv", rows), (tmp_path / "none.csv", [])):
        write_rows(path, ("index", "class", "left_out", "before", "after"), lines)
        run = Run()
        track_rows(SimpleNamespace(loggers=[object(), WandbTracker(), WandbTracker(run=run)]), path)
        table = run.logged[0][f"tables/{path.stem}"]
        assert table.columns == ["index", "class", "left_out", "before", "after"]
        expected = [[0.0, "siren", "", 1.25, None], [1.0, "dog, bark", "silent source", None, None]]
        assert table.data == (expected if lines else [])


def test_more_rows_than_a_browser_shows_are_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    run, path = Run(), tmp_path / "many.csv"
    for count, shown in ((3, 1), (4, 0)):
        write_rows(path, ("a",), [(number,) for number in range(count)])
        run.logged.clear()
        WandbTracker(run=run).show_rows(path)
        assert len(run.logged) == shown
    (artifact,) = run.artifacts
    assert (artifact.type, artifact.name, dict(artifact.metadata)) == ("rows", "many-abc", {"rows": 4})
    assert Path(artifact.manifest.entries["many.csv"].local_path).read_bytes() == path.read_bytes()
