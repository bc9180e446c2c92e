"""Models that ship, by name: found wherever a model can be named, listed, and what is none is refused in one line."""

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile
import torch
from tiny_systems import trainer

from callbacks.classifier_scores import ClassifierScores
from callbacks.separation_evaluation import SeparationEvaluation
from experiments.cli import main
from experiments.command_line.configurations import resolved
from experiments.command_line.parser import data_parser
from experiments.separation.models import uses
from lightning_modules import pretrained
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import write_exported
from lightning_modules.pretrained import model_file
from lightning_modules.recordings.separator import Separator
from lightning_modules.scores.rows import read_table
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of models that ship, with one."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    torch.manual_seed(0)
    model = WeakLabelSeparator("strong", classes=["car_horn", "siren"], sample_rate=8000, window=64, hop=32)
    rows = [{"quantity": "improvement", "label": "overall", "mean": 5.25, "std": 1.0, "median": 5.0, "n": 3}]
    card = {
        "module": "WeakLabelSeparator",
        "hyper_parameters": dict(model.hparams),
        "training": {"data": {"corpus": {"class": "UrbanSound8K"}}},
        "scores": {"data": None, "rows": rows},
        "data_licence": "CC BY-NC 3.0",
    }
    write_exported(tmp_path / "tiny.safetensors", card, {k: v.half() for k, v in model.state_dict().items()})
    return model


def test_a_model_that_ships_separates_by_its_name_as_the_model_does_to_half_precision(shipped):
    mixture = 0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    by_name = Separator.from_pretrained("tiny", device="cpu")(mixture, 8000)
    expected = Separator(shipped, device="cpu")(mixture, 8000)
    assert list(by_name.sources) == ["car_horn", "siren", "residual"]
    for name, source in expected.sources.items():
        torch.testing.assert_close(by_name.sources[name], source, atol=1e-4, rtol=0)


def test_models_and_card_say_what_they_are(shipped, capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    for said in ("tiny", "car horn, siren", "UrbanSound8K", "+5.2", "CC BY-NC 3.0", "separate --model tiny"):
        assert said in out
    assert main(["card", "tiny"]) == 0
    assert capsys.readouterr().out.startswith("module: WeakLabelSeparator\ndata_licence: CC BY-NC 3.0\n")


def test_classifiers_are_listed_apart_with_the_training_that_they_are_for(shipped, tmp_path, capsys):
    classifier = EventClassifier("clip", classes=["car_horn"])
    rows = [
        {"level": level, "class": "car_horn", "average_precision": of} for level, of in (("frame", 0.5), ("clip", 0.75))
    ]
    card = {
        "module": "EventClassifier",
        "hyper_parameters": dict(classifier.hparams),
        "training": {"data": {"corpus": {"class": "UrbanSound8K"}}},
        "scores": {"data": None, "rows": rows},
        "data_licence": None,
    }
    write_exported(tmp_path / "heard.safetensors", card, classifier.state_dict())
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    of_models, of_classifiers = out.split("classifier ", 1)
    assert "tiny" in of_models and "heard" not in of_models
    for said in ("heard", "0.50", "0.75", "fit --config weak_labels/clip", "--model.classifier heard"):
        assert said in of_classifiers
    assert uses("heard", {**card, "hyper_parameters": {**classifier.hparams, "sample_rate": 8000}}) == []


def test_its_name_and_no_path_is_what_a_separation_notes_and_it_exports_again(shipped, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    soundfile.write("street.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 8000)
    words = ["separate", "--model", "tiny", "street.wav", "--output", "out"]
    assert main(words) == 0
    noted = (tmp_path / "out/street/separation.json").read_text()
    assert json.loads(noted)["models"] == ["tiny"] and str(tmp_path) not in noted
    assert main(words) == 0 and "separated before" in capsys.readouterr().out
    assert main(["export", "tiny", "--output", "again.safetensors"]) == 0
    again = load_module("again.safetensors", WeakLabelSeparator).state_dict()
    assert all(
        torch.equal(again[name], weights)
        for name, weights in load_module("tiny", WeakLabelSeparator).state_dict().items()
    )


def test_a_file_comes_before_a_name_and_neither_is_refused_with_the_names(shipped, tmp_path, monkeypatch):
    assert model_file("runs/best.ckpt") == "runs/best.ckpt"  # whoever reads it says that it is missing
    with pytest.raises(InputError, match=r"^model tinny: no such file; did you mean the included model tiny\?$"):
        model_file("tinny")
    with pytest.raises(InputError, match=r"^model other: no such file.*; one of tiny$"):
        model_file("other")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").touch()
    assert model_file("tiny") == "tiny"


def test_where_no_model_ships_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert main(["models"]) == 0 and capsys.readouterr().out == "no model is included in this version\n"
    with pytest.raises(InputError, match=r"^model urban: no such file; no model is included in this version$"):
        model_file("urban")


@pytest.mark.parametrize(
    ("name", "configuration"),
    [
        ("urban", "weak_labels/base"),
        ("urban-strong", "weak_labels/base"),
        *((domain, f"deep_clustering/{domain}") for domain in ("speech", "music", "environmental")),
    ],
)
def test_the_included_models_give_the_tables_rows_again(name, configuration, real_data, tmp_path):
    """SI-SDR of the first test mixtures, of which the CSV file holds what the trained checkpoints got."""
    data = _first_mixtures(configuration, real_data, tmp_path)
    table = pandas.read_csv(Path(__file__).with_name("included_models.csv"), keep_default_na=False)
    expected = table[table["model"] == name].reset_index(drop=True)
    model = load_module(name, WeakLabelSeparator, DeepClustering)
    trainer(callbacks=[SeparationEvaluation(str(tmp_path))]).test(model, datamodule=data, verbose=False)
    rows = read_table(tmp_path / "scores.csv")
    for column in ("index", "class", "left_out"):
        assert rows[column].tolist() == expected[column].astype(str).tolist()
    scored = rows["left_out"] == ""
    found, wanted = (each["si_sdr_db"][scored].astype(float).to_numpy() for each in (rows, expected))
    assert abs((found - wanted).mean()) < 0.05 and np.abs(found - wanted).max() < 0.3


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("frame", [0.760, 0.882, 0.923, 0.952, 0.966]), ("clip", [0.709, 0.586, 0.577, 0.940, 0.884])],
)
def test_the_included_classifiers_are_as_precise_as_the_trained_ones(labels, expected, real_data, tmp_path):
    """Average precision of each class per frame, on the first test mixtures."""
    data = _first_mixtures(f"weak_labels/classifier_{labels}", real_data, tmp_path)
    classifier = load_module(f"urban-classifier-{labels}", EventClassifier)
    trainer(callbacks=[ClassifierScores(str(tmp_path))]).test(classifier, datamodule=data, verbose=False)
    found = pandas.read_csv(tmp_path / "classifier.csv").query("level == 'frame'")["average_precision"]
    assert found.tolist() == pytest.approx(expected, abs=0.005)


def _first_mixtures(configuration, real_data, folder):
    words = ["--config", configuration, "--preset", "small", "--data.corpus.root", str(real_data)]
    sizes = ["--data.bank_folder", str(folder), "--data.test_mixtures", "12"]
    parser = data_parser(("bank",), "")
    data = parser.instantiate(parser.parse_args(resolved([*words, *sizes], ("data",)))).data
    data.build(split="test")
    return data
