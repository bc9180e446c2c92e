"""Help answers at once: nothing heavy is imported for it."""

import subprocess
import sys

import pytest

from experiments.cli import COMMANDS

HELP = """
import sys
from experiments.cli import main
assert main(sys.argv[1:]) == 0
print([name for name in ("torch", "lightning") if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_neither_torch_nor_lightning(command):
    ended = subprocess.run([sys.executable, "-c", HELP, command, "--help"], capture_output=True, text=True)
    assert ended.stderr == "[]\n"
