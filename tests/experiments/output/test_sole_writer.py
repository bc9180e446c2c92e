"""One writer at a time: who is refused, who never is, and what is left of it."""

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.output.sole_writer import InUseError, sole_writer
from lightning_modules.errors import InputError

# Holds a target with a forked process beside it, as a training has loader workers, until it is told to end.
HOLDING = """
import os, sys, time
from pathlib import Path
from experiments.output.sole_writer import sole_writer
with sole_writer(Path(sys.argv[1]), "--run", inside=sys.argv[2] == "inside"):
    if os.fork() == 0:
        time.sleep(600)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(target, inside):
    """A process that writes the target; the process that it forked outlives it until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, target, "inside" if inside else "beside"],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("inside", [True, False])
def test_a_second_writer_is_refused_while_the_first_lives_and_not_a_moment_longer(inside, tmp_path):
    target, linked = tmp_path / "run", tmp_path / "linked"
    linked.symlink_to(target)
    with holder(target, inside) as process:
        for name in (target, linked):
            with pytest.raises(InUseError) as refused, sole_writer(name, "--run", inside):
                pass
            who = f"process {process.pid} on {os.uname().nodename}"
            assert str(refused.value) == f"{target}: {who} writes it; let that end, or choose another --run"
        with sole_writer(tmp_path / "other", "--run", inside):
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        os.killpg(process.pid, 0)  # the forked process lives
        with sole_writer(target, "--run", inside):
            (target if inside else tmp_path).joinpath("result").touch()
    assert {path.name for path in tmp_path.rglob("*")} == (
        {"run", "linked", "result"} if inside else {"linked", "result"}
    )


def test_a_refused_writer_and_one_that_wrote_nothing_leave_no_folder(tmp_path):
    for inside in (True, False):
        with sole_writer(tmp_path / "a" / "b" / "c", "--run", inside):
            assert (tmp_path / "a" / "b").is_dir()
        assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_to_or_that_knows_no_locks_stops_nobody(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with sole_writer(tmp_path / "file" / "run", "--run", inside=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def unknown(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", unknown)
    with sole_writer(tmp_path / "run", "--run", inside=True):
        (tmp_path / "run" / "result").touch()
    assert (tmp_path / "run" / "result").exists()


def test_a_writer_whose_folder_was_moved_leaves_the_lock_of_the_next_one_alone(tmp_path):
    run = tmp_path / "run"
    with contextlib.ExitStack() as first:
        first.enter_context(sole_writer(run, "--run", inside=True))
        run.rename(tmp_path / "moved")
        with holder(run, inside=True):
            first.close()
            with pytest.raises(InUseError), sole_writer(run, "--run", inside=True):
                pass


@pytest.mark.parametrize("inside", [True, False])
def test_a_lock_is_not_written_through_a_link(tmp_path, inside):
    (tmp_path / "victim").write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    lock = run / ".writer" if inside else tmp_path / ".run.writer"
    lock.symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match=rf"{lock}: is a link.*remove it"), sole_writer(run, "--run", inside=inside):
        pass
    assert (tmp_path / "victim").read_text() == "mine"
