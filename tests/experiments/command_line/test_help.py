"""Help answers at once: nothing heavy is imported for it."""

import os
import signal
import subprocess
import sys

import pytest

from experiments.cli import main

HELP = """
import sys
from experiments.cli import COMMANDS, main
for command in COMMANDS:
    assert main([command, "--help"]) == 0
    assert not {"torch", "lightning"} & {*sys.modules}, command
"""


def test_help_imports_neither_torch_nor_lightning():
    assert subprocess.run([sys.executable, "-c", HELP], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["check"], "a folder of recordings is needed, or one of own_recordings, urbansound8k"),
        (["check", "--follow-links"], "a folder of recordings is needed, or one of own_recordings, urbansound8k"),
        (["reproduce"], "the following arguments are required: system (weak-labels or model-selection)"),
        (["report"], "the following arguments are required: run"),
        (["separate", "walk.mp3"], "the following arguments are required: --model, --output"),
    ],
)
def test_what_is_missing_is_named_as_it_is_typed(arguments, told, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"separatrix {arguments[0]}: {told}")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["configs"]])
def test_a_reader_that_has_seen_enough_ends_the_output_without_a_word(arguments):
    call = "import sys; from experiments.cli import main; sys.exit(main(sys.argv[1:]))"
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        ended = subprocess.run([sys.executable, "-c", call, *arguments], stdout=closed, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")
