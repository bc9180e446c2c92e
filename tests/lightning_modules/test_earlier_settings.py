"""Checkpoints and exported models of version 0.1.0, under the names of today."""

import copy
from typing import Any, NamedTuple

import pytest
import torch

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.choices import choice
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.earlier_settings import with_current_names
from lightning_modules.errors import InputError
from lightning_modules.exported_model import write_exported
from lightning_modules.networks import BLSTM, CRNN
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

GEOMETRY: dict[str, Any] = {"sample_rate": 8000, "window": 32, "hop": 16}
SCENES: dict[str, Any] = {"classes": ["horn", "dog"], **GEOMETRY}


def adam(lr: float) -> dict[str, Any]:
    return {"class_path": "torch.optim.Adam", "init_args": {"lr": lr}}


def halved(patience: int) -> dict[str, Any]:
    plateau = "torch.optim.lr_scheduler.ReduceLROnPlateau"
    return {"class_path": plateau, "init_args": {"factor": 0.5, "patience": patience}}


class Earlier(NamedTuple):
    """A kind of module: its settings then and now, and what its weights' names began with then, by those of today."""

    kind: type[SeparatrixModule]
    then: dict[str, Any]
    now: dict[str, Any]
    names: dict[str, str]


SEPARATOR = {"network.recurrent.": "separator.recurrent.", "network.output.": "separator.mask."}
CLASSIFIER = {
    "network.convolutions.": "classifier.convolutions.",
    "network.recurrent.": "classifier.recurrent.",
    "network.output.": "classifier.classes.",
}
JOINT = {f"classifier.{new}": f"judge.{old}" for new, old in CLASSIFIER.items()}
EARLIER = {
    "separator": Earlier(
        WeakLabelSeparator,
        SCENES
        | {"supervision": "strong", "judge": None, "joint_judge": None, "alpha": 7.0}
        | {"units": 3, "layers": 2, "lstm_start": "uniform", "learning_rate": 0.01, "halve_after": 4},
        SCENES
        | {"supervision": "strong", "classifier": None, "joint_classifier": None, "alpha": 7.0}
        | {"network": choice(BLSTM, units=3, layers=2, lstm_init="uniform")}
        | {"optimizer": adam(0.01), "scheduler": halved(3)},
        SEPARATOR,
    ),
    "separator with a joint classifier": Earlier(
        WeakLabelSeparator,
        SCENES
        | {"supervision": "clip", "units": 3, "layers": 1, "lstm_start": "open_gate"}
        | {"joint_judge": {"architecture": "convolutional", "channels": [2, 3, 4], "units": 3, "gain": 10.0}}
        | {"masks": "softmax"}
        | {"learning_rate": 1e-4, "halve_after": None},
        SCENES
        | {"supervision": "clip", "network": choice(BLSTM, units=3, layers=1, lstm_init="orthogonal")}
        | {"joint_classifier": {"network": choice(CRNN, channels=[2, 3, 4], units=3), "gain": 10.0}}
        | {"mask_activation": "softmax"}
        | {"optimizer": adam(1e-4), "scheduler": None},
        SEPARATOR | JOINT,
    ),
    "convolutional classifier": Earlier(
        EventClassifier,
        SCENES
        | {"supervision": "frame", "gain": 100.0, "architecture": "convolutional", "lstm_start": "uniform"}
        | {"channels": [2, 3, 4], "units": 3, "layers": 2, "learning_rate": 0.01, "halve_after": None},
        SCENES
        | {"supervision": "frame", "gain": 100.0, "optimizer": adam(0.01), "scheduler": None}
        | {"network": choice(CRNN, channels=[2, 3, 4], units=3, lstm_init="uniform")},
        CLASSIFIER,
    ),
    "deep clustering": Earlier(
        DeepClustering,
        GEOMETRY
        | {"domain": "speech", "dimensions": 3, "units": 3, "layers": 2, "dropout": 0.3}
        | {"lstm_start": "open_gate", "embedding_start": 8.0, "learning_rate": 2e-4, "halve_after": 5},
        GEOMETRY
        | {"domain": "speech", "dimensions": 3, "optimizer": adam(2e-4), "scheduler": halved(4)}
        | {"network": choice(BLSTM, units=3, layers=2, dropout=0.3, lstm_init="orthogonal", output_init_scale=8.0)},
        {"network.recurrent.": "network.recurrent.", "network.output.": "network.embedding."},
    ),
}


def written(earlier: Earlier, module: SeparatrixModule) -> dict[str, Any]:
    """What version 0.1.0 wrote of a module with these weights."""
    weights = {}
    for name, value in module.state_dict().items():
        prefix = next((new for new in earlier.names if name.startswith(new)), None)
        weights[name if prefix is None else earlier.names[prefix] + name.removeprefix(prefix)] = value
    return {"module": earlier.kind.__name__, "hyper_parameters": earlier.then, "state_dict": weights, "epoch": 3}


@pytest.mark.parametrize("name", EARLIER)
def test_what_an_earlier_version_wrote_has_todays_names_and_puts_out_the_same(name, tmp_path):
    torch.manual_seed(0)
    earlier = EARLIER[name]
    module = earlier.kind(**earlier.now).eval()
    contents = written(earlier, module)
    assert not [weight for weight in contents["state_dict"] if "network.output" in weight]
    before = copy.deepcopy(contents["hyper_parameters"])
    today = with_current_names(contents)
    assert contents["hyper_parameters"] == before  # what is given stays as it is
    assert today["hyper_parameters"] == earlier.now and today["epoch"] == 3
    assert list(today["state_dict"]) == list(module.state_dict())
    assert with_current_names(today) is today
    torch.save(contents, tmp_path / "old.ckpt")
    card = {name: contents[name] for name in ("module", "hyper_parameters")}
    write_exported(tmp_path / "old.safetensors", card, contents["state_dict"])
    inputs = torch.rand(2, 17, 40) if earlier.kind is EventClassifier else 0.1 * torch.randn(2, 400)
    for path in (tmp_path / "old.ckpt", tmp_path / "old.safetensors"):
        loaded = load_module(path, earlier.kind).eval()
        with torch.no_grad():
            assert torch.equal(loaded(inputs), module(inputs))
        assert read_checkpoint(path)["hyper_parameters"]["network"] == earlier.now["network"]


@pytest.mark.parametrize("change", [{"architecture": ["recurrent"]}, {"units": "many"}, {"layers": 10**9}])
def test_odd_settings_of_an_earlier_checkpoint_are_refused_in_one_line(change, tmp_path):
    earlier = EARLIER["convolutional classifier"]
    contents = written(earlier, earlier.kind(**earlier.now))
    contents["hyper_parameters"] = {**earlier.then, "architecture": "recurrent", **change}
    torch.save(contents, tmp_path / "old.ckpt")
    with pytest.raises(InputError, match=r"^[^\n]*/old\.ckpt: [^\n]*$"):
        load_module(tmp_path / "old.ckpt", EventClassifier)
