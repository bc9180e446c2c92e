"""A run of W&B that follows a trainer: where values stand, and what happens when W&B fails."""

from types import SimpleNamespace

import pytest

from callbacks.tracker import Tracker, trackers


class Run:
    """In place of a run: keeps what is logged, and fails from the n-th time on."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.logged: list[dict] = []
        self.calls = 0
        self.fails_at = fails_at

    def log(self, values: dict) -> None:
        self.calls += 1
        if self.fails_at is not None and self.calls >= self.fails_at:
            raise ConnectionResetError("Connection\nlost")
        self.logged.append(values)


def test_values_stand_at_the_trainers_step():
    run = Run()
    Tracker(run).log_metrics({"loss": 1.5}, 7)
    assert run.logged == [{"loss": 1.5, "trainer/global_step": 7}]


@pytest.mark.parametrize("step", [None, 0, 3])
def test_values_of_an_evaluation_stand_at_the_step_of_its_checkpoint(step):
    run = Run()
    Tracker(run, step=40).log_metrics({"loss": 1.5}, step)
    assert run.logged == [{"loss": 1.5, "trainer/global_step": 40}]


def test_a_failure_is_told_once_and_nothing_more_is_sent(capsys):
    run = Run(fails_at=2)
    tracker = Tracker(run)
    for step in range(5):
        tracker.log_metrics({"loss": 1.0}, step)
    assert len(run.logged) == 1 and run.calls == 2
    assert capsys.readouterr().err == "W&B failed and is left alone: ConnectionResetError: Connection lost\n"


def test_only_trackers_are_found_among_the_loggers():
    tracker = Tracker(Run())
    assert trackers(SimpleNamespace(loggers=[object(), tracker])) == [tracker]
    assert trackers(SimpleNamespace(loggers=[])) == []
