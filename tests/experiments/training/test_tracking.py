"""What a run is called in Weights & Biases, and how the starts of a run join in TensorBoard."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks.tensorboard_tracker import TensorBoardTracker
from experiments.training.tracking import run_name, tensorboard_run
from lightning_modules.run_files import RunFiles


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


def test_the_curves_of_all_starts_join_without_what_a_killed_one_had_reached(tmp_path):
    for begins, value in ((0, 0.0), (3, 1.0)):
        with tensorboard_run(RunFiles(tmp_path), begins) as writer:
            tracker = TensorBoardTracker(run=writer)
            for step in range(begins, 6):
                tracker.log_metrics({"loss": value}, step)
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    points = [(point.step, point.value) for point in shown.Scalars("loss")]
    assert points == [*((step, 0.0) for step in range(3)), *((step, 1.0) for step in range(3, 6))]
