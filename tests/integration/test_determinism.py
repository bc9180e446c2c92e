"""What docs/determinism.md says of trainings and evaluations on one machine, as written there.

Mixtures, banks, ranks and interruptions have tests of their own, which that page names.
"""

import pytest
import torch
from results import results

CHECKPOINTS = ("checkpoints/best.ckpt", "checkpoints/last.ckpt")


@pytest.fixture
def with_threads():
    """A function that sets the number of torch's threads, for this test."""
    threads = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["fit with a judge", "fit model-selection"])
@pytest.mark.parametrize("workers", ["1", "4"])
def test_a_training_is_the_same_with_any_number_of_workers_and_any_logger(name, workers, stages, processes, tmp_path):
    stage = stages(name)
    processes.succeed(
        *stage.into(tmp_path), "--data.workers", workers, *(["--logger", "none"] if workers == "4" else [])
    )
    found, expected = results(tmp_path), results(stage.whole)
    assert {file: found[file] for file in CHECKPOINTS} == {file: expected[file] for file in CHECKPOINTS}


def test_a_training_is_the_same_with_as_many_threads_and_close_with_more(separatrix, with_threads, tmp_path):
    # Large enough to be shared out.
    arguments = separatrix.arguments("strong", {"model.network.units": 64, "data.duration": 1.0})
    for folder, threads in (("one", 1), ("two", 2), ("two again", 2)):
        with_threads(threads)
        separatrix.succeed("fit", *arguments, "--run", tmp_path / folder)
    last = {folder: tmp_path / folder / CHECKPOINTS[1] for folder in ("one", "two", "two again")}
    assert results(tmp_path / "two")[CHECKPOINTS[1]] == results(tmp_path / "two again")[CHECKPOINTS[1]]
    assert separatrix.largest_difference(last["one"], last["two"]) < 1e-3


@pytest.mark.parametrize("name", ["test weak-labels", "test model-selection"])
@pytest.mark.parametrize(("size", "workers"), [("1", "0"), ("5", "2")])
def test_rows_are_the_same_bytes_in_batches_of_any_size_from_any_number_of_workers(
    name, size, workers, stages, processes, tmp_path
):
    stage = stages(name)
    processes.succeed(*stage.into(tmp_path), "--data.evaluation_batch_size", size, "--data.workers", workers)
    assert (tmp_path / "scores.csv").read_bytes() == (stage.whole / "scores.csv").read_bytes()


@pytest.mark.parametrize("name", ["test weak-labels", "test model-selection"])
@pytest.mark.parametrize("size", ["2", "1"])
def test_rows_are_the_same_bytes_with_more_threads(name, size, separatrix, stages, with_threads, tmp_path):
    stage = stages(name)
    with_threads(2)
    separatrix.succeed(*stage.into(tmp_path), "--data.evaluation_batch_size", size)
    assert (tmp_path / "scores.csv").read_bytes() == (stage.whole / "scores.csv").read_bytes()
