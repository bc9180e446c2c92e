"""What a user gets wrong ends in one clear line and status 2, and leaves every folder as it was."""

import csv
import shutil

import numpy as np
import pytest
import soundfile
import torch

CLASSES = "[car_horn, dog_bark]"


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("unpickled",)


@pytest.fixture
def refused(separatrix, tmp_path):
    """A function that runs a command that must be refused, and gives the lines that say why: one as a rule.

    A sound bank may be built on the way.
    """

    def run(*arguments, lines=1):
        folders = (tmp_path, separatrix.systems)
        before = [separatrix.listing(folder) for folder in folders]
        outcome = separatrix.run(*arguments)
        assert outcome.status == 2, outcome
        told = [line for line in outcome.err.splitlines() if not line.startswith("sound bank of")]
        assert len(told) == lines and told[0].startswith("separatrix"), outcome.err
        assert "unpickled" not in outcome.out
        assert [separatrix.listing(folder) for folder in folders] == before
        return "\n".join(told)

    return run


@pytest.fixture
def fit(separatrix, refused, tmp_path):
    """A function that starts a training that must be refused."""

    def run(row, settings=None, *arguments, **data):
        return refused("fit", *separatrix.arguments(row, settings, **data), "--run", tmp_path / "run", *arguments)

    return run


@pytest.fixture
def evaluate(separatrix, refused, tmp_path):
    """A function that starts an evaluation that must be refused, of the strong separator's checkpoint or another."""

    def run(row, settings=None, checkpoint=None, **data):
        checkpoint = checkpoint or separatrix.best("strong")
        arguments = separatrix.arguments(row, settings, **data)
        return refused("test", *arguments, "--ckpt_path", checkpoint, "--run", tmp_path / "run")

    return run


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--data.corpus.zzz", "3"], "--data.corpus.zzz: no such setting; --help lists them"),
        (["--zzz", "3"], "--zzz: no such setting; --help lists them"),
        (["--data.batch_size", "many"], "\"batch_size\": Expected a <class 'int'>. Got value: many"),
        (["--data.batch_size", "0"], "batch_size: 0; at least 1 is needed"),
        (["--data.window", "128"], "hop: 128; between 1 and half the window (64) is needed"),
        (["--data.validation_folds", "[1]"], "fold 1 is in train_folds too; splits must not share"),
        (["--data.corpus.clips_per_class", "1"], "clips_per_class=1"),
        (["--data.batch_size", "9"], "epoch_mixtures: 8 over 1 ranks do not fill a batch of 9"),
        (["--trainer.strategy", "magic"], "--trainer: You selected an invalid strategy name: `strategy='magic'`"),
    ],
)
def test_a_wrong_setting_is_named(arguments, told, fit):
    assert told in fit("strong", None, *arguments)


def test_a_run_inside_a_file_is_refused(separatrix, refused, tmp_path):
    (tmp_path / "file").write_text("")
    line = refused("fit", *separatrix.arguments("strong"), "--run", tmp_path / "file" / "run")
    assert "cannot be written to; choose another --run" in line


def test_weak_labels_need_a_judge(fit):
    assert "judge: frame supervision needs the checkpoint of an EventClassifier" in fit("frame")


def test_a_judge_of_other_labels_is_refused(separatrix, fit):
    line = fit("clip", {"model.judge": separatrix.best("judge_frame")})
    assert "supervision: the separator has clip" in line and "best.ckpt frame; make them agree" in line


def test_a_judge_that_is_not_there_or_no_judge_is_refused(separatrix, fit, tmp_path):
    assert "no such checkpoint" in fit("frame", {"model.judge": tmp_path / "judge.ckpt"})
    line = fit("frame", {"model.judge": separatrix.best("strong")})
    assert "a checkpoint of WeakLabelSeparator; one of EventClassifier is needed" in line


def test_a_refused_training_leaves_the_run_that_was_there(separatrix, refused, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(separatrix.systems / "strong", run)
    refused("fit", *separatrix.arguments("strong", {"data.classes": CLASSES}), "--run", run, "--ckpt_path", "last")


def test_an_evaluation_needs_the_checkpoint_that_it_names(evaluate):
    assert "no such checkpoint; train it first" in evaluate("strong", checkpoint="best")


def test_an_untrained_model_is_not_evaluated(separatrix, refused, tmp_path):
    line = refused("predict", *separatrix.arguments("strong"), "--run", tmp_path / "run")
    assert "--ckpt_path: needed, such as `best` of the run" in line


@pytest.mark.parametrize(
    "setting, value, told",
    [
        ("data.sample_rate", 16000, "sample_rate: the model has 16000, the checkpoint 8000; make them agree"),
        ("data.classes", CLASSES, "classes: the model has ['car_horn', 'dog_bark'], the checkpoint ['car_horn', "),
        ("model.network.units", 7, "give the settings of its training"),
    ],
)
def test_a_checkpoint_of_another_setting_is_refused_naming_both_sides(setting, value, told, evaluate):
    assert told in evaluate("strong", {setting: value})


def test_a_checkpoint_of_another_model_is_refused(separatrix, evaluate):
    line = evaluate("strong", checkpoint=separatrix.best("judge_frame"))
    assert "a checkpoint of EventClassifier; one of WeakLabelSeparator is needed" in line
    assert "supervision: the model has frame, the checkpoint strong" in evaluate("frame")


@pytest.mark.parametrize("named", ["last", "as the judge"])
def test_a_checkpoint_with_a_pickled_payload_is_refused_and_not_run(named, separatrix, fit, tmp_path):
    folder = "elsewhere" if named == "as the judge" else "run"
    path = tmp_path / folder / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": {}, "hyper_parameters": {}, "payload": Payload()}, path)
    if named == "as the judge":
        line = fit("frame", {"model.judge": path})
    else:
        line = fit("strong", None, "--ckpt_path", "last")
    assert f"{path}: not a readable checkpoint of weights and plain values" in line


# --- the corpus ---


@pytest.fixture
def corpus(urbansound_factory):
    """A small corpus of two classes, to be damaged."""
    return urbansound_factory()


@pytest.fixture
def data(separatrix, corpus):
    """Arguments that name it."""
    settings = {**separatrix.scenes, "data.classes": CLASSES, "data.bank_folder": separatrix.banks}
    settings["data.corpus.root"] = corpus
    return ["--config", "weak_labels/base", *separatrix.as_options(settings)]


@pytest.fixture
def training(separatrix, data, tmp_path):
    """Arguments of a strong training on it."""
    settings = {**separatrix.networks["WeakLabelSeparator"], **separatrix.trainer, "run": tmp_path / "run"}
    return [*data, "--config", "weak_labels/strong", *separatrix.as_options(settings)]


def rewrite(corpus, change):
    """Change the rows of the corpus's table, header included."""
    table = corpus / "metadata" / "UrbanSound8K.csv"
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(change(rows))


def test_a_file_name_that_leaves_the_root_is_refused(refused, training, corpus):
    rewrite(corpus, lambda rows: [*rows[:2], ["../../../secret.wav", *rows[2][1:]], *rows[3:]])
    assert "line 3: slice_file_name '../../../secret.wav' is not a plain file name" in refused("fit", *training)


def test_a_link_that_leaves_the_root_is_refused(refused, training, corpus, tmp_path):
    clip = next((corpus / "audio" / "fold1").glob("*.wav"))
    shutil.move(clip, tmp_path / "elsewhere.wav")
    clip.symlink_to(tmp_path / "elsewhere.wav")
    assert f"{clip.name}: leads out of {corpus}" in refused("fit", *training, lines=2)


def test_all_broken_clips_are_listed_at_once(separatrix, refused, training, corpus):
    missing, truncated, empty, not_a_number = sorted(corpus.glob("audio/fold*/*.wav"))[:4]
    missing.unlink()
    truncated.write_bytes(truncated.read_bytes()[:-1000])
    empty.write_bytes(b"")
    samples, rate = soundfile.read(not_a_number, dtype="float32")
    samples[100] = np.nan
    soundfile.write(not_a_number, samples, rate, subtype="FLOAT")
    banks = set(separatrix.banks.iterdir())
    header, *lines = refused("fit", *training, lines=5).splitlines()
    assert "4 of 12 clips of urbansound8k are broken:" in header
    reasons = ("no such file", "truncated, 1000 bytes", "empty file", "holds NaN or infinite samples")
    for path, reason, line in zip((missing, truncated, empty, not_a_number), reasons, lines, strict=True):
        assert line.startswith(f"{path.relative_to(corpus)}: {reason}")
    assert set(separatrix.banks.iterdir()) == banks


def test_silent_clips_are_left_out_by_name_and_training_goes_on(separatrix, data, training, corpus, tmp_path):
    silent = sorted(corpus.glob("audio/fold*/*.wav"))[0]
    soundfile.write(silent, np.zeros(9000), 22050)
    separatrix.succeed("fit", *training)
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    outcome = separatrix.succeed("bank", *data)
    assert f"left out: {silent.relative_to(corpus)}: silent" in outcome.out
    assert "11 clips" in outcome.out and "1 clips left out" in outcome.out


# --- reproduce ---


def test_real_presets_need_recordings_and_the_demo_takes_none(refused, tmp_path):
    output = ("--output", tmp_path / "output")
    line = refused("reproduce", "weak-labels", "--preset", "small", *output)
    assert "--data-root: --preset small needs the folder that holds UrbanSound8K" in line
    line = refused("reproduce", "weak-labels", "--preset", "demo", "--data-root", tmp_path, *output)
    assert "--data-root: the demo uses procedural sounds" in line


def test_a_fresh_process_ends_with_the_line_and_status_2(separatrix, tmp_path):
    outcome = separatrix.run_process("fit", *separatrix.arguments("frame"), "--run", tmp_path / "run")
    assert outcome.status == 2
    assert outcome.err.splitlines()[-1].startswith("separatrix fit: judge: frame supervision needs")
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_names_mixtures_that_can_be_rendered_and_leaves_the_checkpoints(separatrix, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(separatrix.systems / "strong", run)
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    last["hyper_parameters"]["strong_scale"] = 1e39  # beyond the largest float32
    torch.save(last, run / "checkpoints" / "last.ckpt")
    checkpoints = separatrix.listing(run / "checkpoints")
    settings = {"model.strong_scale": "1e39", "trainer.max_epochs": "2"}
    outcome = separatrix.run("fit", *separatrix.arguments("strong", settings), "--ckpt_path", "last", "--run", run)
    assert outcome.status == 2
    (told,) = [line for line in outcome.err.splitlines() if line.startswith("separatrix fit: loss: inf in epoch 2 for")]
    assert separatrix.listing(run / "checkpoints") == checkpoints
    named = told.partition("`separatrix ")[2].partition("`")[0].replace("RUN", str(run))
    separatrix.succeed(*named.split(), "--output", tmp_path / "mixture")
    (mixture,) = (tmp_path / "mixture" / "mixtures").glob("*.wav")
    samples, _ = soundfile.read(mixture)
    assert np.isfinite(samples).all() and samples.any()


def test_a_sound_bank_that_vanishes_is_named(separatrix, tmp_path):
    banks = tmp_path / "banks"
    arguments = separatrix.arguments("strong", {"data.workers": "1"}, bank_folder=banks)
    watched = ["--trainer.callbacks+", "faults.Vanishing", "--trainer.callbacks.pattern", banks / "*" / "*.f32"]
    outcome = separatrix.run("fit", *arguments, *watched, "--run", tmp_path / "run")
    assert outcome.status == 2
    told = outcome.err.splitlines()[-1]
    assert told.startswith("separatrix fit: ") and "samples.f32" in told and "No such file or directory" in told


def test_weights_that_a_gradient_has_spoilt_are_not_written_over_those_of_earlier_epochs(separatrix, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(separatrix.systems / "strong", run)
    checkpoints = separatrix.listing(run / "checkpoints")
    # No validation, which would notice, comes between the step that goes wrong and the end of the epoch.
    settings = {"trainer.max_epochs": "2", "trainer.check_val_every_n_epoch": "3"}
    spoilt = ["--trainer.callbacks+", "faults.SpoiltGradient", "--trainer.callbacks.step", "1"]
    arguments = [*separatrix.arguments("strong", settings), *spoilt, "--ckpt_path", "last", "--run", run]
    outcome = separatrix.run("fit", *arguments)
    assert outcome.status == 2
    told = outcome.err.splitlines()[-1]
    assert told.startswith("separatrix fit: network.") and "not finite after epoch 2" in told
    assert separatrix.listing(run / "checkpoints") == checkpoints


def test_the_version_and_the_help_of_a_model_by_its_name(separatrix):
    assert separatrix.succeed("--version").out.startswith("separatrix ")
    assert "--model.alpha" in separatrix.succeed("fit", "--model.help", "WeakLabelSeparator").out
