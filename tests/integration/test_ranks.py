"""Two ranks on the CPU against one process: real processes, gloo."""

import pytest

RANKS = {"trainer.devices": "2", "trainer.strategy": "ddp"}
# Seven mixtures: one rank has one more than the other.


@pytest.fixture(scope="module")
def one_process(separatrix, tmp_path_factory):
    """Scores of the strong separator, from one process."""
    run = tmp_path_factory.mktemp("one")
    checkpoint = separatrix.best("strong")
    separatrix.succeed("test", *separatrix.arguments("strong"), "--ckpt_path", checkpoint, "--run", run)
    return (run / "scores.csv").read_bytes()


def test_two_ranks_write_the_rows_of_one_process(separatrix, one_process, tmp_path):
    arguments = [*separatrix.arguments("strong", RANKS), "--ckpt_path", separatrix.best("strong"), "--run", tmp_path]
    outcome = separatrix.run_process("test", *arguments)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "scores.csv").read_bytes() == one_process
    assert not (tmp_path / "scores.parts").exists()


def test_an_evaluation_with_one_mixture_left_goes_on_with_two_ranks(separatrix, one_process, tmp_path):
    lines = one_process.decode().splitlines(keepends=True)[1:]
    (tmp_path / "scores.parts").mkdir()
    left = "".join(line for line in lines if not line.startswith("6,"))
    (tmp_path / "scores.parts" / "rank-0-earlier.csv").write_text(f"{left}\n")
    arguments = [*separatrix.arguments("strong", RANKS), "--ckpt_path", separatrix.best("strong"), "--run", tmp_path]
    outcome = separatrix.run_process("test", *arguments)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "scores.csv").read_bytes() == one_process


def test_two_ranks_with_half_the_batch_learn_what_one_process_learns(separatrix, tmp_path):
    settings = {**RANKS, "data.batch_size": "2"}
    outcome = separatrix.run_process("fit", *separatrix.arguments("strong", settings), "--run", tmp_path)
    assert outcome.status == 0, outcome.err
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    # The mean of two halves is summed in another order than the whole: equal but for rounding.
    assert separatrix.largest_difference(tmp_path / "checkpoints" / "last.ckpt", separatrix.best("strong")) < 1e-4
    (curves,) = tmp_path.glob("curves/*/metrics.csv")
    (reference,) = (separatrix.systems / "strong").glob("curves/*/metrics.csv")
    ours, theirs = (
        [float(line["validation_loss"]) for line in separatrix.rows(path) if line["validation_loss"]]
        for path in (curves, reference)
    )
    assert ours == pytest.approx(theirs, rel=1e-3)
