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


SEPARATOR = """
from torch import nn

from separatrix import SeparatrixModule, WeakLabelSeparator, in_best_order


class Filters(SeparatrixModule):
    permutation_invariant = True
    classes = ("source_1", "source_2")

    def __init__(self, cut: int = 0, sample_rate: int = 8000, window: int = 128, hop: int = 64):
        super().__init__(sample_rate, window, hop)
        self.save_hyperparameters()
        self.cut = cut
        self.filters = nn.Conv1d(1, 2, 65, padding="same")

    def forward(self, mixture):
        return self.filters(mixture.unsqueeze(1))[..., self.cut :]

    def training_step(self, batch, batch_index, split="train"):
        estimates = in_best_order(self(batch.mixture), batch.sources)
        return self.log_loss((estimates - batch.sources).abs().mean((1, 2)), batch, split)

    def validation_step(self, batch, batch_index):
        self.training_step(batch, batch_index, "validation")
        return self(batch.mixture)

    def predict_step(self, batch, batch_index):
        return self(batch.mixture)

    test_step = predict_step


class Unlogged(Filters):
    validation_step = Filters.predict_step


class Nameless(Filters):
    classes = property()  # raises AttributeError


class Louder(WeakLabelSeparator):
    def forward(self, mixture):
        return 2 * super().forward(mixture)
"""


@pytest.fixture
def own_separators(own_folder):
    (own_folder / "own_separators.py").write_text(SEPARATOR)
    yield own_folder
    sys.modules.pop("own_separators", None)


def pairs(separatrix):
    """Words of a training of any model on pairs of sources."""
    words = separatrix.selection("environmental")
    return words[2:]  # without the selection's configuration


def test_a_separator_of_ones_own_is_trained_tested_reported_and_refused_where_its_forward_is_not_called(
    separatrix, own_separators
):
    scored = ["--trainer.callbacks+", "SeparationEvaluation"]
    words = [*pairs(separatrix), *scored, "--model", "own_separators.Filters"]
    (test,) = printed_next(separatrix.succeed("fit", *words, "--run", "runs/own"))
    (report,) = printed_next(separatrix.succeed(*test))  # none proposes `separate`
    assert report == ["report", "--import", "own_separators", "runs/own"]
    assert "missing:" not in separatrix.succeed(*report, "--examples", "1").out
    best = "runs/own/checkpoints/best.ckpt"
    for refused in (
        ("separate", "--model", best, "RECORDING.wav", "--output", "out"),
        ("export", best, "--output", "own.safetensors"),
    ):
        outcome = separatrix.run(*refused, "--import", "own_separators")
        assert outcome.status == 2 and "a checkpoint of Filters; one of WeakLabelSeparator" in outcome.err
    for further, told in (
        (["--model.cut", "3"], "estimates: 4797 samples, but the mixture has 4800"),
        (
            ["--model", "own_separators.Unlogged"],
            "early_stopping.monitor: validation_loss was not logged; a validation",
        ),
        (["--model", "own_separators.Nameless"], "SeparationEvaluation: a Nameless has no `classes`"),
    ):
        outcome = separatrix.run("fit", *words, *further, "--run", "runs/wrong")
        assert outcome.status == 2 and told in outcome.err.splitlines()[-1], outcome.err


def test_a_separator_with_a_forward_of_its_own_is_not_proposed_to_be_used_in_windows(separatrix, own_separators):
    words = [*separatrix.arguments("strong"), "--model", "own_separators.Louder", "--run", "runs/louder"]
    (test,) = printed_next(separatrix.succeed("fit", *words))
    (report,) = printed_next(separatrix.succeed(*test))
    assert report[0] == "report" and "missing:" not in separatrix.succeed(*report, "--examples", "1").out
