"""How processes end at SIGTERM and Ctrl-C, at an awkward moment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WRITING = """
import os, signal, sys
from experiments import cli

def write(name, arguments):
    try:
        os.kill(os.getpid(), int(arguments[1]))
    finally:
        print("cleaning", file=sys.stderr)
        raise RuntimeError("unexpected pos 7936 vs 7844")

cli.run_command = write
sys.argv = ["separatrix", "fit", sys.argv[1]]
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
sys.exit(cli.main())
"""


@pytest.mark.parametrize(
    ("number", "status", "said_at_once"), [(signal.SIGTERM, 143, ""), (signal.SIGINT, 130, "\nstopping ...\n")]
)
def test_a_signal_amid_the_writing_of_a_checkpoint_is_no_error_of_the_writer(number, status, said_at_once):
    # As torch's writer does, which makes an error of its own of what a signal's handler raises within it.
    ended = subprocess.run(
        [sys.executable, "-c", WRITING, str(int(number))],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == status, ended.stderr
    resumes = f"interrupted; this resumes it:\n  separatrix fit {int(number)}\n"
    assert ended.stderr == f"{said_at_once}cleaning\n\n{resumes}"
