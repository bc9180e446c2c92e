"""Exported models on the real command line: they do what their checkpoints do, and no training resumes from them."""

import shutil

import pytest


@pytest.fixture(scope="module")
def exported(separatrix, tmp_path_factory):
    """A folder with the tiny separator and the classifier, exported."""
    folder = tmp_path_factory.mktemp("exported")
    for row in ("strong", "judge_frame"):
        separatrix.succeed("export", separatrix.best(row), "--output", folder / f"{row}.safetensors")
    return folder


def test_a_test_of_an_exported_model_gives_the_checkpoint_s_rows_and_these_are_on_the_card(
    separatrix, exported, tmp_path
):
    best = shutil.copytree(separatrix.best("strong").parents[1], tmp_path / "a") / "checkpoints" / "best.ckpt"
    for name, model in (("a", best), ("b", exported / "strong.safetensors")):
        assert "overall" not in separatrix.succeed("card", model).out
        separatrix.succeed("test", *separatrix.arguments("strong"), "--ckpt_path", model, "--run", tmp_path / name)
    assert (tmp_path / "a" / "scores.csv").read_bytes() == (tmp_path / "b" / "scores.csv").read_bytes()
    assert "overall" in separatrix.succeed("card", best).out


def test_a_weak_separator_trains_the_same_with_an_exported_classifier(separatrix, exported, tmp_path):
    for name, classifier in (("a", separatrix.best("judge_frame")), ("b", exported / "judge_frame.safetensors")):
        arguments = separatrix.arguments("frame", {"model.judge": classifier})
        separatrix.succeed("fit", *arguments, "--run", tmp_path / name)
    checkpoints = [tmp_path / name / "checkpoints" / "last.ckpt" for name in "ab"]
    assert separatrix.same_weights(*checkpoints)
    outcome = separatrix.succeed("export", checkpoints[1], "--output", tmp_path / "frame.safetensors")
    assert "none: sounds made by formulas" in outcome.out and "steps: 2" in outcome.out
    assert str(exported).encode() not in (tmp_path / "frame.safetensors").read_bytes()


def test_a_training_does_not_resume_from_an_exported_model(separatrix, exported, tmp_path):
    model = exported / "strong.safetensors"
    outcome = separatrix.run("fit", *separatrix.arguments("strong"), "--ckpt_path", model, "--run", tmp_path / "run")
    assert outcome.status == 2 and f"{model}: an exported model, which is no state of a training" in outcome.err
    assert not (tmp_path / "run").exists()
