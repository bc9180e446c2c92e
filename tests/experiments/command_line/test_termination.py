"""How processes end at SIGTERM, at an awkward moment."""

import os
import subprocess
import sys
from pathlib import Path

WRITING = """
import os, signal, sys
from experiments import cli

def write(name, arguments):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        raise RuntimeError("unexpected pos 7936 vs 7844")

cli.run_command = write
sys.argv = ["separatrix", "fit"]
sys.exit(cli.main())
"""


def test_sigterm_amid_the_writing_of_a_checkpoint_is_no_error_of_the_writer():
    # As torch's writer does, which makes an error of its own of what a signal's handler raises within it.
    ended = subprocess.run(
        [sys.executable, "-c", WRITING],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 143, ended.stderr
    assert ended.stderr.split("\n", 1)[1] == "interrupted; this resumes it:\n  separatrix fit\n"
