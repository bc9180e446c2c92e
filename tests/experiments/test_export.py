"""What `separatrix export` writes: a card that knows or says that it does not, and a program that torch alone runs."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import separatrix
from experiments.cli import main
from experiments.export.card import LICENCES, licence, read_card, shown
from experiments.export.model import Network, export_module, noise_input, write_program
from lightning_modules.checkpoint_io import AtomicCheckpointIO
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import weights_digest, write_exported
from lightning_modules.networks import BLSTM, CRNN, BandSplit, TFLocoformer
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

GEOMETRY: dict[str, Any] = {"sample_rate": 8000, "window": 32, "hop": 16}
SETTINGS: dict[str, Any] = {**GEOMETRY, "classes": ["horn", "dog"]}
TWO_LAYERS = partial(BLSTM, units=3, layers=2, dropout=0.5)
SUMMARY = """quantity,label,mean,std,median,n
improvement,nan,4.0,0.1,4.0,1
improvement,overall,5.015625,1.0,5.0,2
"""
SCORES = """supervision,level,class,average_precision,f1,accuracy,n,positives
frame,clip,horn,,0.5,0.75,4,0
frame,clip,dog,0.625,0.5,0.75,4,2
"""


def save(module: Any, path: Path) -> Path:
    contents = {"module": type(module).__name__, "hyper_parameters": dict(module.hparams)}
    progress = {"epoch": 4, "global_step": 60}
    AtomicCheckpointIO().save_checkpoint({**contents, **progress, "state_dict": module.state_dict()}, path)
    return path


@pytest.fixture
def module():
    torch.manual_seed(0)
    settings = {**SETTINGS, "network": partial(BLSTM, units=3)}
    return WeakLabelSeparator(supervision="frame", classifier="/home/somebody/classifier/best.ckpt", **settings)


@pytest.fixture
def run(tmp_path, module):
    """A run's folder as `fit` and `test` leave it, of one model that was tested and another that was not."""
    folder = tmp_path / "run"
    save(module, folder / "checkpoints" / "best.ckpt")
    torch.manual_seed(1)
    save(WeakLabelSeparator(**module.hparams), folder / "checkpoints" / "last.ckpt")  # other weights
    urban = {"class_path": "separatrix.UrbanSound8K", "init_args": {"root": "/home/somebody/UrbanSound8K"}}
    own = {"class_path": "mine.Birds", "init_args": {"root": "/home/somebody/birds", "folds": 3}}
    joined = {"class_path": "datamodules.corpora.joined.JoinedCorpora", "init_args": {"corpora": [urban, own]}}
    data = {"corpus": urban, "bank_folder": "banks", "workers": 3, "list": ["a/b"], "train_folds": [1, 2], "seed": 7}
    configuration = {
        "seed_everything": 7,
        "trainer": {"max_epochs": 20, "precision": "bf16-mixed", "default_root_dir": "/home/somebody"},
        "model": {"class_path": "separatrix.WeakLabelSeparator", "init_args": dict(module.hparams)},
        "data": {"class_path": "separatrix.UrbanScenes", "init_args": data},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    configuration["data"]["init_args"]["corpus"] = joined
    (folder / "test.yaml").write_text(yaml.safe_dump(configuration))
    environment = {"machine": "host", "versions": {"torch": "2.9"}, "revision": "123456"}
    (folder / "environment.json").write_text(json.dumps(environment))
    (folder / "tested.json").write_text(json.dumps({"weights": weights_digest(module.state_dict())}))
    (folder / "summary.csv").write_text(SUMMARY)
    return folder


def test_a_card_says_what_the_run_knows_and_nothing_of_the_machine(run, tmp_path, module):
    card = export_module(run / "checkpoints" / "best.ckpt", tmp_path / "model.safetensors")
    training, scores = card["training"], card["scores"]
    assert (card["module"], card["data_licence"], card["code_licence"]) == ("WeakLabelSeparator", "CC BY-NC 3.0", "MIT")
    told = (training["epochs"], training["steps"], training["seed"], training["versions"], training["revision"])
    assert told == (5, 60, 7, {"torch": "2.9"}, "123456")
    assert training["trainer"] == {"max_epochs": 20, "precision": "bf16-mixed"}
    urban = {"class": "UrbanSound8K", "settings": {}}
    scenes = {"class": "UrbanScenes", "settings": {"train_folds": [1, 2], "seed": 7}}
    assert training["data"] == {**scenes, "corpus": urban}
    corpora = [urban, {"class": "Birds", "settings": {"folds": 3}}]
    assert scores["data"]["corpus"] == {"class": "JoinedCorpora", "settings": {}, "corpora": corpora}
    figures = {"mean": 5.015625, "std": 1.0, "median": 5.0, "n": 2}
    assert scores["rows"][1] == {"quantity": "improvement", "label": "overall", **figures}
    assert scores["rows"][0]["label"] == "nan"  # a class of that name
    assert "improvement_db: {nan: 4.0±0.1, overall: 5.0±1.0}" in shown(card)
    assert card["hyper_parameters"] == {**module.hparams, "classifier": None}
    contents = (tmp_path / "model.safetensors").read_bytes()
    assert not any(word in contents for word in (b"somebody", b"banks", b"host", b"a/b", str(tmp_path).encode()))


def test_scores_of_a_classifier_are_null_where_it_has_none(run):
    (run / "summary.csv").unlink()
    assert read_card(run / "checkpoints" / "best.ckpt")["scores"] is None
    (run / "classifier.csv").write_text(SCORES)
    card = read_card(run / "checkpoints" / "best.ckpt")
    assert [row["average_precision"] for row in card["scores"]["rows"]] == [None, 0.625]
    assert list(card["scores"]["rows"][0]) == [
        "level",
        "label",
        "average_precision",
        "f1",
        "accuracy",
        "n",
        "positives",
    ]
    assert "clip_average_precision: {horn: null, dog: 0.625}" in shown(card)


def test_scores_are_only_those_of_the_weights_that_were_tested(run):
    assert read_card(run / "checkpoints" / "last.ckpt")["scores"] is None
    test = run / "test.yaml"
    for setting, value, known in (("optimizer", "torch.optim.SGD", True), ("mask_activation", "softmax", False)):
        configuration = yaml.safe_load(test.read_text())
        configuration["model"]["init_args"][setting] = value
        test.write_text(yaml.safe_dump(configuration))
        assert (read_card(run / "checkpoints" / "best.ckpt")["scores"] is not None) == known


def test_scores_of_an_interrupted_test_are_not_known(run):
    (run / "scores.parts").mkdir()
    assert read_card(run / "checkpoints" / "best.ckpt")["scores"] is None


def test_what_is_not_known_is_none(run, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    alone = shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "elsewhere" / "best.ckpt")
    configuration = yaml.safe_load((run / "config.yaml").read_text())
    configuration["model"]["init_args"]["network"]["init_args"]["units"] = 4  # of another model
    (run / "config.yaml").write_text(yaml.safe_dump(configuration))
    for path in (alone, run / "checkpoints" / "last.ckpt"):
        card = read_card(path)
        training = card.pop("training")
        assert card["scores"] is card["data_licence"] is training["data"] is training["versions"] is None
        assert (training["epochs"], training["steps"], training["seed"]) == (5, 60, None)
    assert export_module(alone, tmp_path / "b.safetensors", data_licence="CC0")["data_licence"] == "CC0"
    for words, told in ([], True), (["--data-licence", "CC0"], False):
        assert main(["export", str(alone), "--output", str(tmp_path / "c.safetensors"), "--overwrite", *words]) == 0
        assert ("--data-licence says that of your recordings" in capsys.readouterr().out) == told


def test_every_corpus_of_the_project_has_its_licence_and_joined_ones_have_all_or_none():
    for name, expected in LICENCES.items():
        assert hasattr(separatrix, name)
        places = ("separatrix", "datamodules.corpora.file", "mine")
        assert [licence({"class_path": f"{place}.{name}"}) for place in places] == [expected, expected, None]
    cases = {"UrbanSound8K LibriSpeech UrbanSound8K": "CC BY-NC 3.0; CC BY 4.0", "UrbanSound8K FolderPerClass": None}
    for names, expected in cases.items():
        corpora = [{"class_path": f"separatrix.{name}"} for name in names.split()]
        assert licence({"class_path": "separatrix.JoinedCorpora", "init_args": {"corpora": corpora}}) == expected


def test_the_same_checkpoint_gives_the_same_bytes_and_an_export_can_be_exported(run, tmp_path):
    first, second = (tmp_path / f"{name}.safetensors" for name in "ab")
    export_module(run / "checkpoints" / "best.ckpt", first)
    export_module(first, second)
    assert first.read_bytes() == second.read_bytes()


def test_half_precision_halves_the_size_and_the_card_says_what_it_costs(run, tmp_path):
    checkpoint, whole, half = run / "checkpoints" / "best.ckpt", tmp_path / "whole.safetensors", tmp_path / "half.x"
    export_module(checkpoint, whole)
    card = export_module(checkpoint, half, half=True)
    assert card["weights"]["type"] == "float16"
    exact, rounded = (load_module(path, WeakLabelSeparator).eval() for path in (whole, half))
    with torch.inference_mode():
        features = noise_input(exact, 1)
        difference = (Network(exact)(features) - Network(rounded)(features)).abs().max()
    assert card["half"]["largest difference on noise"] == pytest.approx(float(difference)) and 0 < difference < 0.01
    size = sum(weight.numel() for weight in exact.state_dict().values())
    assert whole.stat().st_size - half.stat().st_size == pytest.approx(2 * size, abs=300)  # but for the headers
    # Of rounded weights nothing more is lost, and what was lost stays told.
    assert export_module(half, tmp_path / "again.safetensors", half=True)["half"] == card["half"]
    exact.network.output.bias.data[0] = 1e5
    with pytest.raises(InputError, match=r"--half: network\.output\.bias is beyond what float16 holds"):
        export_module(save(exact, tmp_path / "large.ckpt"), tmp_path / "large.safetensors", half=True)


def test_a_file_that_is_there_stays_unless_told(run, tmp_path, capsys):
    checkpoint, output, program = run / "checkpoints" / "best.ckpt", tmp_path / "m.safetensors", tmp_path / "m.pt2"
    program.write_text("mine")
    arguments = ["export", str(checkpoint), "--output", str(output), "--program", str(program)]
    assert main(arguments) == 2
    line = f"{program}: is there already; choose another name, or replace it with --overwrite"
    assert line in capsys.readouterr().err
    assert program.read_text() == "mine" and not output.exists()
    output.write_text("mine")
    assert main(arguments[:-2]) == 2 and output.read_text() == "mine"
    assert main([*arguments, "--overwrite"]) == 0
    printed = capsys.readouterr().out
    assert "separatrix separate --model" in printed and "MB" in printed and "on noise" in printed
    load_module(output, WeakLabelSeparator)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["missing.ckpt", "--output", "m.safetensors"], "missing.ckpt: no such checkpoint"),
        (["missing.ckpt", "--output", "m.bin"], "--output m.bin: a name that ends in .safetensors is needed"),
        (["c", "--output", "m.safetensors", "--program", "m.onnx"], "--program m.onnx: a name that ends in .pt2"),
        (["{run}/config.yaml", "--output", "m.safetensors"], "config.yaml: not a readable checkpoint"),
        (["{run}/checkpoints/best.ckpt", "--output", "m.safetensors"], "environment.json: not readable"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(arguments, line, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (run / "environment.json").write_text("{")
    assert main(["export", *(argument.format(run=run) for argument in arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert line in error and "\n" not in error
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.parametrize(
    "junk", [None, "\x1b[2J[red]\ud800", [[]], [3], {"data": 3, "rows": [3]}, {"data": 3, "rows": [{"mean": "x"}]}]
)
def test_whatever_a_card_holds_it_is_shown_without_control_characters(junk, module, tmp_path):
    card: dict[str, Any] = {"module": "WeakLabelSeparator", "hyper_parameters": dict(module.hparams)}
    places = ("training", "data_licence", "code_licence", "scores", "half", "exported_with")
    write_exported(tmp_path / "m.safetensors", card | dict.fromkeys(places, junk), module.state_dict())
    text = shown(read_card(tmp_path / "m.safetensors"))
    assert text.replace("\n", "").isprintable() and "[horn, dog]" in text


def test_the_command_line_shows_a_card_of_a_checkpoint_and_of_its_export_alike_the_latter_without_torch(run, tmp_path):
    output = tmp_path / "m.safetensors"
    card = export_module(run / "checkpoints" / "best.ckpt", output)
    call = "import sys; from experiments.cli import main; main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    ours = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(Path(separatrix.__file__).parent)}}
    outcome = subprocess.run([sys.executable, "-c", call, "card", output, "--json"], **ours, capture_output=True)
    assert outcome.returncode == 0 and json.loads(outcome.stdout) == card
    assert card.items() >= read_card(run / "checkpoints" / "best.ckpt").items()


# --- programs ---

BANDS = partial(BandSplit, bands=3, features=4, units=3, layers=1, merged_frames=2)
TRANSFORMER = partial(TFLocoformer, bands=3, features=8, hidden=3, layers=1, merged_frames=4)
MODULES = {
    "separator": lambda: WeakLabelSeparator(network=BANDS, input_normalisation="mixture", **SETTINGS),
    "transformer": lambda: WeakLabelSeparator(network=TRANSFORMER, **SETTINGS),
    "complex": lambda: WeakLabelSeparator(network=TWO_LAYERS, mask="complex", mask_activation="softmax", **SETTINGS),
    "classifier": lambda: EventClassifier(network=partial(CRNN, channels=[2, 3, 4], units=3), **SETTINGS),
    "deep clustering": lambda: DeepClustering(network=TWO_LAYERS, dimensions=3, **GEOMETRY),
    "chimera": lambda: DeepClustering(network=BANDS, dimensions=3, head="both", **GEOMETRY),
}
ALONE = """
import json, sys, torch
found = []
for path in sys.argv[1:]:
    card = {"card.json": ""}
    program = torch.export.load(path, extra_files=card).module()
    with torch.no_grad():
        cases = torch.load(path + ".cases")
        found.append([json.loads(card["card.json"]), [float((program(x) - y).abs().max()) for x, y in cases]])
ours = ("lightning", "separatrix", "experiments", "datamodules")
print(json.dumps([found, [name for name in sys.modules if name.startswith(ours)]]))
"""


def test_torch_alone_runs_programs_on_any_number_of_mixtures_and_frames(tmp_path):
    for name, make in MODULES.items():
        torch.manual_seed(2)
        module, path = make(), tmp_path / f"{name}.pt2"
        assert write_program(path, module, {"name": name}) < 1e-5
        features = noise_input(module, 20)
        shapes = ((1, 32), (2, 64), (5, 21), (20, 9), (1, None))
        cases = [features[:mixtures, :, :frames] for mixtures, frames in shapes]
        with torch.no_grad():
            torch.save([(each, Network(module)(each)) for each in cases], f"{path}.cases")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", ALONE, *(str(tmp_path / f"{name}.pt2") for name in MODULES)]
    outcome = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    found, ours = json.loads(outcome.stdout)
    assert ours == [] and [card for card, _ in found] == [{"name": name} for name in MODULES]
    assert max(difference for _, differences in found for difference in differences) < 1e-5


class Undecided(torch.nn.Module):
    def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
        return magnitude if magnitude.sum() > 1 else -magnitude


class Inconstant(torch.nn.Module):
    def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
        return magnitude.repeat(1, 2, 1) * (1 + torch.compiler.is_exporting())


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (Undecided, r"m.pt2: torch.export makes no program of a Undecided \(.*\); leave it out$"),
        (Inconstant, r"m.pt2: on noise the program differs from the model by 0\.\d+; leave it out$"),
    ],
)
def test_a_program_that_torch_cannot_make_or_that_differs_is_refused_in_one_line(network, line, module, tmp_path):
    module.network = network()
    with pytest.raises(InputError, match=line):
        write_program(tmp_path / "m.pt2", module, {})
    assert not list(tmp_path.iterdir())
