"""The benchmark runs, both ways agree, and its arithmetic holds; how fast is no matter of a test."""

import json

import pytest

from experiments.benchmarks import clustering, rendering
from experiments.benchmarks.measure import Measurement, alternate
from experiments.cli import main


@pytest.fixture
def tiny(monkeypatch):
    for name, value in {"CLIPS_PER_CLASS": 2, "MIXTURES": 4, "REFERENCE_MIXTURES": 1, "BATCH": 2}.items():
        monkeypatch.setattr(rendering, name, value)


def test_rendering_agrees_with_mixtures_from_files_and_every_run_is_kept(tiny, tmp_path, capsys):
    path = tmp_path / "rendering.json"
    assert main(["benchmark", "rendering", "--json", str(path)]) == 0
    (row,) = json.loads(path.read_text())
    assert (row["items"], row["reference_items"]) == (4, 1)
    assert len(row["ours"]) == len(row["reference"]) == 5
    assert "labelled mixtures" in capsys.readouterr().out


def test_clustering_agrees_with_scikit_learn(monkeypatch, tmp_path, capsys):
    for name, value in {"BINS": 40_000, "POINTS": 300, "BATCH": 2}.items():
        monkeypatch.setattr(clustering, name, value)
    path = tmp_path / "clustering.json"
    assert main(["benchmark", "clustering", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())
    assert [row["items"] for row in rows] == [1, 2]
    assert all(len(row["ours"]) == len(row["reference"]) for row in rows)
    assert "scikit-learn" in capsys.readouterr().out


def test_ratios_compare_the_time_for_one_item():
    row = Measurement("work", items=10, ours=[1.0, 2.0], reference=[4.0, 4.0], reference_name="", reference_items=5)
    assert row.ratios == [8.0, 4.0]
    assert row.rate == 10 / 1.5


def test_both_ways_run_in_turn_and_the_first_run_does_not_count():
    order = []
    row = alternate("work", lambda: order.append("ours"), lambda: order.append("theirs"), "", items=3, runs=2)
    assert order == ["ours", "theirs"] * 3
    assert len(row.ours) == len(row.reference) == 2
    assert row.reference_items == 3


def test_an_unknown_benchmark_is_refused(capsys):
    assert main(["benchmark", "speed"]) == 2
    assert capsys.readouterr().err.startswith(
        "separatrix benchmark: speed: no such benchmark; one of clustering, rendering"
    )
