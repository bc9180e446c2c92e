"""Exported models: what the checkpoint is, bit for bit; damaged or malicious, refused in one line that names them."""

import json
import struct
from functools import partial
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file

from lightning_modules.checkpoint import AtomicCheckpointIO, read_checkpoint
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.exported_model import ENTRY, LONGEST_HEADER, write_exported
from lightning_modules.networks import BLSTM, CRNN, BandSplit
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

GEOMETRY: dict[str, Any] = {"sample_rate": 8000, "window": 32, "hop": 16}
CLASSES = ["horn", "dog"]
BLSTM_OF_3 = {"class_path": "lightning_modules.networks.BLSTM", "init_args": {"units": 3, "layers": 1}}
JUDGE = {**GEOMETRY, "classes": CLASSES, "network": BLSTM_OF_3}
SMALL_CRNN = partial(CRNN, channels=[2, 3, 4], units=3)
BANDS = partial(BandSplit, bands=3, features=4, units=3, layers=1)
MODULES = {
    "separator": lambda: WeakLabelSeparator(classes=CLASSES, network=partial(BLSTM, units=3), **GEOMETRY),
    "recurrent judge": lambda: EventClassifier(**JUDGE),
    "convolutional judge": lambda: EventClassifier(classes=CLASSES, network=SMALL_CRNN, **GEOMETRY),
    "deep clustering": lambda: DeepClustering(network=BLSTM_OF_3, dimensions=3, **GEOMETRY),
    "band-split deep clustering": lambda: DeepClustering(network=BANDS, dimensions=3, **GEOMETRY),
}


def card_of(module: Any) -> dict[str, Any]:
    return {"module": type(module).__name__, "hyper_parameters": dict(module.hparams)}


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return EventClassifier(**JUDGE)


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
def test_an_exported_model_puts_out_what_its_checkpoint_does_to_the_last_bit(name, path):
    torch.manual_seed(1)
    module = MODULES[name]()
    write_exported(path, card_of(module), module.state_dict())
    AtomicCheckpointIO().save_checkpoint(
        {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "module": type(module).__name__},
        path.with_suffix(".ckpt"),
    )
    loaded, expected = (load_module(each, type(module)).eval() for each in (path, path.with_suffix(".ckpt")))
    heard = torch.rand(2, 17, 40) if isinstance(module, EventClassifier) else torch.randn(2, 640)
    with torch.inference_mode():
        assert torch.equal(loaded(heard), expected(heard))
    assert loaded.identity() == expected.identity() and dict(loaded.hparams) == dict(expected.hparams)


def test_a_selection_takes_exported_models_beside_checkpoints(tmp_path):
    paths = []
    for seed, domain in enumerate(("speech", "music")):
        torch.manual_seed(seed)
        module = DeepClustering(domain=domain, network=BLSTM_OF_3, dimensions=3, **GEOMETRY)
        paths.append((tmp_path / f"{domain}.safetensors", tmp_path / f"{domain}.ckpt"))
        write_exported(paths[-1][0], card_of(module), module.state_dict())
        AtomicCheckpointIO().save_checkpoint(card_of(module) | {"state_dict": module.state_dict()}, paths[-1][1])
    (speech, speech_checkpoint), (music, music_checkpoint) = paths
    mixture = torch.randn(3, 800)
    with torch.inference_mode():
        expected = ModelSelection([speech_checkpoint, music_checkpoint])(mixture)
        assert torch.equal(ModelSelection([speech, music])(mixture), expected)
        assert torch.equal(ModelSelection([speech, music_checkpoint])(mixture), expected)


def test_the_same_model_gives_the_same_bytes(judge, path):
    write_exported(path, card_of(judge), judge.state_dict())
    first = path.read_bytes()
    write_exported(path, card_of(judge), dict(reversed(judge.state_dict().items())))
    assert path.read_bytes() == first


def test_a_file_is_told_by_its_contents_whatever_its_name(judge, tmp_path):
    write_exported(tmp_path / "model.ckpt", card_of(judge), judge.state_dict())
    AtomicCheckpointIO().save_checkpoint(
        card_of(judge) | {"state_dict": judge.state_dict()}, tmp_path / "model.safetensors"
    )
    for name in ("model.ckpt", "model.safetensors"):
        assert load_module(tmp_path / name, EventClassifier).identity() == judge.identity()


def test_one_changed_byte_anywhere_is_noticed(judge, path, refusal):
    write_exported(path, card_of(judge), judge.state_dict())
    whole = path.read_bytes()
    for place in range(0, len(whole), 23):
        refusal(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(share, judge, path, refusal):
    write_exported(path, card_of(judge), judge.state_dict())
    refusal(path.read_bytes()[: int(share * path.stat().st_size)])


@pytest.mark.parametrize("length", [LONGEST_HEADER + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_longer_than_any_card_is_refused_before_it_is_read(length, refusal):
    assert f"a header of {length} bytes" in refusal(struct.pack("<Q", length) + b"{" * 100)


def with_metadata(metadata: Any, weights: Any = None) -> bytes:
    return save(weights or {"w": torch.zeros(2)}, metadata)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "null",
        "[]",
        "3",
        "{",
        "[" * 100_000,
        '{"card": ' + "[" * 900 + "]" * 900 + "}",
        '{"card": {}, "sha256": ""}',
        '{"card": ' + "9" * 10_000 + "}",
    ],
    ids=lambda entry: entry[:12],
)
def test_a_card_that_is_none_is_refused(entry, refusal):
    refusal(with_metadata({ENTRY: entry}))


def test_weights_without_a_card_are_refused_with_what_writes_one(refusal):
    assert "no card; `separatrix export` writes one" in refusal(with_metadata({"format": "pt"}))
    assert "no card" in refusal(with_metadata(None))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"module": "Malware"}, "a checkpoint of Malware; one of EventClassifier is needed"),
        ({"module": ["EventClassifier"]}, "a checkpoint of ['EventClassifier']"),
        ({"module": "ModelSelection", "hyper_parameters": {"checkpoints": ["/etc/passwd"]}}, "ModelSelection"),
        ({"hyper_parameters": None}, "not a checkpoint of this project"),
        (
            {"hyper_parameters": {**JUDGE, "network": BLSTM_OF_3 | {"init_args": {"units": 9999}}}},
            "Error(s) in loading state_dict",
        ),
        ({"hyper_parameters": {**JUDGE, "gain": float("1e308") * 10}}, None),
        ({"hyper_parameters": {**JUDGE, "mystery": 1}}, "does not fit this version"),
        ({"hyper_parameters": {**JUDGE, "classes": ["../up", "x"]}}, "no name of a file"),
        ({"hyper_parameters": {**JUDGE, "gain": [0] * 20_000}}, "settings are not plain values"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_malicious_card_is_refused_in_one_line(change, reason, judge, path, refusal):
    if reason is None:
        with pytest.raises(ValueError, match="JSON"):
            write_exported(path, card_of(judge) | change, judge.state_dict())
        assert not path.exists()
        return
    write_exported(path, card_of(judge) | change, judge.state_dict())
    assert reason in refusal()


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (torch.tensor([0.0, torch.nan]), "NaN or infinite"),
        (torch.tensor([0.0, torch.inf]), "NaN or infinite"),
        (torch.zeros(2).to(torch.float8_e4m3fn), "not an ordinary tensor"),
        (torch.zeros(3), "size mismatch"),
        (torch.zeros(0), "size mismatch"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_weights_that_do_not_fit_are_refused_by_name(weight, reason, judge, path, refusal):
    write_exported(path, card_of(judge), judge.state_dict() | {"prior": weight})
    message = refusal()
    assert "prior" in message and reason in message


def test_a_format_of_the_future_is_refused_by_its_number(judge, path, refusal, monkeypatch):
    monkeypatch.setattr("lightning_modules.exported_model.FORMAT", 2)
    write_exported(path, card_of(judge), judge.state_dict())
    monkeypatch.undo()
    assert "format 2; this version reads format 1" in refusal()


def test_a_card_too_long_to_be_read_is_not_written(judge, path):
    with pytest.raises(InputError, match=r"a card of more than \d+ bytes"):
        write_exported(path, card_of(judge) | {"data_licence": "x" * LONGEST_HEADER}, judge.state_dict())
    assert not path.exists()


def test_other_tools_read_the_file_as_safetensors(judge, path):
    from safetensors import safe_open

    write_exported(path, card_of(judge), judge.state_dict())
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(judge.state_dict())
        card = json.loads(file.metadata()[ENTRY])["card"]
    assert card["module"] == "EventClassifier" and card["hyper_parameters"]["classes"] == CLASSES


def test_safetensors_of_another_project_are_refused(path, refusal):
    save_file({"weight": torch.zeros(2)}, path)
    assert "no card" in refusal()


def test_a_test_takes_an_exported_model_from_the_trainer_too(judge, path):
    write_exported(path, card_of(judge), judge.state_dict())
    contents = AtomicCheckpointIO().load_checkpoint(path)
    assert contents["state_dict"].keys() == read_checkpoint(path)["state_dict"].keys() == judge.state_dict().keys()
