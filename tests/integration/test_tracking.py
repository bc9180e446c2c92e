"""A training and its test followed in W&B by the real command line, read back from the offline files."""

import hashlib
import io
import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from conftest import URBAN_CLASSES as CLASSES
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_modules.checkpoint import read_checkpoint

TWO_EPOCHS = {"trainer.max_epochs": 2, "trainer.log_every_n_steps": 1}
FOLLOWED = ["--logger", "wandb", "--group", "mine"]
# One mixture to look at is enough, and costs half the time.
ONE_EXAMPLE = ["--trainer.callbacks+=callbacks.audio_examples.AudioExamples", "--trainer.callbacks.mixtures=1"]

pytestmark = pytest.mark.usefixtures("nobody_logged_in")


@pytest.fixture(scope="module")
def tracked(separatrix, nobody_logged_in, tmp_path_factory):
    """Folder of a training of two epochs and its test, and what both wrote to stderr."""
    folder = tmp_path_factory.mktemp("tracked")
    arguments = [*separatrix.arguments("strong", TWO_EPOCHS), *FOLLOWED, *ONE_EXAMPLE, "--run", folder]
    trained = separatrix.succeed("fit", *arguments).err
    return folder, [trained, separatrix.succeed("test", *arguments, "--ckpt_path", "best").err]


@pytest.fixture(scope="module")
def run(tracked):
    return tracked[0]


@pytest.fixture(scope="module")
def records(run, wandb_records):
    """Records of the training and of its test."""
    training, test = wandb_records(run)
    return training, test


def of_kind(records, kind):
    return [getattr(record, kind) for record in records if record.WhichOneof("record_type") == kind]


def values(history):
    """A line of the history by name; nested names are joined by a dot."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in history.item}


def points(records):
    """(name, step, value) of all numbers that were logged."""
    lines = [values(history) for history in of_kind(records, "history")]
    return {
        (name, line["trainer/global_step"], value)
        for line in lines
        for name, value in line.items()
        if not name.startswith(("_", "trainer/", "examples/", "tables/")) and name != "epoch"
    }


def figures_of(records):
    """What a program wrote into the summary of its run."""
    updates = [item for summary in of_kind(records, "summary") for item in summary.update]
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in updates}


def table(records, name):
    """The one table of that name: its rows by column, and where its sounds and pictures lie."""
    artifacts = [{entry.path: entry.local_path for entry in a.manifest.contents} for a in of_kind(records, "artifact")]
    (files,) = [files for files in artifacts if f"{name}.table.json" in files]
    content = json.loads(Path(files[f"{name}.table.json"]).read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]], files


def test_a_training_and_its_test_are_one_run_offline_without_anybody_being_asked(tracked, records):
    run, said = tracked
    (training,), (test,) = (of_kind(each, "run") for each in records)
    stored = json.loads((run / "wandb.json").read_text())
    name = "weak_labels/strong demo, seed 0"
    assert stored == {"id": training.run_id, "job_type": "fit", "name": name}
    for begun in (training, test):
        assert begun.run_id == stored["id"]
        assert (begun.project, begun.run_group, begun.job_type) == ("separatrix", "mine", "fit")
        assert begun.display_name == name
    assert [of_kind(each, "exit")[0].exit_code for each in records] == [0, 0]
    for err, folder in zip(said, sorted((run / "wandb").glob("offline-run-*")), strict=True):
        (line,) = [line for line in err.splitlines() if "wandb" in line.lower() or "W&B" in line]
        assert "nobody is logged in" in line and shlex.split(line.split("upload it: ")[1])[-1] == str(folder)


def test_the_configuration_is_that_of_the_folder_and_the_tests_stands_below_its_name(run, records):
    (training,), (test,) = (of_kind(each, "run") for each in records)
    configs = [
        {item.key: json.loads(item.value_json) for item in begun.config.update if item.key != "_wandb"}
        for begun in (training, test)
    ]
    assert configs[0] == yaml.safe_load((run / "config.yaml").read_text())
    assert configs[1] == {"test": yaml.safe_load((run / "test.yaml").read_text())}
    assert configs[0]["model"]["init_args"]["supervision"] == "strong"


def test_the_curves_are_those_of_the_folder_and_join_on_the_step(separatrix, run, records):
    lines = separatrix.rows(run / "curves" / "version_0" / "metrics.csv")
    expected = {
        (name, int(line["step"]), float(value))
        for line in lines
        for name, value in line.items()
        if value and name not in ("step", "epoch")
    }
    assert points(records[0]) == expected
    steps = {name: sorted(step for each, step, _ in expected if each == name) for name, _, _ in expected}
    of_classes = {name for name in steps if name.startswith("validation_improvement_db/")}
    assert {name.split("/")[1] for name in of_classes} <= set(CLASSES) and len(of_classes) > 1
    of_training = {f"training/{name}" for name in ("gradient_norm", "mixtures_per_second", "waiting_share")}
    assert {name: tuple(of_name) for name, of_name in steps.items()} == {
        **dict.fromkeys({"validation_loss", "validation_improvement_db", "train_loss_epoch", *of_classes}, (1, 3)),
        **dict.fromkeys({"train_loss", "lr-Adam", *of_training}, (0, 1, 2, 3)),
    }
    losses = {step: value for name, step, value in expected if name == "train_loss"}
    means = {step: value for name, step, value in expected if name == "train_loss_epoch"}
    for first, last in ((0, 1), (2, 3)):
        assert means[last] == pytest.approx((losses[first] + losses[last]) / 2)
    for each in records:
        (everything,) = [metric for metric in of_kind(each, "metric") if metric.glob_name == "*"]
        assert everything.step_metric == "trainer/global_step"


def test_the_summary_has_the_values_of_the_checkpoint_that_is_kept(run, records):
    checkpoint = read_checkpoint(run / "checkpoints" / "best.ckpt")
    kept = {f"best_{name}": value for name, step, value in points(records[0]) if step == checkpoint["global_step"] - 1}
    figures = {name: value for name, value in figures_of(records[0]).items() if name.startswith("best_")}
    assert figures == {name: value for name, value in kept.items() if name.startswith("best_validation")}
    assert {"best_validation_loss", "best_validation_improvement_db"} < set(figures)


def test_the_data_are_an_artifact_without_sounds(run, records, separatrix):
    (data,) = [artifact for artifact in of_kind(records[0], "artifact") if artifact.type == "dataset"]
    described = json.loads(data.metadata)
    config = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]
    assert described["corpus"] == "procedural" and described["classes"] == config["classes"] == list(CLASSES)
    (bank,) = separatrix.banks.glob(f"{described['bank']}")
    assert described["bank_index_sha256"] == hashlib.sha256((bank / "index.npz").read_bytes()).hexdigest()
    assert described["splits"]["test"]["folds"] == ["3"] and set(described["splits"]["train"]["clips"]) == set(CLASSES)
    (same,) = [artifact for artifact in of_kind(records[1], "artifact") if artifact.type == "dataset"]
    assert (same.name, same.digest) == (data.name, data.digest)


def test_tensorboard_shows_the_curves_of_the_folder_with_pictures_sounds_and_tables(separatrix, tmp_path):
    settings = {**TWO_EPOCHS, "trainer.max_epochs": 1}
    arguments = [*separatrix.arguments("strong", settings), "--logger", "tensorboard", *ONE_EXAMPLE, "--run", tmp_path]
    separatrix.succeed("fit", *arguments)
    separatrix.succeed("test", *arguments, "--ckpt_path", "best")
    assert not list(tmp_path.glob("wandb*"))
    shown = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"audio": 0, "images": 0})
    shown.Reload()
    names = shown.Tags()
    curves = {(name, point.step, point.value) for name in names["scalars"] for point in shown.Scalars(name)}
    logged = separatrix.rows(tmp_path / "curves" / "version_0" / "metrics.csv")
    expected = {
        (name, int(line["step"]), np.float32(value))
        for line in logged
        for name, value in line.items()
        if value and name != "step"
    }
    assert curves == expected
    for split in ("validation", "test"):
        places = {f"examples/{split}/0/{label}" for label in CLASSES}
        sounds = {f"{place}/{sound}" for place in places for sound in ("mixture_audio", "truth", "estimate")}
        assert {name for name in names["audio"] if name.startswith(f"examples/{split}")} == sounds
        assert {name for name in names["images"] if split in name} == {f"{place}/spectrograms" for place in places}
        mixture = next(iter(places)) + "/mixture_audio"
        (heard,) = shown.Audio(mixture)
        samples, rate = soundfile.read(io.BytesIO(heard.encoded_audio_string))
        assert rate == heard.sample_rate == 8000 and len(samples) == 4000 and np.abs(samples).max() > 0.01
        (picture,) = shown.Images(next(iter(places)) + "/spectrograms")
        assert (picture.width, picture.height) == (640, 400)
    (summary,) = shown.Tensors("tables/summary/text_summary")
    text = summary.tensor_proto.string_val[0].decode()
    for row in separatrix.rows(tmp_path / "summary.csv"):
        assert f"| {' | '.join(row.values())} |" in text
    step = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["global_step"]
    assert summary.step == step and shown.Tensors("test/text_summary")[0].step == step


def test_without_the_package_tensorboard_one_line_says_what_to_install(separatrix, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for words in (["fit", *separatrix.arguments("strong"), "--run"], ["reproduce", "weak-labels", "--output"]):
        outcome = separatrix.run(*words, tmp_path / "run", "--logger", "tensorboard")
        assert outcome.status == 2 and outcome.err.splitlines()[-1].endswith("pip install 'separatrix[tensorboard]'")
    assert not (tmp_path / "run").exists()


def test_the_test_stands_at_the_step_of_its_checkpoint_with_summary_and_rows(separatrix, run, records):
    step = read_checkpoint(run / "checkpoints" / "best.ckpt")["global_step"]
    lines = [values(history) for history in of_kind(records[1], "history")]
    assert {line["trainer/global_step"] for line in lines} == {step}
    summary = separatrix.rows(run / "summary.csv")
    overall = {line["quantity"]: float(line["mean"]) for line in summary if line["label"] == "overall"}
    figures = figures_of(records[1])
    for quantity, mean in overall.items():
        assert figures[f"test_{quantity}_mean/overall"] == mean
    assert not [name for line in lines for name in line if name.startswith("test_")]  # charts of one point
    (shown, _), rows = table(records[1], "tables/scores"), separatrix.rows(run / "scores.csv")
    assert [(line["index"], line["class"], line["improvement_db"]) for line in shown] == [
        (int(row["index"]), row["class"], float(row["improvement_db"]) if not row["left_out"] else None) for row in rows
    ]
    assert len(table(records[1], "tables/summary")[0]) == len(summary)


def test_a_training_without_a_logger_leaves_no_curves_and_learns_the_same(separatrix, run, tmp_path):
    separatrix.succeed("fit", *separatrix.arguments("strong", TWO_EPOCHS), "--logger", "none", "--run", tmp_path)
    assert not (tmp_path / "curves").exists() and not list(tmp_path.glob("wandb*"))
    assert separatrix.same_weights(tmp_path / "checkpoints" / "last.ckpt", run / "checkpoints" / "last.ckpt")


def test_a_training_that_is_refused_leaves_no_run(separatrix, tmp_path):
    outcome = separatrix.run("fit", *separatrix.arguments("frame"), *FOLLOWED, "--run", tmp_path / "run")
    assert outcome.status == 2 and "classifier" in outcome.err
    assert not (tmp_path / "run").exists()
