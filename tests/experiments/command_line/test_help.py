"""Help answers at once: nothing heavy is imported for it."""

import subprocess
import sys

HELP = """
import sys
from experiments.cli import COMMANDS, main
for command in COMMANDS:
    assert main([command, "--help"]) == 0
    assert not {"torch", "lightning"} & {*sys.modules}, command
"""


def test_help_imports_neither_torch_nor_lightning():
    assert subprocess.run([sys.executable, "-c", HELP], stdout=subprocess.DEVNULL).returncode == 0
