"""Machines that refuse or can do less: a full disk, a read-only one, a processor without AVX-512, another writer."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from experiments.output.sole_writer import sole_writer


@pytest.fixture
def on_disk(separatrix, tmp_path):
    """A function that runs a shell script in which `$@` is a command and `disk` a file system of that size.

    It gives what the script printed and what the command told as its own; the folder `kept` outlives the script.
    """
    (tmp_path / "disk").mkdir()
    (tmp_path / "kept").mkdir()
    private = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*private, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode:
        pytest.skip("this machine lets nobody but root mount a file system")

    def run(size, script, *arguments):
        mounted = f"mount -t tmpfs -o size={size} none '{tmp_path}/disk'\ncd '{tmp_path}'\n{script}"
        program = [*private, "sh", "-euc", mounted, "sh", sys.executable, "-m", "experiments.cli"]
        root = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
        ended = separatrix.run_process(*arguments, program=program, MPLCONFIGDIR="/tmp", PYTHONPATH=root)
        assert ended.status == 0, ended.err
        return ended.out, [line for line in ended.err.splitlines() if line.startswith("separatrix ")]

    return run


@pytest.mark.soak
def test_a_training_on_a_full_disk_says_so_keeps_its_checkpoints_and_resumes_when_there_is_room(
    separatrix, on_disk, tmp_path
):
    script = '"$@" || echo "status $?"; cp -r disk/run kept/full; mount -o remount,size=10m disk\n'
    fit = ["fit", *separatrix.arguments("strong"), "--run", tmp_path / "disk" / "run", "--ckpt_path", "last"]
    size = separatrix.best("strong").stat().st_size * 3 // 2 // 1024  # of best.ckpt and half of last.ckpt
    out, (told,) = on_disk(f"{size}k", f'{script}"$@"; cp -r disk/run kept/enlarged', *fit)
    assert "status 2" in out
    assert told.startswith(f"separatrix fit: {tmp_path}/disk/run/checkpoints/last.ckpt: No space left on device")
    full, enlarged = (tmp_path / "kept" / name / "checkpoints" for name in ("full", "enlarged"))
    assert [path.name for path in full.iterdir()] == ["best.ckpt"]
    for path in (full / "best.ckpt", enlarged / "best.ckpt", enlarged / "last.ckpt"):
        assert separatrix.same_weights(path, separatrix.best("strong"))


@pytest.mark.soak
def test_an_evaluation_on_a_full_disk_keeps_the_rows_that_were_written(separatrix, on_disk, tmp_path):
    script = """head -c 24k /dev/zero >disk/ballast; "$@" || echo "status $?"
        ls disk/run disk/run/scores.parts >kept/listing
        rm disk/ballast; mount -o remount,size=10m disk; "$@"; cp disk/run/scores.csv kept"""
    settings = ["--ckpt_path", separatrix.best("strong"), "--logger", "none"]
    test = ["test", *separatrix.arguments("strong", test_mixtures=200), *settings]
    out, (told,) = on_disk("52k", script, *test, "--run", tmp_path / "disk" / "run")
    assert "status 2" in out
    assert told.startswith(f"separatrix test: {tmp_path}/disk/run/scores") and "No space left on device" in told
    assert "scores.csv" not in (tmp_path / "kept" / "listing").read_text()
    separatrix.succeed(*test, "--run", tmp_path / "roomy")
    assert (tmp_path / "kept" / "scores.csv").read_bytes() == (tmp_path / "roomy" / "scores.csv").read_bytes()


OLDER = """
import sys, torch
from experiments.cli import main
try:
    with torch.autocast("cpu", torch.bfloat16):
        torch.nn.LSTM(8, 8)(torch.zeros(3, 2, 8))
    sys.exit(77)
except RuntimeError as error:
    assert "could not create a primitive descriptor" in str(error)
print("statuses", main([*sys.argv[1:], "bf16-mixed"]), main([*sys.argv[1:], "auto"]))
"""


def test_a_cpu_without_avx_512_trains_in_what_it_can_do(separatrix, tmp_path):
    arguments = ["fit", *separatrix.arguments("strong"), "--run", tmp_path / "run", "--trainer.precision"]
    program = [sys.executable, "-c", OLDER]
    outcome = separatrix.run_process(*arguments, program=program, ONEDNN_MAX_CPU_ISA="AVX2")
    if outcome.status == 77:
        pytest.skip("this torch runs an LSTM in bfloat16 without AVX-512")
    assert "statuses 2 0" in outcome.out, outcome.err
    told = "this CPU cannot run an LSTM in it; `auto` takes what it can do, 32-true goes everywhere"
    assert f"separatrix fit: --trainer.precision bf16-mixed: {told}\n" in outcome.err
    assert "precision 32-true" in outcome.out and (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()


@pytest.mark.parametrize("name", ["fit", "test", "reproduce", "synthesize", "separate", "report", "export"])
def test_a_second_writer_is_refused_in_one_line_and_changes_nothing(name, separatrix, processes, tmp_path):
    strong, best = separatrix.arguments("strong"), separatrix.best("strong")
    output, recording, model = tmp_path / "output", tmp_path / "street.wav", tmp_path / "strong.safetensors"
    soundfile.write(recording, np.zeros(8000), 8000)
    arguments, target, inside = {
        "fit": ([*strong, "--run", output], output, True),
        "test": ([*strong, "--ckpt_path", best, "--run", output], output, True),
        "reproduce": (["weak-labels", "--output", output], output, True),
        "synthesize": ([*separatrix.scene_words(), "--output", output], output, False),
        "separate": (["--model", best, recording, "--output", output], output / "street", False),
        "report": ([separatrix.systems / "strong", "--output", output], output, False),
        "export": ([best, "--output", model], model, False),
    }[name]
    option = "--run" if "--run" in arguments else "--output"
    with sole_writer(target, option, inside):
        before = separatrix.listing(tmp_path)
        ended = processes.run(name, *arguments)
        assert separatrix.listing(tmp_path) == before
    assert ended.status == 2 and "Traceback" not in ended.printed, ended.printed
    told = [line for line in ended.printed.splitlines() if line.startswith("separatrix ")]
    who = f"process {os.getpid()} on {os.uname().nodename}"
    assert told == [f"separatrix {name}: {target}: {who} writes it; let that end, or choose another {option}"]
