"""Exported models on the real command line: they do what their checkpoints do, and are no trainings to go on with."""

import pytest


@pytest.fixture(scope="module")
def exported(separatrix, tmp_path_factory):
    """A folder with the tiny separator and the judge, exported."""
    folder = tmp_path_factory.mktemp("exported")
    for row in ("strong", "judge_frame"):
        separatrix.succeed("export", separatrix.best(row), "--output", folder / f"{row}.safetensors")
    return folder


@pytest.mark.parametrize(("row", "file"), [("strong", "scores.csv"), ("judge_frame", "classifier.csv")])
def test_a_test_of_an_exported_model_gives_the_checkpoint_s_rows(row, file, separatrix, exported, tmp_path):
    for name, model in (("a", separatrix.best(row)), ("b", exported / f"{row}.safetensors")):
        separatrix.succeed("test", *separatrix.arguments(row), "--ckpt_path", model, "--run", tmp_path / name)
    assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_weak_separator_learns_the_same_from_an_exported_judge(separatrix, exported, tmp_path):
    for name, judge in (("a", separatrix.best("judge_frame")), ("b", exported / "judge_frame.safetensors")):
        arguments = separatrix.arguments("frame", {"model.judge": judge})
        separatrix.succeed("fit", *arguments, "--run", tmp_path / name)
    last = "checkpoints/last.ckpt"
    assert separatrix.same_weights(tmp_path / "a" / last, tmp_path / "b" / last)
    outcome = separatrix.succeed(
        "export", tmp_path / "b" / "checkpoints" / "best.ckpt", "--output", tmp_path / "frame.safetensors"
    )
    assert "none: sounds made by formulas" in outcome.out and "1 epochs, 2 steps" in outcome.out
    assert str(exported).encode() not in (tmp_path / "frame.safetensors").read_bytes()


def test_a_training_does_not_go_on_from_an_exported_model(separatrix, exported, tmp_path):
    model = exported / "strong.safetensors"
    outcome = separatrix.run("fit", *separatrix.arguments("strong"), "--ckpt_path", model, "--run", tmp_path / "run")
    assert outcome.status == 2 and f"{model}: an exported model, which is no state of a training" in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_test_s_scores_are_on_the_card(separatrix, tmp_path):
    run = tmp_path / "run"
    separatrix.succeed("fit", *separatrix.arguments("strong"), "--run", run)
    best = run / "checkpoints" / "best.ckpt"
    assert "scores" in separatrix.succeed("card", best).out and "overall" not in separatrix.succeed("card", best).out
    separatrix.succeed("test", *separatrix.arguments("strong"), "--ckpt_path", best, "--run", run)
    assert "overall" in separatrix.succeed("card", best).out
    # Another model of the same settings, put in its place, has not been tested.
    separatrix.succeed("fit", *separatrix.arguments("strong", {"seed_everything": 1}), "--run", tmp_path / "other")
    (tmp_path / "other" / "checkpoints" / "best.ckpt").replace(best)
    assert "overall" not in separatrix.succeed("card", best).out
