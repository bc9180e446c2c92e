"""What `separatrix export` writes: a card that knows or says that it does not, and a program that torch alone runs."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from rich.console import Console

import separatrix
from experiments.card import card_table, read_card
from experiments.cli import main
from experiments.export import export_module
from experiments.model_card import LICENCES, known_licence
from experiments.network_program import NetworkOf, heard_by, noise, write_program
from lightning_modules.checkpoint import AtomicCheckpointIO, load_module, read_checkpoint
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import weights_digest, write_exported
from lightning_modules.networks import BLSTM, CRNN, BandSplit
from lightning_modules.scores.rows import write_rows
from lightning_modules.scores.summary import SCORE_COLUMNS
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

GEOMETRY: dict[str, Any] = {"sample_rate": 8000, "window": 32, "hop": 16}
SETTINGS: dict[str, Any] = {**GEOMETRY, "classes": ["horn", "dog"]}
TWO_LAYERS = partial(BLSTM, units=3, layers=2)
BANDS = partial(BandSplit, bands=3, features=4, units=3, layers=1)
MODULES = {
    "separator": lambda: WeakLabelSeparator(network=TWO_LAYERS, input_normalisation="mixture", **SETTINGS),
    "judge": lambda: EventClassifier(network=partial(CRNN, channels=[2, 3, 4], units=3), **SETTINGS),
    "deep clustering": lambda: DeepClustering(network=TWO_LAYERS, dimensions=3, **GEOMETRY),
    "band-split separator": lambda: WeakLabelSeparator(network=BANDS, **SETTINGS),
}


def save(module: Any, path: Path) -> Path:
    contents = {"module": type(module).__name__, "hyper_parameters": dict(module.hparams)}
    progress = {"epoch": 4, "global_step": 60}
    AtomicCheckpointIO().save_checkpoint({**contents, **progress, "state_dict": module.state_dict()}, path)
    return path


@pytest.fixture
def module():
    torch.manual_seed(0)
    settings = {**SETTINGS, "network": partial(BLSTM, units=3)}
    return WeakLabelSeparator(supervision="frame", judge="/home/somebody/judge/best.ckpt", **settings)


@pytest.fixture
def run(tmp_path, module):
    """A run's folder as `fit` and `test` leave it, of one model that was tested and another that was not."""
    folder = tmp_path / "run"
    save(module, folder / "checkpoints" / "best.ckpt")
    torch.manual_seed(1)
    save(WeakLabelSeparator(**module.hparams), folder / "checkpoints" / "last.ckpt")  # other weights
    corpus = {"class_path": "separatrix.UrbanSound8K", "init_args": {"root": "/home/somebody/UrbanSound8K"}}
    data = {"corpus": corpus, "bank_folder": "banks", "workers": 3, "train_folds": [1, 2], "seed": 7}
    configuration = {
        "seed_everything": 7,
        "trainer": {"max_epochs": 20, "precision": "bf16-mixed", "default_root_dir": "/home/somebody"},
        "model": {"class_path": "separatrix.WeakLabelSeparator", "init_args": dict(module.hparams)},
        "data": {"class_path": "separatrix.UrbanScenes", "init_args": data},
    }
    for name in ("config.yaml", "test.yaml"):
        (folder / name).write_text(yaml.safe_dump(configuration))
    (folder / "environment.json").write_text(
        json.dumps({"machine": "host", "versions": {"torch": "2.9"}, "revision": "abc"})
    )
    (folder / "tested.json").write_text(json.dumps({"weights": weights_digest(module.state_dict())}))
    rows = [(0, "horn", "", -1.0, 3.0, 4.0), (0, "dog", "", -2.0, 4.0, 6.0), (1, "dog", "single class", "", "", "")]
    write_rows(folder / "scores.csv", SCORE_COLUMNS, rows)
    return folder


def test_a_card_says_what_the_run_knows(run, tmp_path, module):
    card = export_module(run / "checkpoints" / "best.ckpt", tmp_path / "model.safetensors")
    training = card["training"]
    assert (card["module"], card["data_licence"], card["code_licence"]) == ("WeakLabelSeparator", "CC BY-NC 3.0", "MIT")
    assert (training["epochs"], training["steps"], training["seed"], training["revision"]) == (5, 60, 7, "abc")
    assert training["trainer"] == {"max_epochs": 20, "precision": "bf16-mixed"}
    assert training["data"] == {
        "class": "UrbanScenes",
        "settings": {"train_folds": [1, 2], "seed": 7},
        "corpus": {"class": "UrbanSound8K", "settings": {}},
    }
    overall = [row for row in card["scores"]["rows"] if row["quantity"] == "improvement"][-1]
    assert overall == {**overall, "label": "overall", "mean": 5.0, "std": 1.0, "n": 2}
    assert card["hyper_parameters"] == {**module.hparams, "judge": None}
    assert read_card(tmp_path / "model.safetensors") == card


def test_nothing_of_the_machine_travels(run, tmp_path):
    export_module(run / "checkpoints" / "best.ckpt", tmp_path / "model.safetensors")
    contents = (tmp_path / "model.safetensors").read_bytes()
    assert not any(word in contents for word in (b"somebody", b"banks", b"host", str(tmp_path).encode()))


def test_scores_are_only_those_of_the_weights_that_were_tested(run, tmp_path):
    assert export_module(run / "checkpoints" / "last.ckpt", tmp_path / "last.safetensors")["scores"] is None
    (run / "scores.parts").mkdir()  # a test that was interrupted
    assert export_module(run / "checkpoints" / "best.ckpt", tmp_path / "best.safetensors")["scores"] is None


def test_what_is_not_known_is_none_and_shown_as_unknown(run, tmp_path):
    alone = shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "best.ckpt")
    card = export_module(alone, tmp_path / "model.safetensors")
    assert card["scores"] is card["data_licence"] is card["training"]["data"] is card["training"]["revision"] is None
    assert card["training"]["epochs"] == 5
    assert shown(card).count("unknown") >= 7
    assert export_module(alone, tmp_path / "b.safetensors", data_licence="CC0")["data_licence"] == "CC0"


def test_a_configuration_of_another_model_says_nothing(run, tmp_path):
    configuration = yaml.safe_load((run / "config.yaml").read_text())
    configuration["model"]["init_args"]["network"]["init_args"]["units"] = 4
    (run / "config.yaml").write_text(yaml.safe_dump(configuration))
    card = export_module(run / "checkpoints" / "best.ckpt", tmp_path / "model.safetensors")
    assert card["training"]["data"] is card["data_licence"] is None


@pytest.mark.parametrize("name", LICENCES)
@pytest.mark.parametrize("form", ["{}", "separatrix.{}", "datamodules.corpora.{}"])
def test_every_corpus_of_the_project_has_its_licence(name, form):
    assert hasattr(separatrix, name)
    assert known_licence({"class_path": form.format(name)}) == LICENCES[name]
    assert known_licence({"class_path": f"mine.{name}"}) is None


def test_joined_corpora_have_all_their_licences_or_an_unknown_one():
    def joined(*names: str) -> Any:
        return {"class_path": "separatrix.JoinedCorpora", "init_args": {"corpora": [{"class_path": n} for n in names]}}

    assert known_licence(joined("UrbanSound8K", "LibriSpeech", "UrbanSound8K")) == "CC BY-NC 3.0; CC BY 4.0"
    assert known_licence(joined("UrbanSound8K", "FolderPerClass")) is known_licence(joined()) is None


def test_joined_corpora_are_on_the_card_without_their_paths(run, tmp_path):
    configuration = yaml.safe_load((run / "config.yaml").read_text())
    urban = configuration["data"]["init_args"]["corpus"]
    own = {"class_path": "mine.Birds", "init_args": {"root": "/home/somebody/birds", "folds": 3}}
    configuration["data"]["init_args"]["corpus"] = {
        "class_path": "JoinedCorpora",
        "init_args": {"corpora": [urban, own]},
    }
    (run / "config.yaml").write_text(yaml.safe_dump(configuration))
    card = export_module(run / "checkpoints" / "best.ckpt", tmp_path / "model.safetensors")
    parts = [{"class": "UrbanSound8K", "settings": {}}, {"class": "Birds", "settings": {"folds": 3}}]
    assert card["training"]["data"]["corpus"]["corpora"] == parts
    assert "UrbanSound8K and Birds (folds 3) by UrbanScenes" in shown(card)
    assert b"somebody" not in (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("corpus", [None, 3, {}, {"class_path": 3}, {"class_path": "JoinedCorpora", "init_args": 3}])
def test_what_names_no_corpus_has_no_licence(corpus):
    assert known_licence(corpus) is None


def test_the_same_checkpoint_gives_the_same_bytes_and_an_export_can_be_exported(run, tmp_path):
    first, second, third = (tmp_path / f"{name}.safetensors" for name in "abc")
    export_module(run / "checkpoints" / "best.ckpt", first)
    export_module(run / "checkpoints" / "best.ckpt", second)
    export_module(first, third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_half_precision_halves_the_size_and_the_card_says_what_it_costs(run, tmp_path):
    noise_file = tmp_path / "noise.wav"
    soundfile.write(noise_file, np.random.default_rng(0).uniform(-0.3, 0.3, 12_000), 16_000)
    checkpoint = run / "checkpoints" / "best.ckpt"
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    export_module(checkpoint, whole)
    card = export_module(checkpoint, half, half=True, recording=noise_file)
    assert card["weights"]["type"] == "float16"
    exact, rounded = (load_module(path, WeakLabelSeparator).eval() for path in (whole, half))
    with torch.inference_mode():
        heard = heard_by(exact, noise(1, 10_400))
        difference = (NetworkOf(exact)(heard) - NetworkOf(rounded)(heard)).abs().max()
    assert card["half"]["largest difference on noise"] == pytest.approx(float(difference))
    assert 0 < difference < 0.01
    assert 0 < card["half"]["largest difference on the recording"] < 0.01
    size = sum(weight.numel() for weight in exact.state_dict().values())
    # JSON for JSON the headers are of nearly the same length.
    assert whole.stat().st_size - half.stat().st_size == pytest.approx(2 * size, abs=300)
    again = export_module(half, tmp_path / "again.safetensors", half=True)
    assert again["half"] == card["half"]  # of rounded weights nothing more is lost, and what was lost stays told
    with torch.no_grad():
        exact.network.output.bias[0] = 1e5
    with pytest.raises(InputError, match=r"--half: network\.output\.bias is beyond what float16 holds"):
        export_module(save(exact, tmp_path / "large.ckpt"), tmp_path / "large.safetensors", half=True)


def test_a_file_that_is_there_stays_unless_told(run, tmp_path, capsys):
    checkpoint, output, program = run / "checkpoints" / "best.ckpt", tmp_path / "m.safetensors", tmp_path / "m.pt2"
    output.write_text("mine")
    assert main(["export", str(checkpoint), "--output", str(output)]) == 2
    assert f"{output}: is there already; choose another name, or replace it with --overwrite" in capsys.readouterr().err
    assert output.read_text() == "mine"
    program.write_text("mine")
    other = tmp_path / "other.safetensors"
    assert main(["export", str(checkpoint), "--output", str(other), "--program", str(program)]) == 2
    assert program.read_text() == "mine" and not other.exists()
    assert main(["export", str(checkpoint), "--output", str(output), "--overwrite"]) == 0
    printed = capsys.readouterr().out
    assert "separatrix separate --model" in printed and "MB" in printed
    load_module(output, WeakLabelSeparator)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["missing.ckpt", "--output", "m.safetensors"], "missing.ckpt: no such checkpoint"),
        (["missing.ckpt", "--output", "m.bin"], "--output m.bin: a name that ends in .safetensors is needed"),
        (["c", "--output", "m.safetensors", "--program", "m.onnx"], "--program m.onnx: a name that ends in .pt2"),
        (
            ["{best}", "--output", "m.safetensors", "--program", "m.pt2", "--recording", "no.wav"],
            "no.wav: no such file",
        ),
        (["{best}", "--output", "m.safetensors", "--recording", "no.wav"], "--recording: compares --program or --half"),
        (["{yaml}", "--output", "m.safetensors"], "config.yaml: not a readable checkpoint"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(arguments, line, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {"best": run / "checkpoints" / "best.ckpt", "yaml": run / "config.yaml"}
    assert main(["export", *(argument.format(**places) for argument in arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert line in error and "\n" not in error
    assert not list(tmp_path.glob("m.*"))


def test_a_damaged_description_is_named(run, tmp_path):
    (run / "environment.json").write_text("{")
    with pytest.raises(InputError, match=r"environment.json: not readable as JSON"):
        export_module(run / "checkpoints" / "best.ckpt", tmp_path / "m.safetensors")


def shown(card: dict[str, Any]) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(card_table(card))
    return capture.get()


@pytest.mark.parametrize(
    "junk", [None, 3, "x", "\x1b[2J[red]\ud800", [], [[]], [3], {}, {"data": 3, "rows": [3, {}, {"mean": "x"}]}, True]
)
def test_whatever_a_card_holds_it_is_shown_without_control_characters(junk, module, tmp_path):
    card: dict[str, Any] = {"module": "WeakLabelSeparator", "hyper_parameters": dict(module.hparams)}
    places = ("training", "data_licence", "code_licence", "scores", "half", "exported_with")
    write_exported(tmp_path / "m.safetensors", card | dict.fromkeys(places, junk), module.state_dict())
    text = shown(read_card(tmp_path / "m.safetensors"))
    assert "car" not in text and "\x1b" not in text and "horn, dog" in text


def test_the_command_line_shows_a_card_of_a_checkpoint_and_of_its_export_alike(run, tmp_path, capsys):
    checkpoint, output = run / "checkpoints" / "best.ckpt", tmp_path / "m.safetensors"
    export_module(checkpoint, output)
    printed = []
    for path in (checkpoint, output):
        assert main(["card", str(path), "--json"]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[1] == read_checkpoint(output)["card"]
    assert {name: printed[1][name] for name in printed[0]} == printed[0]
    assert main(["card", str(output)]) == 0
    assert "CC BY-NC 3.0" in capsys.readouterr().out


# --- programs ---

ALONE = """
import json, sys, torch
found = []
for path in sys.argv[1:]:
    card = {"card.json": ""}
    program = torch.export.load(path, extra_files=card).module()
    with torch.no_grad():
        cases = torch.load(path + ".cases")
        differences = [float((program(heard) - expected).abs().max()) for heard, expected in cases]
    found.append([differences, json.loads(card["card.json"])])
ours = ("lightning", "separatrix", "experiments", "datamodules")
print(json.dumps([found, [name for name in sys.modules if name.startswith(ours)]]))
"""


def test_torch_alone_runs_programs_on_any_number_of_mixtures_and_frames(tmp_path):
    cards = []
    for name, make in MODULES.items():
        torch.manual_seed(2)
        module, path = make().eval(), tmp_path / f"{name}.pt2"
        cards.append({"module": type(module).__name__, "hyper_parameters": dict(module.hparams)})
        told = write_program(path, module, cards[-1], {"noise": noise(1, 3000)})
        assert [what for what, _ in told] == ["noise"] and 0 <= told[0][1] < 1e-5
        with torch.no_grad():
            heard = [heard_by(module, noise(*size)) for size in ((1, 500), (2, 1000), (5, 333), (1, 9000))]
            torch.save([(each, NetworkOf(module)(each)) for each in heard], f"{path}.cases")
    outcome = subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, tmp_path.glob("*.pt2"))],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found, ours = json.loads(outcome.stdout)
    assert ours == []
    assert len(found) == len(cards) and all(card in cards for _, card in found)
    assert max(difference for differences, _ in found for difference in differences) < 1e-5


def test_a_model_that_learnt_with_dropout_becomes_a_program_on_the_command_line(tmp_path):
    network = partial(BLSTM, units=4, layers=2, dropout=0.5)
    made = DeepClustering(network=network, dimensions=3, **GEOMETRY)
    path = str(save(made, tmp_path / "speech.ckpt"))
    assert main(["export", path, "--output", f"{path}.safetensors", "--program", f"{path}.pt2"]) == 0
    assert Path(f"{path}.pt2").exists()


def test_a_program_that_differs_is_not_written(tmp_path, monkeypatch):
    module = MODULES["separator"]()
    other = MODULES["separator"]()
    torch.nn.init.normal_(other.network.output.bias)
    original = torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda network, *a, **k: original(NetworkOf(other).eval(), *a, **k))
    with pytest.raises(InputError, match=r"m.pt2: on noise the program differs from the model by"):
        write_program(tmp_path / "m.pt2", module, {}, {"noise": noise(1, 1000)})
    assert not list(tmp_path.iterdir())


def test_a_network_that_torch_cannot_follow_is_refused_in_one_line(tmp_path):
    class Undecided(torch.nn.Module):
        def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
            return magnitude if magnitude.sum() > 1 else -magnitude

    module = MODULES["separator"]()
    module.network = Undecided()
    with pytest.raises(InputError, match=r"m.pt2: torch.export makes no program of a Undecided \(.*\); leave it out$"):
        write_program(tmp_path / "m.pt2", module, {}, {"noise": noise(1, 1000)})


def test_making_a_program_leaves_torch_and_the_module_as_they_were(tmp_path):
    module = MODULES["separator"]().train()
    before = dict(torch.ops.aten.lstm.input.py_kernels)
    write_program(tmp_path / "m.pt2", module, {}, {"noise": noise(1, 1000)})
    assert dict(torch.ops.aten.lstm.input.py_kernels) == before
    assert module.training and module.network.training
    assert all(parameter.requires_grad for parameter in module.parameters())
