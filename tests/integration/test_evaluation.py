"""An evaluation gives the same rows in any process, and goes on from those that an interrupted one left."""

import pytest
import torch

from callbacks import separation_evaluation
from callbacks.separation_evaluation import score_row
from experiments.training.precision import runs_lstm
from lightning_modules.errors import InputError

MIXTURES = 300


@pytest.fixture(scope="module")
def command(separatrix):
    """The strong separator's test, without its folder."""
    arguments = separatrix.arguments("strong", test_mixtures=MIXTURES)
    return ["test", *arguments, "--ckpt_path", separatrix.best("strong")]


@pytest.fixture(scope="module")
def uninterrupted(separatrix, command, tmp_path_factory):
    """Bytes of its scores."""
    run = tmp_path_factory.mktemp("uninterrupted")
    separatrix.succeed(*command, "--run", run)
    return (run / "scores.csv").read_bytes()


@pytest.fixture(scope="module")
def rows(uninterrupted):
    """The header, and the rows of each mixture."""
    header, *lines = uninterrupted.decode().splitlines(keepends=True)
    of_mixture = [[] for _ in range(MIXTURES)]
    for line in lines:
        of_mixture[int(line.split(",")[0])].append(line)
    assert all(of_mixture)
    places = [tuple(line.split(",")[:2]) for line in lines]
    assert len(set(places)) == len(places)
    return header, ["".join(lines) for lines in of_mixture]


def test_the_best_checkpoint_scores_the_same_in_a_fresh_process(separatrix, uninterrupted, command, tmp_path):
    outcome = separatrix.run_process(*command, "--run", tmp_path)
    assert outcome.status == 0, outcome.err
    assert (tmp_path / "scores.csv").read_bytes() == uninterrupted


def leave(run, *batches):
    """Lay down the rows that an interrupted evaluation left, batch by batch."""
    (run / "scores.parts").mkdir(parents=True)
    (run / "scores.parts" / "rank-0-earlier.csv").write_text("".join(f"{batch}\n" for batch in batches))


def test_rows_that_an_interrupted_evaluation_left_are_not_computed_again(separatrix, command, rows, tmp_path):
    header, of_mixture = rows
    # Scores that no evaluation gives.
    marked = {index: f"{index},siren,,1.0,2.0,{index}.0\n" for index in (0, 1, 5, MIXTURES - 1)}
    leave(tmp_path, marked[0] + marked[1], marked[5] + marked[MIXTURES - 1])
    (part,) = tmp_path.glob("scores.parts/*")
    part.write_text(part.read_text() + "7,siren,,1.0,2.0,7.0\n8,si")  # a batch that a kill cut short
    separatrix.succeed(*command, "--run", tmp_path)
    expected = "".join(marked.get(index, lines) for index, lines in enumerate(of_mixture))
    assert (tmp_path / "scores.csv").read_text() == header + expected


def test_an_evaluation_killed_between_its_last_row_and_its_table_still_ends_in_the_table(
    separatrix, uninterrupted, command, rows, tmp_path
):
    leave(tmp_path, *rows[1])
    separatrix.succeed(*command, "--run", tmp_path)
    assert (tmp_path / "scores.csv").read_bytes() == uninterrupted
    assert not (tmp_path / "scores.parts").exists()


def test_references_need_no_checkpoint_and_gate_and_ideal_mask_differ(separatrix, tmp_path):
    for row in ("gate", "ideal_ratio_mask"):
        separatrix.succeed("test", *separatrix.arguments(row), "--run", tmp_path / row)
    gate, ideal = (separatrix.rows(tmp_path / row / "scores.csv") for row in ("gate", "ideal_ratio_mask"))
    places = [[(line["index"], line["class"], line["input_si_sdr_db"]) for line in lines] for lines in (gate, ideal)]
    assert places[0] == places[1]
    scored = [
        (float(g["si_sdr_db"]), float(i["si_sdr_db"])) for g, i in zip(gate, ideal, strict=True) if not g["left_out"]
    ]
    assert all(ideal_db > gate_db for gate_db, ideal_db in scored)


def test_rows_of_one_reference_are_never_gone_on_with_by_another(separatrix, tmp_path, monkeypatch):
    def interrupted(score):
        if score.mixture == 3:
            raise InputError("interrupted")
        return score_row(score)

    gate, ideal = (["test", *separatrix.arguments(row), "--run", tmp_path] for row in ("gate", "ideal_ratio_mask"))
    with monkeypatch.context() as patch:
        patch.setattr(separation_evaluation, "score_row", interrupted)
        assert separatrix.run(*gate).status == 2
    refused = separatrix.run(*ideal)
    assert refused.status == 2 and "rows of an interrupted test of another model or data" in refused.err
    if runs_lstm(torch.bfloat16, "cpu"):
        lower = separatrix.run(*gate, "--trainer.precision", "bf16-mixed")
        assert lower.status == 2 and "rows of an interrupted test of another model or data" in lower.err
    separatrix.succeed(*gate)
    separatrix.succeed(*gate[:-1], tmp_path / "whole")
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "whole" / "scores.csv").read_bytes()
