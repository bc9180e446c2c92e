"""Settings under their names of version 0.1.0 do what they did, and each is told its name of today."""

import pytest
import yaml

from experiments.cli import main

BASE = ["fit", "--config", "weak_labels/base", "--config"]


@pytest.fixture
def model(capsys):
    """A function that gives the resolved settings of the model, and the lines of stderr."""

    def resolve(*arguments):
        assert main([*BASE, *map(str, arguments), "--print_config"]) == 0
        printed = capsys.readouterr()
        return yaml.safe_load(printed.out)["model"]["init_args"], printed.err.splitlines()

    return resolve


EARLIER = {"units": 8, "layers": 1, "lstm_start": "open_gate", "learning_rate": 0.5, "halve_after": 4}


@pytest.mark.parametrize("where", ["command line", "configuration"])
def test_earlier_settings_keep_working_with_a_line_that_names_the_new_ones(where, model, tmp_path):
    if where == "command line":
        words = [word for name, value in EARLIER.items() for word in (f"--model.{name}", value)]
    else:
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"model": {"init_args": EARLIER}}))
        words = ["--config", tmp_path / "mine.yaml"]
    settings, told = model("weak_labels/strong", *words)
    network, scheduler = settings["network"], settings["scheduler"]
    assert network["class_path"].endswith("BLSTM")
    assert {name: network["init_args"][name] for name in ("units", "layers", "lstm_init")} == {
        **{"units": 8, "layers": 1, "lstm_init": "orthogonal"}
    }
    assert settings["optimizer"]["init_args"]["lr"] == 0.5
    assert scheduler["class_path"].endswith("ReduceLROnPlateau") and scheduler["init_args"]["patience"] == 3
    assert len(told) == len(EARLIER) and any("model.units is called " in line for line in told)


def test_an_earlier_architecture_is_a_class_of_network(model):
    settings, _ = model("weak_labels/classifier_frame", "--model.architecture", "recurrent", "--model.units=7")
    assert settings["network"]["class_path"].endswith("BLSTM") and settings["network"]["init_args"]["units"] == 7


def test_the_classifier_was_called_judge(model, tmp_path):
    settings, told = model("weak_labels/frame", "--model.judge", "runs/judge_frame/best.ckpt")
    assert settings["classifier"] == "runs/judge_frame/best.ckpt" and len(told) == 1
    (tmp_path / "mine.yaml").write_text("model: {init_args: {joint_judge: {gain: 3}}}")
    settings, told = model("weak_labels/frame", "--config", tmp_path / "mine.yaml")
    assert (
        settings["joint_classifier"] == {"gain": 3} and "model.joint_judge is called model.joint_classifier" in told[0]
    )


def test_the_activation_of_masks_was_called_masks(model):
    settings, told = model("weak_labels/strong", "--model.masks", "softmax")
    assert settings["mask_activation"] == "softmax" and "masks" not in settings and len(told) == 1


def test_settings_of_a_class_of_ones_own_are_what_they_are(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_separators.py").write_text(
        "from separatrix import WeakLabelSeparator\n"
        "class Dropped(WeakLabelSeparator):\n"
        "    def __init__(self, dropout: float = 0.0, masks: int = 1, **settings):\n"
        "        super().__init__(**settings)\n"
    )
    (tmp_path / "mine.yaml").write_text("model: {class_path: my_separators.Dropped, init_args: {masks: 3}}")
    words = ["fit", "--config", "weak_labels/base", "--config", "mine.yaml", "--model.dropout", "0.5"]
    assert main([*words, "--print_config"]) == 0
    printed = capsys.readouterr()
    settings = yaml.safe_load(printed.out)["model"]["init_args"]
    assert (settings["dropout"], settings["masks"]) == (0.5, 3) and "is called" not in printed.err


def test_configurations_sections_and_values_of_before_are_those_of_today(capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "optimizer: null\nlr_scheduler: null\ntrainer: {use_distributed_sampler: true}\n"
        "stopping: {patience: 9}\nmodel: {init_args: {method: gate}}"
    )
    words = ["--config", "weak_labels/gate", "--config", str(tmp_path / "mine.yaml"), "--stopping.min_delta", "0.5"]
    assert main([*BASE[:3], *words, "--print_config"]) == 0
    printed = capsys.readouterr()
    settings = yaml.safe_load(printed.out)
    assert settings["model"]["init_args"]["method"] == "oracle_activity_mask"
    assert (settings["early_stopping"]["patience"], settings["early_stopping"]["min_delta"]) == (9, 0.5)
    told = printed.err.splitlines()
    for before, now in (("weak_labels/gate", "weak_labels/oracle"), ("stopping", "early_stopping"), ("gate", "oracle")):
        assert any(before in line and now in line for line in told)
