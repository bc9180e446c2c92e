"""Stages of a reproduction: their order, what is done only once, what is refused."""

import io
import re
import sys

import pytest
from rich.console import Console

import separatrix_entry
from callbacks.step_progress import Progress
from experiments.reproduction import run_stages as module
from experiments.reproduction.run_stages import run_stages
from experiments.reproduction.stage import Record, Stage
from experiments.reproduction.time_left import Forecast
from lightning_modules import choices
from lightning_modules.errors import InputError


@pytest.fixture
def commands(monkeypatch):
    """The commands that were run in this process; one whose arguments name `broken` fails with status 2."""
    seen = []

    def main(arguments):
        seen.append(list(arguments))
        return 2 if "broken" in arguments else 0

    monkeypatch.setattr(module, "main", main)
    return seen


def stage(tmp_path, name, *arguments, needs=(), command="test"):
    return Stage(name, (command, *arguments, "--run", str(tmp_path / name)), tmp_path / name, needs)


def test_stages_run_once_in_their_order(tmp_path, commands):
    stages = [stage(tmp_path, "a"), stage(tmp_path, "b", needs=("a",)), stage(tmp_path, "c", needs=("a", "b"))]
    run_stages(stages, jobs=1)
    assert commands == [list(s.arguments) for s in stages]
    run_stages(stages, jobs=1)
    assert len(commands) == 3


def test_what_is_imported_by_name_is_known_to_every_stage_and_no_part_of_what_it_is(tmp_path, monkeypatch):
    alone = stage(tmp_path, "a")
    before = Record(alone, []).fingerprint
    monkeypatch.setattr(choices, "named_modules", {"my_classes"})
    assert alone.command()[-2:] == alone.words(["srun"])[-2:] == ["--import", "my_classes"]
    assert alone.shown().endswith(" --import my_classes") and Record(alone, []).fingerprint == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b'{"state": "complete"}', b"\xff", b"[" * 100_000])
def test_a_damaged_record_is_named_and_nothing_runs(content, tmp_path, commands):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: damaged; delete it to run a again$"):
        run_stages([stage(tmp_path, "a")], jobs=1)
    assert not commands


def test_what_was_complete_before_a_failure_is_kept(tmp_path, commands):
    stages = [stage(tmp_path, "a"), stage(tmp_path, "b", "broken"), stage(tmp_path, "c")]
    with pytest.raises(InputError, match=r"^b ended with status 2; what was complete before is kept$"):
        run_stages(stages, jobs=1)
    assert [command[-1] for command in commands] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert [Record(s, []).state() for s in stages] == ["complete", "started", None]
    # The same command runs what had only begun, and what comes after it.
    with pytest.raises(InputError):
        run_stages(stages, jobs=1)
    assert [command[-1] for command in commands[2:]] == [str(tmp_path / "b")]


def test_a_stage_is_another_one_when_its_configuration_says_other_things_not_when_it_has_other_comments(tmp_path):
    def fingerprint(text):
        (tmp_path / "mine.yaml").write_text(text)
        return Record(stage(tmp_path, "a", "--config", str(tmp_path / "mine.yaml")), []).fingerprint

    first = fingerprint("model:\n  gain: 1\n")
    assert fingerprint("# louder?\nmodel: {gain: 1}\n") == first != fingerprint("model:\n  gain: 2\n")


def test_a_stage_is_another_one_when_what_it_needs_is(tmp_path):
    first, again = (Record(stage(tmp_path, "b", needs=("a",)), [fingerprint]) for fingerprint in ("x", "y"))
    first.write("complete")
    with pytest.raises(
        InputError, match=r"holds a run of another configuration; choose another --output or delete it$"
    ):
        again.state()


def test_a_configuration_counts_by_its_content_and_a_folder_not_at_all(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("a: 1\n")
    here, there = (stage(tmp_path / folder, "a", "--config", str(config)) for folder in ("here", "there"))
    fingerprint = Record(here, []).fingerprint
    assert fingerprint == Record(there, []).fingerprint
    Record(here, []).write("complete")
    config.write_text("a: 2\n")
    again = Record(here, [])
    assert fingerprint != again.fingerprint
    with pytest.raises(InputError, match=rf"of another configuration \(--config {config}\); choose"):
        again.state()


def test_how_a_stage_is_followed_and_how_fast_is_no_part_of_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    followed = ("--logger", "wandb", "--group", "mine", "--data.workers", "7", "--data.bank_folder=/elsewhere")
    followed += ("--data.corpus.follow_links=true",)
    root = ("--data.corpus.root", "data")
    fingerprints = [
        Record(stage(tmp_path, "a", "--trainer.max_epochs", *words), []).fingerprint
        for words in (
            ("3", *root),
            ("3", *root, *followed),
            ("3", "--data.corpus.root", str(tmp_path / "data")),
            ("4", *root),
            ("3", "--data.corpus.root", "other"),
        )
    ]
    assert len({*fingerprints[:3]}) == 1 and len({*fingerprints}) == 3


@pytest.mark.parametrize("command, result", [("fit", "checkpoints/last.ckpt"), ("test", "scores.parts/rank-0.csv")])
def test_a_stage_that_only_began_occupies_its_folder_once_it_has_results(command, result, tmp_path):
    begun, other = (Record(stage(tmp_path, "a", setting, command=command), []) for setting in ("--x", "--y"))
    begun.write("started")
    assert begun.state() == "started" and other.state() is None
    assert begun.stage.command() == list(begun.stage.arguments)
    path = tmp_path / "a" / result
    path.parent.mkdir()
    path.write_text("")
    assert begun.state() == "started"
    with pytest.raises(InputError, match="holds a run of another configuration"):
        other.state()
    resumed = ["--ckpt_path", str(path)] if command == "fit" else []
    assert begun.stage.command() == [*begun.stage.arguments, *resumed]


def test_a_launcher_starts_the_ranks_of_every_stage_but_the_bank(tmp_path, commands):
    program, seen = tmp_path / "launcher", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\necho "$*" >> {seen}\n')
    program.chmod(0o755)
    launch, own = [str(program), "-n", "4"], [sys.executable, separatrix_entry.__file__]
    run_stages([stage(tmp_path, "a"), stage(tmp_path, "b")], jobs=4, launch=launch)
    words = " ".join(["-n 4", *own])
    assert seen.read_text().splitlines() == [f"{words} test --run {tmp_path / name}" for name in "ab"]
    with pytest.raises(InputError, match=r"^c ended with status 2"):  # apart, by itself
        run_stages([stage(tmp_path, "c", command="nothing")], jobs=1, apart=True)
    assert not commands
    assert stage(tmp_path, "a").shown(launch) == f"{program} -n 4 separatrix test --run {tmp_path / 'a'}"
    bank = stage(tmp_path, "bank", "[1, 2]", command="bank")
    assert bank.words(launch) == [*own, *bank.arguments]
    assert bank.shown(launch) == str(bank) == f"separatrix bank '[1, 2]' --run {bank.run}"


def test_side_by_side_a_failure_names_its_stage_last_line_and_log(tmp_path, capsys):
    # Real processes: two commands that are refused, and one that waits for both.
    first, second = (stage(tmp_path, name, command="nothing") for name in "ab")
    last = stage(tmp_path, "c", needs=("a", "b"))
    with pytest.raises(InputError) as refusal:
        run_stages([first, second, last], jobs=2)
    message = str(refusal.value)
    assert message.startswith(
        ("a ended with status 2: separatrix: no command", "b ended with status 2: separatrix: no")
    )
    assert "\n" not in message and message.endswith(".log)")
    assert not (tmp_path / "c").exists()
    log = str(tmp_path / "a" / "a.log")
    lines = capsys.readouterr().out.splitlines()
    assert f"    log: {log}" in lines and all(len(line) <= 80 or line.startswith("    log: ") for line in lines)


def test_the_time_left_is_judged_by_stages_of_the_same_command_and_by_what_waits_for_what(tmp_path):
    first, second = (stage(tmp_path, name, command="fit") for name in ("a", "b"))
    third = stage(tmp_path, "c", command="fit", needs=("a",))
    tests = [stage(tmp_path, f"{fit.name}.test", needs=(fit.name,)) for fit in (first, second, third)]
    one, two = (Forecast([first, second, third, *tests], jobs) for jobs in (1, 2))
    assert one.seconds({}) is None and one.later(first) == "0 2"  # no training is known; two more as long as this one
    running = {"a": Progress("epoch 1/2", 0.5, took=10, left=30), "b": Progress("epoch 2/2", 0.5, took=15, left=5)}
    # c as long as a and b in the mean, tests not known: a, then c; on one core b, too.
    assert (one.seconds(running), two.seconds(running)) == (30 + 5 + 30, 30 + 30)
    # As long as a is in its first epoch, b says how long it takes; nobody, as long as both are.
    running["a"] = running["a"]._replace(left=None)
    assert (one.seconds(running), two.seconds(running)) == (20 + 5 + 20, 20 + 20)
    running["b"] = running["b"]._replace(left=None)
    assert one.seconds(running) is None
    for forecast in (one, two):
        forecast.complete(first, 40)
        forecast.complete(second, 20)
        forecast.complete(tests[0], 6)
    assert (one.seconds({}), two.seconds({})) == (30 + 6 + 6, 30 + 6)
    assert one.later(third) == "12.0 0" and one.later(tests[1]) == "30.0 1"


@pytest.mark.parametrize("terminal", [True, False])
def test_what_moves_is_told_in_80_columns_on_a_terminal_and_in_a_log(terminal, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(module, "CONSOLE", Console(file=out, force_terminal=terminal, width=80, soft_wrap=True))
    monkeypatch.setattr(module, "EVERY", 0)
    running = {"environmental.validate": Progress("validation", 0.25, 100, 300)}
    running["classifier_frame.fit"] = Progress("epoch 12/16, validation", 0.5, 3000, 3590)
    display = module._Display()
    with display.bars:
        display.show(3, 13, running, 3900)
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    for said in ("3 of 13 stages", "about 1 h 05 min left", "environmental.validate", "epoch 12/16, validation"):
        assert said in shown
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", shown))
    assert ("59 min 50 s left" in shown) == terminal and ("validation 25%" in shown) != terminal
