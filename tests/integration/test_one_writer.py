"""A command whose target another process writes: refused in one line, and the target stays as it is."""

import os

import numpy as np
import pytest
import soundfile

from experiments.output.sole_writer import sole_writer


def commands(separatrix, folder):
    """By name: the command, its target, the option that chooses it, whether it is a folder that is written in place."""
    strong, best = separatrix.arguments("strong"), separatrix.best("strong")
    run, output, recording = folder / "run", folder / "output", folder / "street.wav"
    soundfile.write(recording, np.zeros(8000), 8000)
    evaluated = [*strong, "--ckpt_path", best, "--run", run]
    scenes = ["--config", "weak_labels/base", "--config", "weak_labels/demo/data"]
    scenes += separatrix.as_options(separatrix.data())
    exported = ["--output", folder / "strong.safetensors"]
    return {
        "fit": ([*strong, "--run", run], run, "--run", True),
        "test": (evaluated, run, "--run", True),
        "reproduce": (["weak-labels", "--output", output], output, "--output", True),
        "synthesize": ([*scenes, "--output", output], output, "--output", False),
        "separate": (["--model", best, recording, "--output", output], output / "street", "--output", False),
        "report": ([separatrix.systems / "strong", "--output", output], output, "--output", False),
        "export": ([best, *exported], folder / "strong.safetensors", "--output", False),
    }


@pytest.mark.parametrize("name", ["fit", "test", "reproduce", "synthesize", "separate", "report", "export"])
def test_a_second_writer_is_refused_in_one_line_and_changes_nothing(name, separatrix, processes, tmp_path):
    arguments, target, option, inside = commands(separatrix, tmp_path)[name]
    with sole_writer(target, option, inside):
        before = separatrix.listing(tmp_path)
        ended = processes.run(name, *arguments)
        assert separatrix.listing(tmp_path) == before
    assert ended.status == 2, ended.printed
    told = [line for line in ended.printed.splitlines() if line.startswith("separatrix ")]
    who = f"process {os.getpid()} on {os.uname().nodename}"
    assert told == [f"separatrix {name}: {target}: {who} writes it; let that end, or choose another {option}"]
    assert "Traceback" not in ended.printed
