"""An evaluation gives the same rows whatever its batches, workers and threads, and resumes what was interrupted."""

import shutil

import pandas
import pytest
import soundfile
import torch
from lightning import Trainer

from callbacks import separation_evaluation
from callbacks.classifier_scores import ClassifierScores
from callbacks.separation_evaluation import SeparationEvaluation, score_row
from datamodules.corpora.procedural import Procedural
from datamodules.urban_scenes import UrbanScenes
from lightning_modules.errors import InputError
from lightning_modules.separation_scores import LeftOut, score_separation, si_sdr
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator


def test_rows_are_the_same_bytes_in_batches_of_any_size_from_any_number_of_workers(stages, separatrix, tmp_path):
    stage = stages("test weak-labels")
    separatrix.succeed(*stage.into(tmp_path), "--data.evaluation_batch_size", "5", "--data.workers", "2")
    assert (tmp_path / "scores.csv").read_bytes() == (stage.whole / "scores.csv").read_bytes()


def test_rows_that_an_interrupted_evaluation_left_are_not_computed_again(separatrix, stages, tmp_path):
    stage = stages("test weak-labels")
    header, *lines = (stage.whole / "scores.csv").read_text().splitlines(keepends=True)
    # Scores that no evaluation gives; then a batch that a kill cut short.
    marked = {index: f"{index},siren,,1.0,2.0,{index}.0,of-{index}\n" for index in (0, 1, 5, 199)}
    (tmp_path / "scores.parts").mkdir()
    left = f"{marked[0]}{marked[1]}\n{marked[5]}{marked[199]}\n7,siren,,1.0,2.0,7.0,of-7\n8,si"
    (tmp_path / "scores.parts" / "rank-0-earlier.csv").write_text(left)
    separatrix.succeed(*stage.into(tmp_path))
    kept = [line for line in lines if int(line.split(",")[0]) not in marked]
    expected = sorted([*marked.values(), *kept], key=lambda line: int(line.split(",")[0]))
    assert (tmp_path / "scores.csv").read_text() == header + "".join(expected)
    assert not (tmp_path / "scores.parts").exists()


def interrupted(score):
    """In place of the fourth mixture's score, an error."""
    if score.mixture == 3:
        raise InputError("interrupted")
    return score_row(score)


def test_an_ideal_mask_beats_the_gate_and_neither_resumes_with_rows_of_the_other(separatrix, tmp_path, monkeypatch):
    active, ideal = (
        ["test", *separatrix.arguments(row), "--run"] for row in ("oracle_activity_mask", "ideal_ratio_mask")
    )
    with monkeypatch.context() as patch:
        patch.setattr(separation_evaluation, "score_row", interrupted)
        assert separatrix.run(*active, tmp_path / "oracle_activity_mask").status == 2
    refused = separatrix.run(*ideal, tmp_path / "oracle_activity_mask")
    assert refused.status == 2 and "rows of an interrupted test of another model or data" in refused.err
    separatrix.succeed(*active, tmp_path / "oracle_activity_mask")
    separatrix.succeed(*ideal, tmp_path / "ideal")
    rows = [separatrix.rows(tmp_path / name / "scores.csv") for name in ("oracle_activity_mask", "ideal")]
    places = [[(line["index"], line["class"], line["input_si_sdr_db"]) for line in lines] for lines in rows]
    assert places[0] == places[1]
    pairs = [(float(g["si_sdr_db"]), float(i["si_sdr_db"])) for g, i in zip(*rows, strict=True) if not g["left_out"]]
    assert pairs and all(ideal_db > gate_db for gate_db, ideal_db in pairs)


def test_what_the_estimates_leave_of_a_mixture_is_scored_against_the_sum_of_the_unlabelled_events(separatrix, tmp_path):
    mixtures, run = tmp_path / "mixtures", tmp_path / "run"
    data = {"classes": "[car_horn, siren]", "unlabelled_events": 1}
    words = separatrix.arguments("strong", {"model.mask_activation": "softmax", "model.residual": "true"}, **data)
    separatrix.succeed("fit", *words, "--run", run)
    for command in ("test", "predict"):
        separatrix.succeed(command, "--config", run / "config.yaml", "--ckpt_path", "best", "--run", run)
    separatrix.succeed("synthesize", *separatrix.scene_words(**data), "--output", mixtures)

    def sound(path):
        return torch.from_numpy(soundfile.read(path)[0])

    rows = {int(row["index"]): row for row in separatrix.rows(run / "scores.csv") if row["class"] == "residual"}
    with_residual = {int(path.parent.name[-6:]) for path in mixtures.glob("sources/*/residual.wav")}
    assert rows.keys() == with_residual and 0 < len(rows) < 7
    for index, row in rows.items():
        truth = sound(mixtures / "sources" / f"test-{index:06d}" / "residual.wav")
        mixture, *estimates = (
            sound(run / "estimates" / f"{index:06d}" / f"{name}.wav") for name in ("mixture", "car_horn", "siren")
        )
        assert float(row["input_si_sdr_db"]) == pytest.approx(float(si_sdr(mixture, truth)), abs=1e-3)
        assert float(row["si_sdr_db"]) == pytest.approx(float(si_sdr(mixture - sum(estimates), truth)), abs=1e-3)
        assert {name.split("/")[0] for name in row["recordings"].split("|")} <= {"dog_bark", "gun_shot", "jackhammer"}
    labels = pandas.read_csv(mixtures / "labels.tsv", sep="\t")
    assert set(labels["event_label"]) == {"car_horn", "siren"}
    separatrix.succeed("report", run, "--examples", "1")
    assert ">residual<" in (run / "report.html").read_text()


def test_an_interrupted_evaluation_whose_checkpoint_was_replaced_does_not_resume(separatrix, tmp_path, monkeypatch):
    checkpoint = tmp_path / "given.ckpt"
    shutil.copy(separatrix.best("strong"), checkpoint)
    test = ["test", *separatrix.arguments("strong"), "--ckpt_path", checkpoint, "--run", tmp_path / "run"]
    with monkeypatch.context() as patch:
        patch.setattr(separation_evaluation, "score_row", interrupted)
        assert separatrix.run(*test).status == 2
    contents = torch.load(checkpoint, weights_only=True)
    contents["state_dict"] = {name: 0.9 * weight for name, weight in contents["state_dict"].items()}
    torch.save(contents, checkpoint)
    refused = separatrix.run(*test)
    assert refused.status == 2 and "rows of an interrupted test of another model or data" in refused.err


def test_an_exported_model_is_tested_and_listened_to_as_its_checkpoint(separatrix, tmp_path):
    folder = shutil.copytree(separatrix.systems / "strong", tmp_path / "a")
    best, exported, classifier = (
        folder / "checkpoints" / "best.ckpt", tmp_path / "strong.safetensors", tmp_path / "classifier.safetensors"
    )  # fmt: skip
    separatrix.succeed("export", best, "--output", exported)
    separatrix.succeed("export", separatrix.best("classifier_frame"), "--output", classifier)
    for name, model in (("a", best), ("b", exported)):
        assert "overall" not in separatrix.succeed("card", model).out
        separatrix.succeed("test", *separatrix.arguments("strong"), "--ckpt_path", model, "--run", tmp_path / name)
    assert (tmp_path / "a" / "scores.csv").read_bytes() == (tmp_path / "b" / "scores.csv").read_bytes()
    assert "overall" in separatrix.succeed("card", best).out
    for name, given in (("c", separatrix.best("classifier_frame")), ("d", classifier)):
        separatrix.succeed("fit", *separatrix.arguments("frame", {"model.classifier": given}), "--run", tmp_path / name)
    checkpoints = [tmp_path / name / "checkpoints" / "last.ckpt" for name in "cd"]
    assert separatrix.same_weights(*checkpoints)
    separatrix.succeed("export", checkpoints[1], "--output", tmp_path / "frame.safetensors")
    outcome = separatrix.succeed("card", tmp_path / "frame.safetensors")
    assert "none: sounds made by formulas" in outcome.out and "steps: 2" in outcome.out
    assert str(tmp_path).encode() not in (tmp_path / "frame.safetensors").read_bytes()


def test_in_python_the_trainer_returns_what_the_table_says(separatrix, tmp_path):
    scenes = {"duration": 0.5, "latest_onset": 0.3, "validation_mixtures": 5, "test_mixtures": 7}
    folds = {"train_folds": [1], "validation_folds": [2], "test_folds": [3], "evaluation_batch_size": 2}
    rate = {"sample_rate": 8000, "window": 256, "hop": 128}
    data = UrbanScenes(
        Procedural(clips_per_class=8, folds=3, sample_rate=8000),
        **{"bank_folder": str(separatrix.banks), **scenes, **folds, **rate},
    )
    data.build()
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(**quiet, callbacks=[SeparationEvaluation(str(tmp_path))])
    separator = load_module(separatrix.best("strong"), WeakLabelSeparator)
    (returned,) = trainer.test(separator, datamodule=data)
    rows = pandas.read_csv(tmp_path / "scores.csv")
    scored = rows[rows["left_out"].isna()]
    recordings = rows["recordings"].str.split("|")
    label_of = {clip.recording: clip.label for clip in data.bank.clips}
    for label, of_row in zip(rows["class"], recordings, strict=True):
        assert {label_of[name] for name in of_row} == {label}
    for index, of_mixture in recordings.groupby(rows["index"]):
        assert sorted(of_mixture.sum()) == sorted(data.dataset("test").recordings(index))
    for label, of_label in [("overall", scored), *scored.groupby("class")]:
        for quantity, column in (("input", "input_si_sdr_db"), ("improvement", "improvement_db")):
            assert returned[f"test_{quantity}_mean/{label}"] == pytest.approx(of_label[column].mean())
            assert returned[f"test_{quantity}_std/{label}"] == pytest.approx(of_label[column].std(ddof=0))
        assert returned[f"test_improvement_n/{label}"] == len(of_label)
    (validated,) = trainer.validate(separator, datamodule=data)
    with torch.inference_mode():
        scores = [
            score
            for batch in data.val_dataloader()
            for score in score_separation(
                batch.mixture, batch.sources, separator(batch.mixture), batch.clip_labels, batch.indices, data.classes
            )
            if score.left_out is LeftOut.NO
        ]
    mean = sum(score.si_sdr - score.input_si_sdr for score in scores) / len(scores)
    assert validated["validation_improvement_db"] == pytest.approx(mean, abs=1e-4)
    trainer = Trainer(**quiet, callbacks=[ClassifierScores(str(tmp_path))])
    (returned,) = trainer.test(load_module(separatrix.best("classifier_frame"), EventClassifier), datamodule=data)
    table = pandas.read_csv(tmp_path / "classifier.csv")
    expected = {
        f"test_{row.level}_{name}/{row[3]}": getattr(row, name)
        for row in table.itertuples()
        for name in ("average_precision", "f1", "accuracy")
    }
    assert returned == pytest.approx({name: value for name, value in expected.items() if value == value})
