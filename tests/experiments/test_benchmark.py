"""The benchmarks run and both ways agree; how fast is no matter of a test."""

import dataclasses
import json
from functools import partial

import pytest
import torch

from experiments.benchmarks import comparison, deep_clustering, published
from experiments.benchmarks.command import BENCHMARKS
from experiments.benchmarks.comparison import Comparison, Timed, measure
from experiments.benchmarks.networks import multiply_adds
from experiments.cli import main
from lightning_modules.networks import BLSTM, TFLocoformer

NETWORK, CHANNELS = {"network": partial(BLSTM, units=4, layers=1)}, {"channels": (2, 2, 2)}
TINY = {
    "data": {"MIXTURES": 4, "REFERENCE_MIXTURES": 2, "BATCH": 2, "CLIPS_PER_CLASS": 2},
    "deep_clustering": {"LOSS_BATCH": 2, "LOSS_BINS": 1000, "BINS": 20_000, "POINTS": 150, "BATCH": 2},
    "training": {"SIZES": NETWORK, "CLASSIFIER": CHANNELS, "PAIRS": 2, "STEPS": 1},
    "networks": {"SCENES": 1, "STEPS": 1},
    "evaluation": {"SAMPLES": 8000, "SIZES": NETWORK, "MODELS": ("one",), "MIXTURES": 2, "REFERENCE_MIXTURES": 1},
    "separation": {"LONG": 2, "SHORT": 1, "MODELS": ("one",), "CLUSTERING": NETWORK, "WEAK_LABELS": NETWORK},
}
ROWS = dict(zip(BENCHMARKS, (3, 1, 3, 4, 2, 2, 1, 2, 2), strict=True))


@pytest.fixture
def tiny(monkeypatch):
    for module, values in TINY.items():
        for name, value in values.items():
            monkeypatch.setattr(f"experiments.benchmarks.{module}.{name}", value)
    monkeypatch.setattr(comparison, "measure", lambda row, device: measure(dataclasses.replace(row, runs=1), device))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_both_ways_agree_and_every_run_is_kept(name, tiny, tmp_path):
    assert main(["benchmark", name, "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["threads"] == 1 and found["device"] == "cpu" and "torch" in found["versions"]
    assert len(found["rows"]) == ROWS[name]
    for row in found["rows"]:
        assert len(row["ours"]) == len(row["reference"]) and min(row["ours"] + row["reference"]) > 0
        assert (min(row["peak_bytes"]) > 0) == (name == "separate")


def test_multiply_adds_are_those_of_the_equations():
    frames, units, bands, width, hidden = 10, 3, 4, 8, 5
    blstm = 2 * 4 * units * (17 + units) + 2 * units * 34
    assert multiply_adds(BLSTM(17, 34, units=units, layers=1), torch.zeros(2, 17, frames)) == 2 * frames * blstm
    transformer = TFLocoformer(17, 34, bands=bands, features=width, hidden=hidden, layers=1, merged_frames=2)
    steps, kernel = frames // 2, 3
    # Over `length` vectors; the first convolution of each pair also gives those that touch an end.
    convolutions = [2 * kernel * width * hidden * (2 * (length + kernel - 1) + length) for length in (steps, bands)]
    attention = [4 * width**2 * length + 2 * width * length**2 for length in (steps, bands)]
    over_time, over_bands = map(sum, zip(convolutions, attention, strict=True))
    coders = 2 * 17 * width + bands * width * 4 * width + 4 * width * 2 * 34
    expected = steps * coders + bands * over_time + steps * over_bands
    assert multiply_adds(transformer, torch.zeros(1, 17, frames)) == expected


def test_a_benchmark_ends_where_the_ways_differ(tiny, monkeypatch):
    monkeypatch.setattr(published, "three_products", lambda embedding, dominant, weight: embedding.sum((1, 2)))
    with pytest.raises(AssertionError):
        next(deep_clustering.benchmark_loss(torch.device("cpu")))


def test_the_table_compares_one_item_in_turn_and_survives_a_fault(monkeypatch, tmp_path, capsys):
    order = []
    for name in ("keep", "return"):
        monkeypatch.setattr(comparison, f"{name}_freed_memory", partial(order.append, name))

    def rows(device):
        way = partial(order.append, "ours"), partial(order.append, "theirs")
        yield Comparison("work", *way, "", runs=2)
        ours, theirs = (lambda: Timed(2.0, 300 * 2**20)), (lambda: Timed(3.0, 200 * 2**20))
        yield Comparison("met", ours, theirs, "", items=10, reference_items=5, wanted=2.5, runs=1)
        yield Comparison("missed", ours, theirs, "", wanted=3, runs=1)
        raise AssertionError("the ways differ")

    monkeypatch.setattr(deep_clustering, "benchmark_loss", rows)
    with pytest.raises(AssertionError, match="the ways differ"):
        main(["benchmark", "loss", "--json", str(tmp_path / "found.json")])
    runs = ["keep", "ours", "ours", "return", "theirs", "theirs"] * 2  # each follows one that does not count
    assert order == [*runs, "keep", *["keep", "return", "keep"] * 2]
    met, missed = (line for line in capsys.readouterr().out.splitlines() if "MiB" in line)
    assert all(text in met for text in (" 5.0 ", " 3.00 ", "2.50: met", "300 MiB, 200 MiB"))
    assert " 1.50 " in missed and "3.00: missed by 50%" in missed
    assert len(json.loads((tmp_path / "found.json").read_text())["rows"]) == 3


def test_what_cannot_be_measured_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, told in (
        (["speed"], "speed: no such benchmark; one of rendering, bank, loss"),
        (["loss", "--device", "cuda"], "torch sees no GPU"),
    ):
        assert main(["benchmark", *arguments]) == 2
        assert told in capsys.readouterr().err
