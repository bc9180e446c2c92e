"""A network of one's own in the current folder, from its training to its report, by the commands that are printed."""

import shlex
import sys

import numpy as np
import pytest
import soundfile

NETWORK = '''
from torch import nn


class Convolutions(nn.Module):
    """Convolutions over time, normalised over the batch."""

    def __init__(self, inputs: int, outputs: int, channels: int = 8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(inputs, channels, 3, padding=1), nn.BatchNorm1d(channels), nn.Conv1d(channels, outputs, 1)
        )

    def forward(self, features):
        return self.layers(features)
'''


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A folder with a network and a recording, in which commands are started."""
    (tmp_path / "own_networks.py").write_text(NETWORK)
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, 8000)
    soundfile.write(tmp_path / "RECORDING.wav", samples, 8000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def printed_next(outcome):
    """Arguments of the commands that a command prints at its end."""
    lines = outcome.out.replace(" \\\n", " ").split("\nnext")[1].splitlines()
    return [shlex.split(line)[1:] for line in lines if line.split()[:1] == ["separatrix"]]


def test_what_is_printed_next_works_from_training_to_separation_and_report(separatrix, own_folder):
    def fresh(*arguments):
        """As in a process of its own, which does not know the network."""
        sys.modules.pop("own_networks", None)
        return separatrix.succeed(*arguments)

    settings = separatrix.arguments("strong")
    position = settings.index("--model.network.units")
    network = ["--model.network", "own_networks.Convolutions", "--model.network.channels", "6"]
    optimizer = ["--model.optimizer", "SGD", "--model.optimizer.lr", "0.1", "--model.optimizer.momentum", "0.9"]
    trained = fresh("fit", *settings[:position], *network, *optimizer, "--run", "runs/own")
    (test,) = printed_next(trained)
    assert test[0] == "test"
    tested = fresh(*test)
    report, separate = sorted(printed_next(tested))
    assert [report[0], separate[:3]] == ["report", ["separate", "--import", "own_networks"]]
    assert "missing:" not in fresh(*report, "--examples", "1").out
    fresh(*separate)
    assert len(list((own_folder / "separated").rglob("*.wav"))) == 6  # five classes and the residual
    for file in ("runs/own/checkpoints/best.ckpt", "model.safetensors"):
        if file.endswith(".safetensors"):
            fresh("export", "--import", "own_networks", "runs/own/checkpoints/best.ckpt", "--output", file, "--half")
        assert "own_networks.Convolutions" in "".join(fresh("card", file).out.split())
        assert "own_networks" not in sys.modules
    refused = separatrix.run("separate", "--model", "model.safetensors", "RECORDING.wav", "--output", "again")
    assert refused.status == 2 and "--import own_networks makes a class of your own known" in refused.err
