"""What a run is called in Weights & Biases."""

import pytest

from experiments.training.tracking import run_name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("--config weak_labels/frame --preset small", "weak_labels/frame small, seed 0"),
        ("--config weak_labels/frame --preset=paper --run here", "weak_labels/frame paper, seed 0"),
        (
            "--config weak_labels/base --config weak_labels/small/data --config weak_labels/strong",
            "weak_labels/strong small, seed 0",
        ),
        (
            "--config deep_clustering/model --config deep_clustering/base --config birds.yaml",
            "deep_clustering/base birds, seed 0",
        ),
        ("--config runs/strong/config.yaml", "runs/new, seed 0"),
        ("--config birds.yaml", "runs/new, seed 0"),
        ("", "runs/new, seed 0"),
    ],
)
def test_a_run_is_called_after_its_experiment_preset_and_seed(words, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds.yaml").write_text("data: {}")
    (tmp_path / "runs" / "strong").mkdir(parents=True)
    (tmp_path / "runs" / "strong" / "config.yaml").write_text("data: {}")
    arguments = ["fit", *words.split()]
    assert run_name(arguments, tmp_path / "runs" / "new", 0, 0) == name
    assert run_name(arguments, tmp_path / "runs" / "new", 1, 2) == name.replace("seed 0", "seeds 1 and 2")
