"""README.md and docs/*.md, done as they say: files are written, commands typed and programs run, in their order.

Every command is parsed by the real parsers. Those of README.md and docs/extending.md run, too, at a tiny size; those of
the other documents need several devices, a cluster or hours, or have tests of their own.
"""

import argparse
import contextlib
import csv
import re
import shlex
import subprocess
from functools import partial
from itertools import count

import jsonargparse
import numpy as np
import pytest
import soundfile
import torch
from conftest import ROOT
from lightning import Trainer

from datamodules.corpora.folder_per_class import fold_of
from experiments.cli import COMMANDS, main
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM

DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
RUN = ("README.md", "docs/extending.md")
TRIED = ("bank", "check", "fit", "validate", "test", "predict", "synthesize", "separate", "export", "card")
URBAN_CLASSES = ("car_horn", "dog_bark", "drilling", "gun_shot", "jackhammer", "siren", "street_music")
FOLDS = range(1, 11)
# The shell itself reads the blocks, loops and variables and all. It finds no program: `separatrix` writes its words
# down, launchers hand on to what they launch, everything else is nothing.
SHELL = r"""
exec 3>&1 >&2
PATH=
command_not_found_handle() { :; }
separatrix() { printf '%s\x1f' "$@" >&3; printf '\x1e' >&3; }
srun() { while [[ $1 == -* ]]; do shift; done; "$@"; }
torchrun() { until [[ $1 == -- ]]; do shift; done; shift; "$@"; }
sbatch() {
    while (($#)) && [[ $1 != *.sbatch ]]; do shift; done
    local script=${1##*/}; shift
    case $script in
        "") ;;
        fit.sbatch) separatrix fit "$@" ;;
        *) separatrix reproduce --preset "${script%.sbatch}" "$@" ;;
    esac
}
exec() { shift; "$@"; }
source() { :; }
"""
# Settings that make a run tiny, where the model, the data or the trainer has them.
TINY = {
    "model": {"units": 8, "layers": 1},
    "data": {
        **{"train_mixtures": 12, "epoch_mixtures": 4, "validation_mixtures": 3, "test_mixtures": 3, "batch_size": 2},
        **{"evaluation_batch_size": 4, "duration": 0.5, "latest_onset": 0.3},
    },
    "trainer": {"max_epochs": 1, "accelerator": "cpu"},
}


def steps(document):
    """All that a document asks for, in its order: files (named by their first line), words of commands, programs."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(
        r"^```(\w*)\n(.*?)^```$|(?:\A|\n\n)((?:^ {4}[^\n]*\n|\n(?= {4}))+)", text, re.MULTILINE | re.DOTALL
    )
    for language, fenced, indented in blocks:
        content = fenced or "\n".join(line[4:] for line in indented.splitlines())
        name = re.match(r"# ([\w-]+\.(?:py|yaml))\n", content)
        if name or language == "python":
            yield name[1] if name else "python", content
        elif language in ("", "shell", "sh", "bash") and re.search(r"separatrix|\.sbatch", content):
            lines = content.splitlines()
            typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]  # the rest was printed
            script = SHELL + "\n".join(typed or lines)
            subprocess.run(["/bin/bash", "-n", "-c", script], check=True)
            ran = subprocess.run(["/bin/bash", "-c", script], capture_output=True, check=False, text=True)
            yield from (("command", command.split("\x1f")[:-1]) for command in ran.stdout.split("\x1e")[:-1])


STEPS = {document: [*steps(document)] for document in DOCUMENTS}


class ParsedError(Exception):
    """A command has understood its arguments, and stops there."""


@contextlib.contextmanager
def understood_by_parsers(given_to):
    """Every command's settings are given to a function before the command acts on them."""
    under_way = []  # a parser asks others, for the settings of a class

    def followed(parse_args):
        def parse(parser, *arguments, **settings):
            under_way.append(parser)
            try:
                understood = parse_args(parser, *arguments, **settings)
            finally:
                under_way.pop()
            if not under_way:
                given_to(understood)
            return understood

        return parse

    with pytest.MonkeyPatch.context() as patch:
        for parser in (jsonargparse.ArgumentParser, argparse.ArgumentParser):
            patch.setattr(parser, "parse_args", followed(parser.parse_args))
        yield


def require_parsed(words):
    """Fail unless the command's parser takes the words."""

    def stop(settings):
        raise ParsedError

    with understood_by_parsers(stop), pytest.raises(ParsedError):
        main(words)


def shrink(settings):
    """Make the models, data and trainer that a command is about to make tiny ones."""
    for chosen in ("subcommand", "corpus"):  # of fit, test and their like, and of check
        settings = settings[settings[chosen]] if isinstance(settings.get(chosen), str) else settings
    for section, sizes in TINY.items():
        chosen = settings.get(section)
        # `separate --model` is a list of paths.
        chosen = chosen.get("init_args", chosen) if isinstance(chosen, jsonargparse.Namespace) else {}
        for name in sizes.keys() & chosen.keys():
            chosen[name] = sizes[name]
        if isinstance(chosen.get("channels"), list | tuple):
            chosen["channels"] = [2 for _ in chosen["channels"]]
    for name, number in (("mixtures", 3), ("scored", 1)):  # of synthesize and check
        if name in settings:
            settings[name] = number


def tone(number, rate=16_000):
    """Half a second of a pitch in noise."""
    noise = np.random.default_rng(number).standard_normal(8000)
    return 0.2 * np.sin(np.arange(8000) * 0.05 * 2**number) + 0.02 * noise


@pytest.fixture(scope="module")
def corpora(recordings, urbansound_factory, tmp_path_factory):
    """Where the corpora lie that documents name: a folder for each class, ESC-50, a table, those of `recordings`."""
    made = tmp_path_factory.mktemp("corpora")
    for number, label in enumerate(("blackbird", "rain", "wind")):
        (made / "MyRecordings" / label).mkdir(parents=True)
        for fold in FOLDS:
            name = next(name for n in count() if fold_of(name := f"{label}-{n}", len(FOLDS)) == fold)
            soundfile.write(made / "MyRecordings" / label / f"{name}.wav", tone(number), 16_000)
    for part in ("ESC-50/meta", "ESC-50/audio", "MyTable"):
        (made / part).mkdir(parents=True)
    rows = [("filename", "fold", "target", "category", "esc10", "src_file", "take")]
    for fold in range(1, 6):
        for number, label in enumerate(("dog", "rain", "siren", "car_horn", "chainsaw", "fireworks")):
            rows.append((f"{fold}-{number}-A.wav", str(fold), str(number), label, "True", f"{fold}{number}", "A"))
            soundfile.write(made / "ESC-50" / "audio" / rows[-1][0], tone(number), 44_100)
            soundfile.write(made / "MyTable" / rows[-1][0], tone(number), 16_000)
    listed = [("path", "fold", "label", "recording"), *((row[0], row[1], row[3], row[5]) for row in rows[1:])]
    for table, of_table in (("ESC-50/meta/esc50.csv", rows), ("MyTable/clips.csv", listed)):
        with open(made / table, "w", newline="") as file:
            csv.writer(file).writerows(of_table)
    urbansound = urbansound_factory(classes=URBAN_CLASSES, folds=FOLDS, clips_per_class=1)
    links = {"DATA": recordings, "UrbanSound8K": urbansound, "LibriSpeech": recordings / "LibriSpeech"}
    mine = made / "MyRecordings"
    return {**links, "MyRecordings": mine, "MyBirds": mine, **{name: made / name for name in ("ESC-50", "MyTable")}}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_reader_can_do_what_the_documentation_says(document, corpora, separatrix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, target in corpora.items():
        (tmp_path / name).symlink_to(target)
    for name in ("recording.wav", "street.wav", "talk.wav"):
        soundfile.write(name, tone(1), 16_000)
    for domain in ("speech", "music") if document != "README.md" else ():  # which trains what it uses
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
        trainer.strategy.connect(DeepClustering(domain, network=partial(BLSTM, units=4, layers=1), dimensions=3))
        trainer.save_checkpoint(tmp_path / "runs" / domain / "checkpoints" / "best.ckpt")
    if document not in RUN:
        (tmp_path / "runs" / "strong").symlink_to(separatrix.systems / "strong")
    for kind, content in STEPS[document]:
        if kind not in ("command", "python"):
            (tmp_path / kind).write_text(content)
    for kind, content in STEPS[document]:
        if kind == "python":
            program = compile(content, document, "exec")
            if document in RUN:
                torch.manual_seed(0)
                exec(program, {"mixture": torch.randn(2, 8000)})
        elif kind == "command":
            # What stands for `...` in a command.
            whole = ["--config", "weak_labels/base", "--config", "weak_labels/strong"]
            words = [word for given in content for word in (whole if given == "..." else [given])]
            if words[0] == "reproduce":
                # All stages are given the same settings: one of them is looked at.
                lines = [shlex.split(line)[1:] for line in separatrix.succeed(*words, "--dry-run").out.splitlines()]
                require_parsed(next(stage for stage in lines if stage[0] == "fit"))
            elif document in RUN and words[0] in TRIED:
                with understood_by_parsers(shrink):
                    separatrix.succeed(*words)
            else:
                require_parsed(words)


def test_every_command_is_documented_and_what_is_called_one_is_one():
    named = {content[0] for found in STEPS.values() for kind, content in found if kind == "command"}
    for document in DOCUMENTS:
        named |= {*re.findall(r"`separatrix ([a-z]\w*)", (ROOT / document).read_text(encoding="utf-8"))}
    assert COMMANDS.keys() == named
