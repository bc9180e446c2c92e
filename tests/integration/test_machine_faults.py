"""A machine that refuses: a full disk, a read-only file system, no permission. Real ones, in real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def small_disk(folder, size, script):
    """Words that run a shell script where `folder` is a file system of that size, seen by this script alone.

    In the script, `$@` is the command.
    """
    mounted = f"mount -t tmpfs -o size={size} none '{folder}'\n{script}"
    return ["unshare", "--map-root-user", "--mount", "sh", "-euc", mounted, "sh"]


def run(prefix, *arguments):
    """A `separatrix` command in a process of its own, behind the prefix."""
    command = [*prefix, sys.executable, "-m", "experiments.cli", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": "/tmp"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def mounts():
    """Whether this machine lets a process have mounts of its own."""
    probe = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], check=False
    )
    if probe.returncode:
        pytest.skip("this machine lets nobody but root mount a file system")


@pytest.fixture
def disk(mounts, tmp_path):
    """A folder to mount a small disk on, and one that stays when that is gone."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "kept").mkdir()
    return tmp_path / "disk", tmp_path / "kept"


def lines(text):
    """What a command printed as its own, without the libraries' chatter."""
    return [line for line in text.splitlines() if line.startswith("separatrix ")]


def test_a_training_on_a_full_disk_says_so_keeps_its_checkpoints_and_goes_on_when_there_is_room(
    separatrix, disk, tmp_path
):
    folder, kept = disk
    # Room for best.ckpt and half of last.ckpt; then for everything.
    script = f"""
        "$@" || echo "status $?"
        cp -r '{folder}/run' '{kept}/full'
        mount -o remount,size=10m '{folder}'
        "$@"
        cp -r '{folder}/run' '{kept}/enlarged'"""
    fit = ["fit", *separatrix.arguments("strong"), "--run", folder / "run", "--ckpt_path", "last"]
    size = separatrix.best("strong").stat().st_size * 3 // 2 // 1024
    outcome = run(small_disk(folder, f"{size}k", script), *fit)
    assert outcome.returncode == 0, outcome.stderr
    assert "status 2" in outcome.stdout
    (told,) = lines(outcome.stderr)
    assert told.startswith(f"separatrix fit: {folder}/run/checkpoints/last.ckpt: No space left on device")
    assert [path.name for path in (kept / "full" / "checkpoints").iterdir()] == ["best.ckpt"]
    for name in ("full", "enlarged"):
        assert separatrix.same_weights(kept / name / "checkpoints" / "best.ckpt", separatrix.best("strong"))
    assert separatrix.same_weights(kept / "enlarged" / "checkpoints" / "last.ckpt", separatrix.best("strong"))


@pytest.mark.soak
def test_an_evaluation_on_a_full_disk_keeps_the_rows_that_were_written(separatrix, disk):
    folder, kept = disk
    script = f"""
        head -c 24k /dev/zero >'{folder}/ballast'
        "$@" || echo "status $?"
        ls '{folder}/run' '{folder}/run/scores.parts' >'{kept}/listing'
        rm '{folder}/ballast'
        mount -o remount,size=10m '{folder}'
        "$@"
        cp '{folder}/run/scores.csv' '{kept}'"""
    settings = ["--ckpt_path", separatrix.best("strong"), "--logger", "none"]
    test = ["test", *separatrix.arguments("strong", test_mixtures=200), *settings]
    outcome = run(small_disk(folder, "52k", script), *test, "--run", folder / "run")
    assert outcome.returncode == 0, outcome.stderr
    assert "status 2" in outcome.stdout
    (told,) = lines(outcome.stderr)
    assert told.startswith(f"separatrix test: {folder}/run/scores") and "No space left on device" in told
    assert "scores.csv" not in (kept / "listing").read_text()
    separatrix.succeed(*test, "--run", kept / "roomy")
    assert (kept / "scores.csv").read_bytes() == (kept / "roomy" / "scores.csv").read_bytes()


def test_a_sound_bank_that_the_disk_cannot_hold_leaves_nothing(separatrix, disk):
    folder, kept = disk
    script = f"""
        "$@" || echo "status $?"
        ls -A '{folder}/banks' >'{kept}/listing'"""
    data = separatrix.as_options(separatrix.data(bank_folder=folder / "banks"))
    bank = ["bank", "--config", "weak_labels/base", "--config", "weak_labels/demo/data", *data]
    outcome = run(small_disk(folder, "400k", script), *bank)
    assert "status 2" in outcome.stdout, outcome.stderr
    (told,) = lines(outcome.stderr)
    assert told.startswith(f"separatrix bank: {folder}/banks: cannot write the sound bank (No space left on device)")
    assert not (kept / "listing").read_text()


def test_a_read_only_file_system_is_named(separatrix, disk):
    folder, kept = disk
    script = f"""
        mount -o remount,ro '{folder}'
        "$@" """
    data = separatrix.arguments("strong", bank_folder=folder / "new")
    outcome = run(small_disk(folder, "1m", script), "fit", *data, "--run", kept / "run")
    assert outcome.returncode == 2
    told = f"separatrix fit: {folder}/new: cannot write the sound bank (Read-only file system)"
    assert [line.startswith(told) for line in lines(outcome.stderr)] == [True]
    assert not list(kept.iterdir())


def test_a_folder_without_permission_is_named(separatrix, tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o555)
    # Root may write everywhere, unless that capability is taken away.
    as_a_user = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    outcome = run(as_a_user, "fit", *separatrix.arguments("strong"), "--run", folder / "run")
    assert outcome.returncode == 2
    assert lines(outcome.stderr) == [f"separatrix fit: {folder}/run: cannot be written to; choose another --run"]
