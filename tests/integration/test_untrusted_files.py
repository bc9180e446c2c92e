"""Files of anybody through the command line: nothing in them is run, removed, overwritten or shown raw."""

import copy
import json
import random
import shutil

import numpy as np
import pytest
import soundfile
import torch

from lightning_modules.plain_values import MOST_VALUES


class Payload:
    """Leaves a file when it is unpickled."""

    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return open, (str(self.trap), "w")


@pytest.fixture
def refused(separatrix, tmp_path):
    """A function that runs a command that must be refused in one printable line, which it gives."""

    def run(*arguments):
        outcome = separatrix.run(*arguments)
        told = [line for line in outcome.err.splitlines() if not line.startswith("sound bank of")]
        assert outcome.status == 2 and len(told) == 1 and told[0].isprintable(), outcome
        return told[0]

    return run


@pytest.fixture
def resumed(separatrix, tmp_path):
    """A function that goes on with the strong separator's training from these contents of a checkpoint."""

    def run(contents, epochs=2):
        torch.save(contents, tmp_path / "given.ckpt")
        arguments = separatrix.arguments("strong", {"trainer.max_epochs": epochs})
        return ["fit", *arguments, "--run", tmp_path / "run", "--ckpt_path", tmp_path / "given.ckpt"]

    return run


@pytest.fixture
def contents(separatrix):
    return torch.load(separatrix.best("strong"), weights_only=True)


@pytest.mark.parametrize(
    ("command", "place"),
    [("fit", "extra"), ("test", "callbacks"), ("classifier", "state_dict"), ("selection", "hyper_parameters")],
)
def test_a_payload_is_never_run_wherever_it_lies(command, place, separatrix, contents, refused, tmp_path):
    trap = tmp_path / "trap"
    contents[place] = Payload(trap)
    torch.save(contents, tmp_path / "given.ckpt")
    run = ("--run", tmp_path / "run")
    if command == "classifier":
        line = refused("fit", *separatrix.arguments("frame", {"model.classifier": tmp_path / "given.ckpt"}), *run)
    elif command == "selection":
        data = ["--config", "deep_clustering/base", "--config", "deep_clustering/speech"]
        models = ["--config", "deep_clustering/selection", "--model.checkpoints", f"['{tmp_path / 'given.ckpt'}']"]
        line = refused("test", *models, *data, *run)
    else:
        line = refused(command, *separatrix.arguments("strong"), *run, "--ckpt_path", tmp_path / "given.ckpt")
    assert f"{tmp_path / 'given.ckpt'}: not a readable checkpoint of weights and plain values" in line
    assert not trap.exists()


def test_a_checkpoint_makes_no_training_remove_what_lies_elsewhere(separatrix, contents, resumed, tmp_path):
    precious, dirpath = tmp_path / "precious", tmp_path / "run" / "checkpoints"
    precious.mkdir()
    (precious / "file").write_text("x")
    paths = (f"{dirpath}/../../precious", f"local://{precious}", "../precious")
    for state in contents["callbacks"].values():
        if "best_model_path" in state:
            state.update(zip(("best_model_path", "kth_best_model_path", "last_model_path"), paths, strict=True))
            state.update(dirpath=str(dirpath), best_k_models={paths[0]: torch.tensor(1e9)})
    separatrix.succeed(*resumed(contents))
    assert (precious / "file").exists()
    assert sorted(path.name for path in dirpath.iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.parametrize(
    "change",
    [lambda c: c.pop("loops"), lambda c: c["loops"]["fit_loop"]["epoch_progress"]["current"].update({"completed": -1})],
)
def test_a_training_does_not_go_on_from_a_mangled_state(change, contents, resumed, refused, tmp_path):
    change(contents)
    line = refused(*resumed(contents))
    assert "ckpt_path" in line or str(tmp_path / "given.ckpt") in line


JUNK = (None, -1, 10**30, 2.5, float("nan"), "x", "\x1b[31m", [], {}, [[]], torch.zeros(3), True)


def mangled(contents, number):
    """The contents with one to three values anywhere in them replaced or left out."""
    generator = random.Random(number)
    contents = copy.deepcopy(contents)
    for _ in range(generator.randint(1, 3)):
        place, key = None, None
        inner = contents
        while isinstance(inner, dict | list) and inner and (place is None or generator.random() < 0.85):
            place, key = inner, generator.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            inner = place[key]
        if generator.random() < 0.3:
            del place[key]
        else:
            place[key] = generator.choice(JUNK)
    return contents


@pytest.mark.parametrize(
    "numbers", [range(2), *(pytest.param(range(n, n + 50), marks=pytest.mark.soak) for n in range(1000, 1300, 50))]
)
def test_a_training_goes_on_or_is_refused_whatever_a_checkpoint_holds(numbers, separatrix, contents, resumed, tmp_path):
    refusals = 0
    for number in numbers:
        outcome = separatrix.run(*resumed(mangled(contents, number)))
        assert outcome.status in (0, 2), (number, outcome)
        if outcome.status:
            line = outcome.err.splitlines()[-1]
            assert line.startswith("separatrix fit: ") and line.isprintable(), (number, outcome.err)
            refusals += 1
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert refusals


# --- configurations ---


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.mkdir ['{trap}']",
        "model: !!python/name:os.system",
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "\n".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]" for n in range(12)),
        "data: &data\n  corpus: *data",
        "data: {{seed: " + "9" * 10_000 + "}}",
        "data: {{seed: 2020-13-45}}",
        "data: " + "[" * 5000,
        "? [a]\n: b",
        "\x00",
        "data: {{{{a: b}}: c}}",
    ],
    ids=lambda text: text[:20],
)
def test_a_configuration_runs_nothing_and_has_no_billion_values(text, refused, tmp_path):
    trap, path = tmp_path / "trap", tmp_path / "mine.yaml"
    path.write_text(text.replace("{{", "{").replace("}}", "}").replace("{trap}", str(trap)))
    line = refused("bank", "--config", path)
    assert len(line) < 2000 and not trap.exists()
    assert MOST_VALUES > 1000  # all shipped ones are far below it


# --- names ---

NAMES = ("[red]siren[bold]", "$x^{2}_$", "0", "yes", "a`b*c_d<b>e", ":smile:", "%s{0}", "=cmd()")


@pytest.fixture
def oddly_named(tmp_path):
    """A folder per class whose names mean something to a terminal, to Markdown or to a spreadsheet."""
    noise = np.random.default_rng(0)
    for label in NAMES:
        folder = tmp_path / "corpus" / label
        folder.mkdir(parents=True)
        for take in range(8):
            soundfile.write(folder / f"[bold]{take}.wav", noise.uniform(-0.3, 0.3, 5000), 8000)
    return tmp_path / "corpus"


def test_names_are_shown_as_they_are(separatrix, oddly_named, tmp_path):
    outcome = separatrix.succeed("check", "folder_per_class", "--root", oddly_named, "--folds", "2")
    for name in NAMES:
        assert name in outcome.out
    damaged = oddly_named / NAMES[0] / "[bold]3.wav"
    damaged.write_bytes(b"RIFF")
    outcome = separatrix.run("check", "folder_per_class", "--root", oddly_named, "--folds", "2")
    assert outcome.status == 2 and f"broken: {NAMES[0]}/[bold]3.wav: " in outcome.out


def test_classes_of_odd_names_become_files_and_rows(separatrix, oddly_named, tmp_path):
    classes = list(NAMES[:4])
    settings = {**separatrix.scenes, "data.corpus.root": oddly_named, "data.corpus.folds": 3, "data.sample_rate": 8000}
    settings |= {"data.bank_folder": tmp_path / "banks", "data.classes": json.dumps(classes)}
    corpus = ["--data.corpus", "datamodules.corpora.folder_per_class.FolderPerClass"]
    arguments = ["--config", "weak_labels/base", *corpus, *separatrix.as_options(settings)]
    separatrix.succeed("synthesize", *arguments, "--output", tmp_path / "scenes")
    written = {path.stem for path in (tmp_path / "scenes" / "sources").glob("*/*.wav")}
    assert written == set(classes)
    model = ["--config", "weak_labels/oracle_activity_mask", *separatrix.as_options(separatrix.trainer)]
    outcome = separatrix.succeed("test", *model, *arguments, "--run", tmp_path / "run")
    assert NAMES[0] in outcome.out.replace("\n", "")
    assert {row["class"] for row in separatrix.rows(tmp_path / "run" / "scores.csv")} == set(classes)
    for name in ("../outside", "a/b", "a|b", "=cmd()"):
        outcome = separatrix.run("synthesize", *arguments, "--data.classes", f"['{name}']", "--output", tmp_path / "no")
        assert outcome.status == 2 and "classes: " in outcome.err and not (tmp_path / "no").exists()
