"""What is misspelt is told what was probably meant, in one line, before anything is run."""

import gc
import os
import re
import shlex
import subprocess
import sys

import pytest
import torch

from experiments.cli import COMMANDS, main


@pytest.fixture
def told(capsys, tmp_path, monkeypatch):
    """A function that runs a command that must be refused, in an empty folder, and gives its only line."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        assert main(list(arguments)) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Seed set")]
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return run


FRAME = ("fit", "--config", "weak_labels/base", "--config", "weak_labels/frame")


@pytest.mark.parametrize(
    "words, meant",
    [
        ("--data.batchsize 4", "did you mean --data.batch_size?"),
        ("--max_epochs 3", "did you mean --trainer.max_epochs?"),
        ("--model.supervision fram", "--model.supervision: fram; one of strong, frame, clip is needed"),
        (
            "--model.network Nope",
            "--model.network: no class Nope; one of BLSTM, CRNN, BandSplit, TFLocoformer, or MODULE.CLASS",
        ),
        ("--model.network own.Net", "--model.network: no module own in "),
        ("--trainer.logger Nope", "--trainer.logger: no class Nope; one of CSVLogger, "),
        ("--model WeakLabelSeperator", "--model: no class WeakLabelSeperator; did you mean WeakLabelSeparator?"),
        ("--trainer.callbacks+ AudioExample", "no class AudioExample; did you mean AudioExamples?"),
        (
            "--config weak_labels/networks/band_split --config weak_labels/ablations/uniform_start",
            "model.network.lstm_init: BandSplit has no such setting; --model.network.help BandSplit lists those",
        ),
        ("--preset small --model.mask_activaton softmax", "did you mean --model.mask_activation?"),
        ("--presett small", "did you mean --preset?"),
        ("--preset smal", "--preset smal: one of demo, small, paper; did you mean small?"),
        ("--trainer.profiler simpel", "it can only be one of ['simple', 'advanced'"),
        ("--config weak_labels/fram", "did you mean weak_labels/frame?"),
        ("--model.help DeepClusterin", "did you mean DeepClustering?"),
    ],
)
def test_a_misspelt_setting_of_a_training(words, meant, told):
    assert meant in told(*FRAME, *words.split())


OWN = """
from lightning import LightningModule
from torch import nn


class BLSTM(nn.Module):
    pass


class Pure(LightningModule):
    pass


class NoNetwork:
    pass
"""


@pytest.mark.parametrize(
    "words, meant",
    [
        ("--model own_wanting.Mine", "--model: own_wanting cannot be imported: No module named 'nowhere' ("),
        ("--model.network own_package.inner.Net", "--model.network: own_package.inner cannot be imported: No module"),
        ("--model own_kinds.Nope", "--model: no class Nope in own_kinds"),
        ("--model own_kinds.Pure", "--model: own_kinds.Pure is no SeparatrixModule"),
        ("--model.network own_kinds.NoNetwork", "--model.network: own_kinds.NoNetwork is no Module"),
        ("--data.corpus own_kinds.Pure", "--data.corpus: own_kinds.Pure is no Corpus"),
        ("--trainer.logger own_kinds.Pure", "--trainer.logger: own_kinds.Pure is no Logger"),
        (
            "--import own_kinds --model.network BLSTM",
            "--model.network: several classes are called BLSTM; give one with its module: lightning_modules.networks.",
        ),
    ],
)
def test_a_class_of_ones_own_that_cannot_be_used(words, meant, told, tmp_path, monkeypatch):
    (tmp_path / "own_package").mkdir()
    for name in ("own_wanting", "own_package/inner"):
        (tmp_path / f"{name}.py").write_text("import nowhere\n")
    (tmp_path / "own_kinds.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        assert meant in told(*FRAME, *words.split())
    finally:
        sys.modules.pop("own_kinds", None)
        sys.modules.pop("own_package", None)
        gc.collect()  # else its BLSTM would be one of the networks of later tests


@pytest.mark.parametrize(
    "words, meant",
    [
        ("--model urban --output out", "arguments are required: files"),
        ("--modle urban a.wav --output out", "did you mean --model?"),
        ("--model urbn a.wav --output out", "model urbn: no such file; did you mean the included model urban?"),
        ("--model urban a.wav --output out", "a.wav: no such file; give a recording"),
        ("--model urban a.wav --output out --sources two", "--sources two: auto, or a number from 2 on, is needed"),
    ],
)
def test_a_separation_that_cannot_be_is_refused_before_torch_is_imported(words, meant, told, tmp_path):
    assert meant in told("separate", *words.split())
    call = f"import sys; from experiments.cli import main; main({['separate', *words.split()]}); "
    subprocess.run([sys.executable, "-c", f"{call} assert 'torch' not in sys.modules"], check=True, cwd=tmp_path)


def test_a_schedule_of_ones_own_leaves_the_settings_of_torchs_known(told):
    class Mine(torch.optim.lr_scheduler.LRScheduler):
        pass

    assert "--model.mask_activaton: no such setting; did you mean" in told(
        *FRAME, "--preset", "small", "--model.mask_activaton", "softmax"
    )
    del Mine


@pytest.mark.parametrize(
    "content, meant",
    [
        ("model: {class_path: WeakLabelSeparator, init_args: {suprvision: clip}}", "did you mean model.supervision?"),
        ("model: {class_path: WeakLabelSeparater}", "did you mean WeakLabelSeparator?"),
        ("modle: {class_path: WeakLabelSeparator}", "modle: no such setting; did you mean model?"),
        ("data: {init_args: {corpus: {init_args: {rot: X}}}}", "did you mean data.corpus.root?"),
    ],
)
def test_a_misspelt_word_of_a_configuration(content, meant, told, tmp_path):
    (tmp_path / "mine.yaml").write_text(content)
    assert meant in told(*FRAME, "--config", "mine.yaml")


@pytest.mark.parametrize(
    "line, meant",
    [
        ("repoduce weak-labels", "did you mean `separatrix reproduce`?"),
        ("train", "did you mean `separatrix fit`?"),
        ("reproduce weak-labels --jbos 3", "--jbos: no such setting; did you mean --jobs?"),
        ("check urbansound8k --rot X", "did you mean --root?"),
        ("bank --config weak_labels/base --data.duratoin 3", "did you mean --data.duration?"),
        ("separate recording.wav --output separated", "the following arguments are required: --model"),
        ("fit", "a --config gives model and data, such as --config weak_labels/strong"),
        ("fit --preset small", "completes a shipped configuration, such as --config weak_labels/frame"),
        ("benchmark renderin", "did you mean rendering?"),
    ],
)
def test_a_misspelt_word_of_another_command(line, meant, told):
    assert meant in told(*line.split())


# Appended to a command's examples, so that they are parsed and no more; the others end at a folder that is not there.
ENDINGS = {
    **{name: ["--print_config"] for name in ("fit", "validate", "test", "predict", "bank", "synthesize", "ranks")},
    "reproduce": ["--dry-run"],
    **{"benchmark": ["--threads", "none"], "check": ["--mixtures", "none"]},  # are refused
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples_that_can_be_parsed(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "weak_labels/base", "--config", "weak_labels/strong", "--print_config"]) == 0
    (tmp_path / "runs" / "strong").mkdir(parents=True)
    (tmp_path / "runs" / "strong" / "config.yaml").write_text(capsys.readouterr().out)
    assert main([command, "--help"]) == 0
    lines = capsys.readouterr().out.replace(" \\\n", " ").partition("\nexample")[2].splitlines()[1:]
    examples = [shlex.split(line) for line in lines[: lines.index("")]]
    assert examples
    for program, *arguments in examples:
        assert program == "separatrix" and arguments[0] == command
        status = main([*arguments, *ENDINGS.get(command, ())])
        told = capsys.readouterr().err
        refused_later = status == 2 and re.search("no such (folder|file|checkpoint)|threads|mixtures", told)
        assert status == 0 or refused_later, told


def test_help_of_a_training_is_quick_and_fits_a_terminal_and_all_of_it_can_be_had(capsys):
    assert main(["fit", "--help"]) == 0
    brief = capsys.readouterr().out
    assert max(map(len, brief.splitlines())) <= 80 and "--preset" in brief and "--trainer.max_epochs" not in brief
    asked = "from experiments.cli import main; main(['fit', '--help']); import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], stdout=subprocess.DEVNULL).returncode == 0
    assert main(["fit", "--help-all"]) == 0
    assert "--trainer.max_epochs" in capsys.readouterr().out


def test_what_the_encoding_of_the_terminal_cannot_show_is_replaced():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LANG": "C"}
    words = [sys.executable, "-m", "experiments.cli", "configs"]
    ended = subprocess.run(words, env=environment, capture_output=True)
    assert ended.returncode == 0 and b"Traceback" not in ended.stderr and b"?" in ended.stdout


def test_the_first_screen_names_every_command_once_and_none_that_there_is_not(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    lines = out.partition("--version\n")[2].partition("Start here")[0].splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(named) == sorted(COMMANDS)
