"""The benchmarks run, both ways agree, and their arithmetic holds; how fast is no matter of a test."""

import json
import math
from functools import partial

import numpy as np
import pandas
import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from experiments.benchmarks import (
    clustering,
    comparison,
    evaluation,
    growth,
    loss,
    noise_corpus,
    nussl_steps,
    options,
    rendering,
    scores,
    separation,
    training,
)
from experiments.benchmarks.command import BENCHMARKS
from experiments.benchmarks.comparison import Comparison, Measurement, Timed, measure
from experiments.cli import main
from experiments.training.precision import runs_lstm
from lightning_modules.networks import BLSTM
from lightning_modules.spectrogram import Geometry, stft

CPU = torch.device("cpu")
NETWORK = {"network": partial(BLSTM, units=4, layers=1)}
STEP = {"SIZES": NETWORK, "CHANNELS": (2, 2, 2), "PAIRS": 2, "SCENES": 1}
TINY = {
    noise_corpus: {"CLIPS_PER_CLASS": 2},
    rendering: {"MIXTURES": 4, "REFERENCE_MIXTURES": 2, "BATCH": 2},
    loss: {"BATCH": 2, "BINS": 1000},
    training: STEP | {"RUNS": 1},
    clustering: {"BINS": 40_000, "POINTS": 300, "BATCH": 2},
    scores: {"MIXTURES": 2, "SAMPLES": 8000},
    evaluation: {"SIZES": NETWORK, "MIXTURES": 3, "REFERENCE_MIXTURES": 1, "RUNS": 1},
    options: STEP | {"FRAMES": 40, "RUNS": 1},
    separation: {"LONG": 2, "SHORT": 1, "CLUSTERING": NETWORK, "WEAK_LABELS": NETWORK},
    growth: {"FEW": 2, "MANY": 20, "MIXTURES": 6, "BATCH": 2, "BINS": 1000, "RUNS": 1},
}
ROWS = {
    "rendering": 3,
    "bank": 1,
    "loss": 3,
    "training": 7,
    "clustering": 2,
    "scores": 1,
    "evaluation": 3,
    "options": 4,
    "growth": 5,
    "separate": 2,
}


@pytest.fixture
def tiny(monkeypatch):
    for module, values in TINY.items():
        for name, value in values.items():
            monkeypatch.setattr(module, name, value)


# Options compare with reduced precision, where the device can do it.
NAMES = [pytest.param(name, marks=pytest.mark.any_cpu) if name == "options" else name for name in BENCHMARKS]


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_agree_and_every_run_is_kept(name, tiny, tmp_path, capsys):
    path = tmp_path / "found.json"
    assert main(["benchmark", name, "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["threads"] == 1 and found["device"] == "cpu" and "torch" in found["versions"]
    reduced = name == "options" and not runs_lstm(torch.bfloat16, "cpu")
    assert len(found["rows"]) == (1 if reduced else ROWS[name])
    for row in found["rows"]:
        assert len(row["ours"]) == len(row["reference"]) > 0
        assert all(seconds > 0 for seconds in row["ours"] + row["reference"])
        assert row["items"] > 0 and row["reference_items"] > 0
    table = pandas.json_normalize(found["rows"])
    assert (table.ours.str.len() == table.reference.str.len()).all() and table["items"].gt(0).all()
    out = capsys.readouterr().out
    assert "times as fast" in out


def test_a_profile_keeps_no_times(tiny, tmp_path, capsys):
    assert main(["benchmark", "loss", "--profile", "--json", str(tmp_path / "found.json")]) == 2
    assert "leave one of the two out" in capsys.readouterr().err


def test_the_profile_shows_where_the_time_of_ours_goes(tiny, capsys):
    assert main(["benchmark", "loss", "--profile"]) == 0
    out = capsys.readouterr().out
    assert out.count("deep clustering loss") == 1, "the same work is looked at once"
    assert "matrix products" in out and "total" in out and "times as fast" not in out


def test_a_benchmark_ends_where_the_ways_differ(tiny, monkeypatch):
    monkeypatch.setattr(loss, "three_products", lambda embedding, dominant, weight: embedding.sum((1, 2)))
    with pytest.raises(AssertionError):
        next(loss.benchmark_loss(CPU))


def test_ratios_compare_the_time_for_one_item():
    row = Measurement("work", items=10, ours=[1.0, 2.0], reference=[4.0, 4.0], reference_name="", reference_items=5)
    assert row.ratios == [8.0, 4.0]
    assert row.ratio == 6.0
    assert row.rate == 10 / 1.5


def test_both_ways_run_in_turn_each_time_after_a_run_that_does_not_count():
    order = []
    row = measure(Comparison("work", lambda: order.append("ours"), lambda: order.append("theirs"), "", 3, runs=2), CPU)
    assert order == ["ours", "ours", "theirs", "theirs"] * 2
    assert len(row.ours) == len(row.reference) == 2
    assert row.reference_items == 3


def test_memory_of_ways_in_processes_of_their_own_is_kept_and_shown(monkeypatch, capsys):
    row = Comparison("work", lambda: Timed(1.0, 300 * 2**20), lambda: Timed(1.0, 200 * 2**20), "", runs=1)
    assert measure(row, CPU).process_bytes == (300 * 2**20, 200 * 2**20)
    monkeypatch.setitem(BENCHMARKS, "loss", lambda device: iter([row]))
    assert main(["benchmark", "loss"]) == 0
    assert "300 MiB, 200 MiB" in capsys.readouterr().out


def test_a_way_that_knows_its_time_is_believed():
    row = measure(Comparison("work", lambda: Timed(2.0), lambda: Timed(3.0), "", runs=1), CPU)
    assert (row.ours, row.reference, row.ratio) == ([2.0], [3.0], 1.5)


def test_alternatives_have_the_c_librarys_own_settings_of_memory(monkeypatch):
    told = []
    for name in ("keep_freed_memory", "return_freed_memory"):
        monkeypatch.setattr(comparison, name, lambda name=name: told.append(name.split("_")[0]))
    for both_ours, expected in ((False, ["keep", "return", "keep"]), (True, ["keep", "keep", "keep"])):
        told.clear()
        measure(Comparison("work", lambda: None, lambda: None, "", runs=1, both_ours=both_ours), CPU)
        assert told == expected


def test_what_was_measured_before_a_fault_is_shown(monkeypatch, tmp_path, capsys):
    def rows(device):
        yield Comparison("work that ends", lambda: Timed(2.0), lambda: Timed(3.0), "theirs", runs=1)
        raise AssertionError("the ways differ")

    monkeypatch.setitem(BENCHMARKS, "loss", rows)
    with pytest.raises(AssertionError, match="the ways differ"):
        main(["benchmark", "loss", "--json", str(tmp_path / "found.json")])
    assert "work that ends" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "found.json").read_text())["rows"]) == 1


@pytest.mark.parametrize(("wanted", "said"), [(1.5, "1.50: met"), (3.0, "3.00: missed by 50%"), (None, "1.50")])
def test_the_table_says_whether_what_is_wanted_is_met(wanted, said, monkeypatch, capsys):
    row = Comparison("work", lambda: Timed(2.0), lambda: Timed(3.0), "theirs", wanted=wanted, runs=1)
    monkeypatch.setitem(BENCHMARKS, "loss", lambda device: iter([row]))
    assert main(["benchmark", "loss"]) == 0
    assert said in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused(capsys):
    assert main(["benchmark", "speed"]) == 2
    assert capsys.readouterr().err.startswith(
        "separatrix benchmark: speed: no such benchmark; one of rendering, bank, loss"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(capsys):
    assert main(["benchmark", "loss", "--device", "cuda"]) == 2
    assert "torch sees no GPU" in capsys.readouterr().err


def test_nussls_spectrum_is_this_projects():
    geometry = Geometry(8000, 256, 64)
    signal = np.random.default_rng(0).standard_normal((2, 64 * 50))
    theirs = nussl_steps.stft(signal, geometry)
    np.testing.assert_allclose(theirs, stft(torch.from_numpy(signal).float(), geometry).numpy(), atol=1e-6)
    np.testing.assert_allclose(nussl_steps.istft(theirs, geometry, signal.shape[-1]), signal, atol=1e-12)


def test_nussls_scores_add_up_in_the_best_order():
    sources = np.random.default_rng(1).standard_normal((2, 4000))
    sources -= sources.mean(-1, keepdims=True)
    estimates = sources[::-1] + 0.5 * sources + 0.1 * np.random.default_rng(2).standard_normal((2, 4000))
    estimates -= estimates.mean(-1, keepdims=True)
    for number, score in enumerate(nussl_steps.evaluate(estimates, sources)):
        estimate = torch.from_numpy(estimates[1 - number].copy())
        expected = scale_invariant_signal_distortion_ratio(estimate, torch.from_numpy(sources[number]), zero_mean=True)
        assert score["SI-SDR"] == pytest.approx(float(expected), abs=1e-6)
        # The residual's part in the sources' span and the rest are orthogonal: their powers add up.
        powers = [10 ** (-score[name] / 10) for name in ("SI-SIR", "SI-SAR", "SI-SDR")]
        assert math.isclose(powers[0] + powers[1], powers[2], rel_tol=1e-9)
        assert score["MIX-SNR"] == pytest.approx(
            10 * np.log10((sources[number] ** 2).sum() / (sources[1 - number] ** 2).sum())
        )
        # The closed forms against what they stand for.
        residual, scale = estimates[1 - number] - sources[number], estimates[1 - number] @ sources[number]
        scaled = scale / (sources[number] @ sources[number]) * sources[number]
        for name, noise in (("SD-SDR", residual), ("SRR", scaled - sources[number])):
            assert score[name] == pytest.approx(10 * np.log10((scaled**2).sum() / (noise**2).sum()))
