"""README.md and docs/*.md, done as they say: files are written, commands typed and programs run, in their order.

Every command is parsed by the real parsers. Those of README.md and docs/extending.md run, too, at a tiny size; those of
the other documents need several devices, a cluster or hours, or have tests of their own.
"""

import argparse
import contextlib
import csv
import io
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import jsonargparse
import numpy as np
import pytest
import soundfile
import torch
from documentation import DOCUMENTS, REPOSITORY, Step, steps
from lightning import Trainer

from datamodules.corpora.folder_per_class import fold_of
from experiments.cli import COMMANDS, main
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.networks import BLSTM

STEPS = {document: steps(document) for document in DOCUMENTS}
PLACES = [(document, place) for document, found in STEPS.items() for place in range(len(found))]
TYPED = [step for found in STEPS.values() for step in found if step.kind == "command"]
RUN = ("README.md", "docs/extending.md")
TRIED = ("bank", "check", "fit", "validate", "test", "predict", "synthesize", "separate", "export", "card")
# What stands for `...` in a command.
LEFT_OUT = {"fit": ["--config", "weak_labels/base", "--config", "weak_labels/strong"]}
URBAN_CLASSES = ("car_horn", "dog_bark", "drilling", "gun_shot", "jackhammer", "siren", "street_music")
FOLDS = range(1, 11)

# Settings that make a run tiny, where the model, the data or the trainer has them.
TINY = {
    "model": {"units": 8, "layers": 1},
    "data": {
        "train_mixtures": 12,
        "epoch_mixtures": 4,
        "validation_mixtures": 3,
        "test_mixtures": 3,
        "batch_size": 2,
        "evaluation_batch_size": 4,
        "duration": 0.5,
        "latest_onset": 0.3,
    },
    "trainer": {"max_epochs": 1, "accelerator": "cpu"},
}


class ParsedError(Exception):
    """A command has understood its arguments, and stops there."""


@contextlib.contextmanager
def what_parsers_understand(given_to: Callable[[Any], None]) -> Iterator[None]:
    """Every command's settings are given to a function before the command acts on them."""
    under_way: list[Any] = []  # a parser asks others, for the settings of a class

    def followed(parse_args: Callable[..., Any]) -> Callable[..., Any]:
        def parse(parser: Any, *arguments: Any, **settings: Any) -> Any:
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


def stop(settings: Any) -> None:
    raise ParsedError


def require_parsed(words: list[str]) -> None:
    """Fail unless the command's parser takes the words."""
    with what_parsers_understand(stop), contextlib.redirect_stderr(io.StringIO()) as told:
        try:
            main(words)
        except ParsedError:
            return
    raise AssertionError(f"{told.getvalue()}\nseparatrix {shlex.join(words)}")


def shrink(settings: Any) -> None:
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
    if "mixtures" in settings:  # of synthesize and check
        settings["mixtures"] = 3
    if "scored" in settings:
        settings["scored"] = 1


@pytest.fixture(scope="session")
def workplaces(recordings, urbansound_factory, separatrix, tmp_path_factory) -> Callable[[str], Path]:
    """A function that gives a document's folder: with the corpora, models and files that it takes for granted."""
    corpora = tmp_path_factory.mktemp("corpora")
    write_folders(corpora / "MyRecordings", ("blackbird", "rain", "wind"))
    write_esc50(corpora / "ESC-50")
    urbansound = urbansound_factory(classes=URBAN_CLASSES, folds=FOLDS, clips_per_class=1)
    links = {
        "DATA": recordings,
        "UrbanSound8K": urbansound,
        "LibriSpeech": recordings / "LibriSpeech",
        **{name: corpora / "MyRecordings" for name in ("MyRecordings", "MyBirds")},
        "ESC-50": corpora / "ESC-50",
    }

    @cache
    def make(document: str) -> Path:
        folder = tmp_path_factory.mktemp("reader")
        for name, target in links.items():
            (folder / name).symlink_to(target)
        soundfile.write(folder / "recording.wav", tone(1), 16_000)
        for domain in ("speech", "music"):
            trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
            trainer.strategy.connect(DeepClustering(domain, network=partial(BLSTM, units=4, layers=1), dimensions=3))
            trainer.save_checkpoint(folder / "runs" / domain / "checkpoints" / "best.ckpt")
        if document not in RUN:
            (folder / "runs" / "strong").symlink_to(separatrix.systems / "strong")
        for step in STEPS[document]:
            if step.kind == "file":
                (folder / step.name).write_text("\n".join(step.content) + "\n")
        return folder

    return make


def write_folders(root: Path, classes: tuple[str, ...]) -> None:
    """A folder for each class, with a recording in each of ten folds."""
    for number, label in enumerate(classes):
        (root / label).mkdir(parents=True)
        for fold in FOLDS:
            name = next(name for n in count() if fold_of(name := f"{label}-{n}", len(FOLDS)) == fold)
            soundfile.write(root / label / f"{name}.wav", tone(number), 16_000)


def write_esc50(root: Path) -> None:
    """Three of its classes, a recording in each of its five folds."""
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    rows = [("filename", "fold", "target", "category", "esc10", "src_file", "take")]
    for fold in range(1, 6):
        for number, label in enumerate(("dog", "rain", "siren")):
            rows.append((f"{fold}-{number}-A.wav", str(fold), str(number), label, "True", f"{fold}{number}", "A"))
            soundfile.write(root / "audio" / rows[-1][0], tone(number), 44_100)
    with open(root / "meta" / "esc50.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)


def tone(number: int) -> np.ndarray:
    """Half a second of a pitch in noise, at 16 kHz."""
    noise = np.random.default_rng(number).standard_normal(8000)
    return 0.2 * np.sin(np.arange(8000) * 0.05 * 2**number) + 0.02 * noise


@pytest.fixture(scope="session")
def outcome(workplaces, separatrix) -> Callable[[str, int], str]:
    """A function that says what was wrong with a step of a document, after those before it: nothing, as a rule."""
    done: dict[str, list[str]] = {document: [] for document in DOCUMENTS}

    def do(document: str, step: Step) -> str:
        if step.kind == "file":
            return ""
        if step.kind == "python":
            program = compile("\n".join(step.content), document, "exec")
            if document in RUN:
                torch.manual_seed(0)
                exec(program, {"mixture": torch.randn(2, 8000)})
            return ""
        words = [w for word in step.content for w in (LEFT_OUT[step.content[0]] if word == "..." else [word])]
        if words[0] == "reproduce":
            # All stages are given the same settings: one of them is looked at.
            stages = [shlex.split(line)[1:] for line in separatrix.succeed(*words, "--dry-run").out.splitlines()]
            require_parsed(next(stage for stage in stages if stage[0] == "fit"))
        elif document in RUN and words[0] in TRIED:
            with what_parsers_understand(shrink):
                separatrix.succeed(*words)
        else:
            require_parsed(words)
        return ""

    def of(document: str, place: int) -> str:
        for step in STEPS[document][len(done[document]) : place + 1]:
            with contextlib.chdir(workplaces(document)):
                try:
                    done[document].append(do(document, step))
                except (Exception, SystemExit) as error:
                    done[document].append(f"{type(error).__name__}: {error}")
        return done[document][place]

    return of


@pytest.mark.parametrize(("document", "place"), PLACES, ids=lambda value: str(value))
def test_a_reader_can_do_what_the_documentation_says(document, place, outcome):
    assert not outcome(document, place), str(STEPS[document][place])


def test_every_command_is_documented_and_what_is_called_one_is_one():
    typed = {step.content[0] for step in TYPED}
    mentioned = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"`separatrix ([a-z]\w*)", (REPOSITORY / document).read_text(encoding="utf-8"))
    }
    assert COMMANDS.keys() == typed | mentioned


@pytest.mark.parametrize(
    "line",
    [
        "separatrix fitt --config weak_labels/base",
        "separatrix fit --confg weak_labels/base --config weak_labels/strong",
        "separatrix fit --config weak_labels/basic",
        "separatrix fit --config weak_labels/base --config weak_labels/strong --model.unit 3",
        "separatrix bank --config weak_labels/base --data.dration 3",
        "separatrix check librispeech --rot LibriSpeech",
        "separatrix reproduce weak-labels --preset tiny",
        "separatrix benchmark --devise cuda",
        "separatrix ranks --config weak_labels/base --trainer.device 4",
    ],
)
def test_a_command_that_is_misspelt_is_found(line):
    with pytest.raises((AssertionError, SystemExit)):
        require_parsed(shlex.split(line)[1:])
