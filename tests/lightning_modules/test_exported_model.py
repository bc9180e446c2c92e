"""Exported models: what the checkpoint is, bit for bit; damaged or malicious, refused in one line that names them."""

import json
import struct
from functools import partial
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from lightning_modules.checkpoint_io import AtomicCheckpointIO
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.errors import InputError
from lightning_modules.exported_model import ENTRY, read_card, weights_digest, write_exported
from lightning_modules.networks import BLSTM, CRNN
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

GEOMETRY: dict[str, Any] = {"sample_rate": 8000, "window": 32, "hop": 16}
SCENES: dict[str, Any] = {**GEOMETRY, "classes": ["horn", "dog"]}
BLSTM_OF_3 = {"class_path": "lightning_modules.networks.BLSTM", "init_args": {"units": 3, "layers": 1}}
CLASSIFIER = {**SCENES, "network": BLSTM_OF_3}
MODULES = {
    "separator": lambda: WeakLabelSeparator(network=partial(BLSTM, units=3), **SCENES),
    "classifier": lambda: EventClassifier(network=partial(CRNN, channels=[2, 3, 4], units=3), **SCENES),
    "deep clustering": lambda: DeepClustering(network=BLSTM_OF_3, dimensions=3, **GEOMETRY),
}


def card_of(module: Any) -> dict[str, Any]:
    return {"module": type(module).__name__, "hyper_parameters": dict(module.hparams)}


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return EventClassifier(**CLASSIFIER)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "given.safetensors"


@pytest.fixture
def refusal(path):
    """A function that gives the line with which what lies at the path is refused."""

    def refuse(contents: bytes | None = None) -> str:
        if contents is not None:
            path.write_bytes(contents)
        with pytest.raises(InputError) as error:
            load_module(path, EventClassifier)
        message = str(error.value)
        assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < 1000
        return message

    return refuse


@pytest.mark.parametrize("name", MODULES)
def test_an_exported_model_puts_out_what_its_checkpoint_does_to_the_last_bit_whatever_the_files_names(name, tmp_path):
    torch.manual_seed(1)
    module = MODULES[name]()
    exported, checkpoint = tmp_path / "model.ckpt", tmp_path / "model.safetensors"
    write_exported(exported, card_of(module), module.state_dict())
    AtomicCheckpointIO().save_checkpoint(card_of(module) | {"state_dict": module.state_dict()}, checkpoint)
    loaded, expected = (load_module(each, type(module)).eval() for each in (exported, checkpoint))
    inputs = torch.rand(2, 17, 40) if isinstance(module, EventClassifier) else torch.randn(2, 640)
    with torch.inference_mode():
        assert torch.equal(loaded(inputs), expected(inputs))
    assert dict(loaded.hparams) == dict(expected.hparams)


def test_the_same_model_gives_the_same_bytes_with_its_card_as_metadata(classifier, path):
    card = write_exported(path, card_of(classifier), classifier.state_dict())
    first = path.read_bytes()
    write_exported(path, card_of(classifier), dict(reversed(classifier.state_dict().items())))
    assert path.read_bytes() == first
    assert card["weights"]["type"] == "float32" and card["weights"]["numbers"] > 500
    swapped = {"a": torch.zeros(2), "b": torch.ones(2)}, {"a": torch.ones(2), "b": torch.zeros(2)}
    reshaped = {"a": torch.zeros(1, 2), "b": torch.ones(2)}, {"a": torch.zeros(2).int(), "b": torch.ones(2)}
    renamed = {"a": torch.zeros(2), "c": torch.ones(2)}
    assert len({weights_digest(weights) for weights in (*swapped, *reshaped, renamed)}) == 5
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()[ENTRY])["card"] == card == read_card(path)


def test_one_changed_byte_anywhere_is_noticed(classifier, path, refusal):
    write_exported(path, card_of(classifier), classifier.state_dict())
    whole = path.read_bytes()
    for place in range(0, len(whole), 151):
        refusal(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    for share in (0.001, 0.3, 0.999):
        refusal(whole[: int(share * len(whole))])


ONE_WEIGHT = {"w": torch.zeros(2)}
NO_CARDS = ["null", "[]", "{", "[" * 100_000, '{"card": {}, "sha256": ""}', '{"card": ' + "9" * 10_000 + "}"]


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        *((struct.pack("<Q", length) + b"{" * 100, "") for length in (2**40, 2**64 - 1)),
        *((save(ONE_WEIGHT, {ENTRY: entry}), "") for entry in NO_CARDS),
        *((save(ONE_WEIGHT, other), "no card; `separatrix export` writes one") for other in (None, {"format": "pt"})),
    ],
)
def test_what_is_no_exported_model_is_refused_in_one_line(contents, reason, refusal):
    assert f"not a readable exported model ({reason}" in refusal(contents)


ODD_SETTINGS = [  # settings, and what the refusal says of them
    ({"network": {**BLSTM_OF_3, "init_args": {"units": 9999}}}, "Error(s) in loading state_dict"),
    ({"mystery": 1}, "does not fit this version"),
    ({"classes": ["../up", "x"]}, "no name of a file"),
    ({"gain": [0] * 20_000}, "settings are not plain values"),
]


@pytest.mark.parametrize(
    ("change", "prior", "reason"),
    [
        ({"module": "Malware"}, None, "a checkpoint of Malware; one of EventClassifier is needed"),
        ({"module": "ModelSelection", "hyper_parameters": {"checkpoints": ["/etc/passwd"]}}, None, "ModelSelection"),
        ({"hyper_parameters": None}, None, "its card is damaged"),
        *(({"hyper_parameters": CLASSIFIER | settings}, None, reason) for settings, reason in ODD_SETTINGS),
        ({}, torch.tensor([0.0, torch.nan]), "prior holds NaN or infinite"),
        ({}, torch.zeros(2).to(torch.float8_e4m3fn), "prior is not an ordinary tensor"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malicious_card_or_weight_is_refused_in_one_line(change, prior, reason, classifier, path, refusal):
    weights = classifier.state_dict() | ({} if prior is None else {"prior": prior})
    write_exported(path, card_of(classifier) | change, weights)
    assert reason in refusal()


def test_a_format_of_the_future_is_refused_by_its_number(classifier, path, refusal, monkeypatch):
    monkeypatch.setattr("lightning_modules.exported_model.FORMAT", 2)
    write_exported(path, card_of(classifier), classifier.state_dict())
    monkeypatch.undo()
    assert "format 2; this version reads format 1" in refusal()
