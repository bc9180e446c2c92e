"""How processes end at SIGTERM, at an awkward moment."""

import os
import subprocess
import sys
from pathlib import Path

SAVING = """
import io, os, signal, sys, torch
from experiments import cli

class Interrupted(io.BytesIO):
    def write(self, data):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().write(data)

cli._function = lambda name: lambda arguments: torch.save({"weights": torch.zeros(1000)}, Interrupted())
sys.argv = ["separatrix", "fit"]
sys.exit(cli.main())
"""


def test_sigterm_amid_the_writing_of_a_checkpoint_is_no_error_of_the_writer():
    # Torch's writer makes an error of its own of what a signal's handler raises within it.
    ended = subprocess.run(
        [sys.executable, "-c", SAVING],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 143, ended.stderr
    assert ended.stderr.strip() == "interrupted; the same command goes on from here"
