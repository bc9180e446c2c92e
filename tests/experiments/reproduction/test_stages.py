"""Stages of a reproduction: their order, what is done only once, what is refused."""

import json
import sys

import pytest

from experiments.reproduction import run_stages as module
from experiments.reproduction.run_stages import run_stages
from experiments.reproduction.stage import Record, Stage
from lightning_modules.errors import InputError
from lightning_modules.run_files import RunFiles


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
    config.write_text("a: 2\n")
    assert fingerprint != Record(here, []).fingerprint


def test_how_a_stage_is_followed_and_how_fast_is_no_part_of_what_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    followed = ("--logger", "wandb", "--group", "mine", "--data.workers", "7", "--data.bank_folder=/elsewhere")
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
    assert begun.state() == "started"
    assert other.state() is None
    path = tmp_path / "a" / result
    path.parent.mkdir()
    path.write_text("")
    assert begun.state() == "started"
    with pytest.raises(InputError, match="holds a run of another configuration"):
        other.state()


def test_a_training_goes_on_from_its_last_epoch_and_an_evaluation_does_not(tmp_path):
    training, evaluation = (stage(tmp_path, "a", command=command) for command in ("fit", "test"))
    assert training.command() == list(training.arguments)
    checkpoint = RunFiles(training.run).last
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("")
    assert training.command() == [*training.arguments, "--ckpt_path", str(checkpoint)]
    assert evaluation.command() == list(evaluation.arguments)


def test_a_stage_is_shown_as_a_command_that_a_shell_takes(tmp_path):
    assert (
        str(Stage("a", ("fit", "--data.train_folds", "[1, 2]"), tmp_path))
        == "separatrix fit --data.train_folds '[1, 2]'"
    )


@pytest.fixture
def launcher(tmp_path):
    """A launcher that notes the words it is given, by stages, in place of running them."""
    program, seen = tmp_path / "launcher", tmp_path / "seen"
    program.write_text(f'#!/bin/sh\necho "$*" >> {seen}\n')
    program.chmod(0o755)
    return program, seen


def test_a_launcher_starts_the_ranks_of_every_stage_but_the_bank(tmp_path, commands, launcher, capfd):
    program, seen = launcher
    launch = [str(program), "-n", "4"]
    run_stages([stage(tmp_path, "a"), stage(tmp_path, "b")], jobs=4, launch=launch)
    words = f"-n 4 {sys.executable} -m experiments.cli"
    assert seen.read_text().splitlines() == [f"{words} test --run {tmp_path / name}" for name in "ab"]
    assert not commands
    assert "to do: a, b" in capfd.readouterr().out
    assert stage(tmp_path, "a").shown(launch) == f"{program} -n 4 separatrix test --run {tmp_path / 'a'}"
    bank = stage(tmp_path, "bank", command="bank")
    assert bank.words(launch) == [sys.executable, "-m", "experiments.cli", *bank.arguments]
    assert bank.shown(launch) == str(bank)


def test_stages_apart_are_processes_of_their_own(tmp_path, commands, capfd):
    with pytest.raises(InputError, match=r"^a ended with status 2"):
        run_stages([stage(tmp_path, "a", command="nothing")], jobs=1, apart=True)
    assert not commands
    assert capfd.readouterr().err.startswith("separatrix: no command 'nothing'")


def test_side_by_side_a_failure_names_its_stage_last_line_and_log(tmp_path):
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


def test_a_record_is_written_as_a_whole(tmp_path):
    record = Record(stage(tmp_path, "a"), [])
    for state in ("started", "complete"):
        record.write(state)
        assert json.loads(record.path.read_text()) == {"state": state, "fingerprint": record.fingerprint}
        assert [path.name for path in record.path.parent.iterdir()] == ["a.json"]
