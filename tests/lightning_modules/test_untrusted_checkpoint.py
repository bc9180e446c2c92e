"""A checkpoint of anybody: memory follows the file's size; only finite weights and plain settings are taken."""

import copy
import resource
import zipfile
from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules.checkpoint import read_checkpoint
from lightning_modules.errors import InputError
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier

SETTINGS: dict[str, Any] = {
    "supervision": "frame",
    "classes": ["horn", "dog"],
    "sample_rate": 8000,
    "window": 32,
    "hop": 16,
    "network": {"class_path": "lightning_modules.networks.BLSTM", "init_args": {"units": 3, "layers": 1}},
    "optimizer": {"class_path": "torch.optim.adam.Adam", "init_args": {"lr": 1e-3}},
}


@pytest.fixture
def contents() -> dict[str, Any]:
    return {
        "state_dict": dict(EventClassifier(**SETTINGS).state_dict()),
        "hyper_parameters": copy.deepcopy(SETTINGS),
        "module": "EventClassifier",
    }


@pytest.fixture
def refusal(tmp_path):
    """A function that saves contents and gives the line with which they are refused."""

    def refuse(contents: Any) -> str:
        path = tmp_path / "given.ckpt"
        torch.save(contents, path)
        with pytest.raises(InputError) as error:
            load_module(path, EventClassifier)
        message = str(error.value)
        assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < 1000
        return message

    return refuse


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(value, contents, refusal):
    contents["state_dict"]["network.output.bias"][1] = value
    assert "network.output.bias holds NaN or infinite weights" in refusal(contents)


@pytest.mark.parametrize(
    "weight",
    [
        [1.0, 2.0],
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2).to(torch.float8_e4m3fn),
        nn.Parameter(torch.zeros(2)),
        torch.zeros(1).expand(2),
        torch.zeros(1).expand(10**6, 10**6),  # a petabyte if it were written out
        torch.zeros(2).to_sparse(),
        torch.zeros(2, device="meta"),
    ],
    ids=lambda weight: str(weight)[:30],
)
def test_a_weight_that_is_no_ordinary_tensor_is_refused(weight, contents, refusal):
    contents["state_dict"]["network.output.bias"] = weight
    refusal(contents)


def test_weights_that_the_settings_do_not_ask_for_are_refused_by_name(contents, refusal):
    weights = contents["state_dict"]
    wrong = {"size mismatch for prior": {**weights, "prior": torch.zeros(7)}}
    wrong |= {'Unexpected key(s) in state_dict: "more"': {**weights, "more": torch.zeros(7)}}
    wrong |= {'Missing key(s) in state_dict: "prior"': {name: weights[name] for name in weights if name != "prior"}}
    for told, given in wrong.items():
        assert told in refusal({**contents, "state_dict": given})


@pytest.mark.parametrize(
    "name, value",
    [
        *(("network.units", value) for value in (10**9, 2.5, None, [3], float("nan"))),
        *(("network.layers", 99), ("network.mystery", 1), ("mystery", 1), ("sample_rate", 10**12), ("window", 2**40)),
        *(("classes", value) for value in ("horn", ["a/../b", "c"], ["\x1b[2J", "x"], [["x"], "y"])),
        *(("supervision", "strong"), ("network", "magic"), ("network", {"class_path": ["BLSTM"]}), ("gain", "loud")),
    ],
)
def test_settings_of_a_wrong_type_or_size_are_refused(name, value, contents, refusal):
    _, _, of_network = name.rpartition("network.")
    settings = contents["hyper_parameters"]
    (settings["network"]["init_args"] if of_network != name else settings)[of_network] = value
    refusal(contents)


def test_settings_that_hold_each_other_or_double_without_end_are_refused(contents, refusal):
    circle: list[Any] = []
    circle.append(circle)
    contents["hyper_parameters"]["gain"] = circle
    assert "settings are not plain values" in refusal(contents)
    laughs: list[Any] = ["ha"] * 10
    for _ in range(20):
        laughs = [laughs] * 10
    contents["hyper_parameters"]["gain"] = laughs
    assert "settings are not plain values" in refusal(contents)


@pytest.mark.parametrize("part", ["state_dict", "hyper_parameters", "module"])
def test_parts_of_another_type_are_refused(part, contents, refusal):
    for value in (None, "x", [1], torch.ones(2)):
        refusal({**contents, part: value})


def test_a_polyglot_of_the_old_format_with_an_archive_behind_it_is_refused(tmp_path, contents):
    for name, new in (("old.ckpt", False), ("new.ckpt", True)):
        torch.save(contents, tmp_path / name, _use_new_zipfile_serialization=new)
    path = tmp_path / "both.ckpt"
    path.write_bytes((tmp_path / "old.ckpt").read_bytes() + (tmp_path / "new.ckpt").read_bytes())
    assert zipfile.is_zipfile(path) and torch.load(path, weights_only=True)["module"] == "EventClassifier"
    with pytest.raises(InputError, match=r"both.ckpt: not a readable checkpoint .* \(no archive, or not whole\)$"):
        read_checkpoint(path)


class Called:
    """Unpickled, what a class or function makes of these arguments."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize(
    "call", [(torch.Tensor, 2), (torch.FloatTensor, 2), (bytearray, 10**6), (complex, 1, 2)], ids=str
)
def test_memory_as_it_was_before_and_memory_without_bytes_are_not_asked_for(call, contents, refusal, tmp_path):
    contents["state_dict"]["classifier.classes.bias"] = Called(*call)
    assert "its pickle asks for" in refusal(contents)
    torch.load(tmp_path / "given.ckpt", weights_only=True)  # which torch would give


def test_names_in_a_later_protocol_s_words_are_refused_too(contents, tmp_path):
    torch.save(contents | {"payload": Called(print, "run")}, tmp_path / "given.ckpt", pickle_protocol=4)
    with pytest.raises(InputError, match="its pickle asks for names of a later protocol"):
        read_checkpoint(tmp_path / "given.ckpt")


@pytest.mark.parametrize("whole", [b"K\x02\x85", b"X\x01\x00\x00\x002"], ids=["view", "part"])
def test_a_tensor_of_more_numbers_than_its_part_is_refused(whole, contents, tmp_path):
    path, given = tmp_path / "given.ckpt", tmp_path / "more.ckpt"
    torch.save({**contents, "state_dict": {"bias": torch.zeros(2)}}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(given, "w") as more:
        for part in archive.infolist():
            data = archive.read(part)
            if part.filename.endswith("data.pkl"):
                number = b"K\x02t" if whole.startswith(b"X") else b"K\x02\x85"  # of the part, or of the view
                assert data.count(number) == 1
                data = data.replace(number, b"J\x00\x00\x00\x40" + number[2:])  # 2**30
            more.writestr(part.filename, data)
    with pytest.raises(InputError, match="not a readable checkpoint"):
        read_checkpoint(given)


def test_whole_numbers_and_truth_values_are_weights_too(tmp_path, contents):
    counts = {"batches": torch.tensor(7), "mask": torch.tensor([True, False]), "bytes": torch.tensor([255]).byte()}
    torch.save(contents | {"state_dict": counts}, tmp_path / "given.ckpt")
    read = read_checkpoint(tmp_path / "given.ckpt")["state_dict"]
    assert all(torch.equal(read[name], value) and read[name].dtype == value.dtype for name, value in counts.items())


def test_an_archive_that_inflates_is_refused_before_it_does(tmp_path, contents):
    torch.save(contents | {"air": torch.zeros(2_500_000)}, tmp_path / "whole.ckpt")
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(tmp_path / "whole.ckpt") as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for part in whole.infolist():
            bomb.writestr(part.filename, whole.read(part))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=r"bomb.ckpt: not a readable checkpoint .* \(a compressed archive\)$"):
        read_checkpoint(path)


def test_a_part_that_is_marked_as_a_folder_is_refused_and_no_old_memory_taken_for_weights(tmp_path, contents):
    path = tmp_path / "given.ckpt"
    torch.save(contents, path)
    name = b"given/data/3"
    whole = path.read_bytes()
    entry = whole.rindex(b"PK\x01\x02", 0, whole.rindex(name))  # in the archive's table: attributes are at byte 38
    path.write_bytes(whole[: entry + 38] + b"\x10" + whole[entry + 39 :])
    with pytest.raises(InputError, match="an archive with folders"):
        read_checkpoint(path)


def test_a_flipped_bit_in_a_weight_is_noticed(tmp_path, contents):
    path = tmp_path / "given.ckpt"
    torch.save(contents, path)
    whole = bytearray(path.read_bytes())
    place = whole.index(contents["state_dict"]["network.output.weight"].numpy().tobytes())
    whole[place] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(path)


def test_settings_of_a_huge_network_ask_for_no_memory(contents, refusal):
    contents["hyper_parameters"]["network"]["init_args"] = {"units": 10_000, "layers": 100}  # half a terabyte
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "Error(s) in loading state_dict" in refusal(contents)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
