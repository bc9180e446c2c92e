"""What a person sees of a training: what it is, how far it is, what it made, and what to type next."""

import contextlib
import io
import re
import shlex

import pytest
import torch
from rich.console import Console

from callbacks.training_progress import WRAPPED
from experiments.cli import main

EPOCHS = {"trainer.max_epochs": 3, "early_stopping.patience": 2}


class Terminal(io.StringIO):
    """A text that takes itself for a terminal."""

    def isatty(self):
        return True


def column(out, name):
    """The lines beside a name, as of `next`, with those below it that have none."""
    lines = out.replace(" \\\n            ", " ").splitlines()
    first = next(number for number, line in enumerate(lines) if line.split()[:1] == [name])
    found = [lines[first][10:]]
    for line in lines[first + 1 :]:
        if not line.startswith(" " * 10):
            break
        found.append(line[10:])
    return found


@pytest.fixture(scope="module")
def classifier(separatrix, tmp_path_factory):
    """The folder of a classifier, and what its training printed."""
    run = tmp_path_factory.mktemp("watched") / "classifier of frames"
    return run, separatrix.succeed("fit", *separatrix.arguments("classifier_frame", EPOCHS), "--run", run).out


def test_a_training_says_what_it_is_before_the_first_epoch(classifier, separatrix):
    run, out = classifier
    before = out.partition("epoch 1/3")[0]
    assert column(before, "fit") == [
        "EventClassifier, frame supervision, classes car_horn, dog_bark,",
        "gun_shot, jackhammer, siren",
    ]
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    size = sum(value.numel() for name, value in weights.items() if name.startswith("network."))
    assert column(before, "network") == [f"BLSTM, {size:,} parameters to train"]
    assert column(before, "geometry") == ["8000 Hz, window 256 and hop 128 samples (32 and 16 ms)"]
    assert " ".join(column(before, "data")) == (
        "UrbanScenes of procedural, mixtures of 0.5 s: 20 for training, 8 an epoch, 5 for validation"
    )
    assert all(len(line) <= 80 or " " not in line[10:] for line in before.splitlines())
    assert column(before, "on") == ["1 rank, cpu, precision 32-true, 4 mixtures a step on each"]
    assert column(before, "run") == [str(run)]
    assert column(before, "length")[0].startswith("at most 3 epochs, patience 2; Ctrl-C stops, ")
    assert str(separatrix.banks) in " ".join(column(before, "bank"))


def test_each_epoch_has_a_line_with_losses_the_best_so_far_patience_and_the_time_left(separatrix, tmp_path):
    # At this rate the second epoch is worse than the first.
    settings = {**EPOCHS, "model.optimizer.lr": 100}
    out = separatrix.succeed("fit", *separatrix.arguments("strong", settings), "--run", tmp_path).out
    lines = [line.split("  ") for line in out.replace(WRAPPED, "  ").splitlines() if line.startswith("epoch ")]
    (curves,) = tmp_path.glob("curves/*/metrics.csv")
    rows = [row for row in separatrix.rows(curves) if row["validation_loss"]]
    losses = [float(row["validation_loss"]) for row in rows]
    assert len(lines) == len(rows)
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        assert line[0] == f"epoch {number}/3"
        assert line[1].startswith("training loss ")
        assert line[2] == f"validation loss {losses[number - 1]:.3f}"
        assert line[3] == f"improvement {float(row['validation_improvement_db']):.2f} dB"
        best = losses.index(min(losses[:number])) + 1
        waited = number - best
        worse = f"best: epoch {best} ({losses[best - 1]:.3f}), patience {waited}/2"
        assert line[4] == (worse if waited else "best so far")
        assert re.fullmatch(
            r"took [\dmins ]+" if number == len(lines) else r"took [\dmins ]+, [\dmins ]+ left", line[5]
        )
    assert any("patience" in line[4] for line in lines)


def test_the_commands_to_type_next_are_complete_and_right_for_the_run(classifier, separatrix):
    run, out = classifier
    made = [f"{run}/{name}" for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml")]
    assert column(out, "made")[:3] == made
    test, fit = (shlex.split(line) for line in column(out, "next"))
    assert test[:2] == ["separatrix", "test"] and fit[:2] == ["separatrix", "fit"]
    separatrix.succeed(*test[1:])
    assert (run / "classifier.csv").exists()
    tiny = separatrix.as_options({**separatrix.networks["WeakLabelSeparator"], "trainer.max_epochs": 1})
    out = separatrix.succeed(*fit[1:], *tiny).out
    said = " ".join(out.split())
    assert "WeakLabelSeparator, frame supervision" in said and " parameters to train network classifier: Event" in said
    # The frozen one is named with its size and its file.
    assert f" parameters frozen, of {run / 'checkpoints' / 'best.ckpt'} geometry" in said
    assert column(out, "next")[0].startswith("separatrix test ")


def test_a_terminal_shows_bars_that_leave_nothing_behind_but_the_lines_of_the_epochs(separatrix, monkeypatch, tmp_path):
    monkeypatch.setattr("rich._console", Console(width=200))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PL_GLOBAL_SEED", "")
    arguments = [*separatrix.arguments("strong", EPOCHS), "--run", str(tmp_path)]
    with contextlib.redirect_stdout(Terminal()) as out:
        assert main(["fit", *arguments]) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    bars = [line for line in re.split(r"[\r\n]", shown) if "━" in line]
    assert any(re.match(r"epoch 3/3 +━+ +2/2 .*training loss: \d", line) for line in bars)
    assert not any("epoch 0/" in line or "v_num" in line for line in bars)
    assert "━" not in shown.partition("made ")[2]
    assert len(re.findall(r"validation loss \d", shown)) == 3
