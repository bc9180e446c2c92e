"""What a user gets wrong ends in one clear line and status 2, and leaves every folder as it was."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

CLASSES = "[car_horn, dog_bark]"


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
        assert [separatrix.listing(folder) for folder in folders] == before
        return "\n".join(told)

    return run


FRAME, STRONG = "{classifier_frame}", "{strong}"  # checkpoints of trained systems
FITS = [
    ("strong", {"data.corpus.zzz": 3}, "--data.corpus.zzz: no such setting; --help lists them"),
    ("strong", {"data.batch_size": "many"}, "data.batch_size: many; a whole number is needed"),
    ("strong", {"data.window": 128}, "hop: 128; between 1 and half the window (64) is needed"),
    ("strong", {"data.corpus.clips_per_class": 1}, "clips_per_class=1"),
    (
        "strong",
        {"data.classes": "[siren, yes]"},
        'quote what YAML reads as a number or a truth value: \'["0", "yes"]\'',
    ),
    ("strong", {"data.classes": "[siren, residual]"}, "classes: residual is the name of another file or row"),
    ("strong", {"data.bank_folder": "a\0b"}, ": no file can have such a name; correct it in the settings"),
    ("strong", {"data.batch_size": 9}, "epoch_mixtures: 8 over 1 ranks do not fill a batch of 9"),
    ("strong", {"trainer.strategy": "magic"}, "--trainer: You selected an invalid strategy name: `strategy='magic'`"),
    ("strong", {"run": "{tmp}/file/run"}, "cannot be written to; choose another --run"),
    ("frame", {"model.classifier": "{tmp}/classifier.ckpt"}, "no such checkpoint"),
    ("frame", {"model.classifier": STRONG}, "a checkpoint of WeakLabelSeparator; one of EventClassifier is needed"),
    ("strong", {"ckpt_path": "{tmp}/old.ckpt"}, "of version 0.1.0, whose losses were means; now they are sums"),
    ("strong", {"ckpt_path": "{tmp}/strong.safetensors"}, "an exported model, which is no state of a training"),
]
TESTS = [
    ("strong", {"ckpt_path": "best"}, "no such checkpoint; train it first"),
    ("strong", {}, "--ckpt_path: needed, such as `best` of the run"),
    ("strong", {"ckpt_path": STRONG, "data.sample_rate": 16000}, "the model has 16000, the checkpoint 8000"),
    ("strong", {"ckpt_path": STRONG, "model.network.units": 7}, "give the settings of its training"),
    ("strong", {"ckpt_path": STRONG, "model.epsilon": 0.5}, "epsilon: the model has 0.5, the checkpoint"),
    ("strong", {"ckpt_path": FRAME}, "a checkpoint of EventClassifier; one of WeakLabelSeparator is needed"),
]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("separate --model speech a.wav --output |", "--output: empty; give a value"),
        ("separate --model speech | --output separated", "an argument: empty"),
        ("fit --config weak_labels/strong --run=", "--run: empty"),
        ("report |", "an argument: empty"),
        ("reproduce weak-labels --output |", "--output: empty"),
    ],
)
def test_an_unset_variable_is_no_folder(words, told, refused):
    assert told in refused(*("" if word == "|" else word for word in words.split()))


@pytest.mark.parametrize(
    ("command", "row", "given", "told"),
    [
        *(("fit", *case) for case in FITS),
        *(("test", *case) for case in TESTS),
        ("predict", "classifier_frame", {"ckpt_path": FRAME}, "EventClassifier makes no estimates"),
    ],
)
def test_a_wrong_setting_is_named(command, row, given, told, separatrix, refused, tmp_path):
    (tmp_path / "file").write_text("")
    earlier = {"module": "WeakLabelSeparator", "hyper_parameters": {"learning_rate": 0.1}, "state_dict": {}}
    torch.save(earlier, tmp_path / "old.ckpt")
    if "strong.safetensors" in str(given):
        separatrix.succeed("export", separatrix.best("strong"), "--output", tmp_path / "strong.safetensors")
    places = {"tmp": tmp_path, **{name: separatrix.best(name) for name in ("classifier_frame", "strong")}}
    given = {
        name: value.format(**places) if isinstance(value, str) and value[0] == "{" else value
        for name, value in {"run": "{tmp}/run", **given}.items()
    }
    assert told in refused(command, *separatrix.arguments(row, given))


@pytest.mark.parametrize(
    ("command", "further", "words"),
    [
        ("test", {"data.sample_rate": "16000"}, "sample_rate: the model has 8000, the data 16000"),
        ("test", {"model.confidence_clusters": "anew"}, "confidence_clusters"),
        ("fit", {}, "fit of a ModelSelection: No `training_step()` method defined"),
    ],
)
def test_a_selection_that_does_not_fit_is_refused(command, further, words, separatrix, model_selection, tmp_path):
    models = {"model.checkpoints": f"['{model_selection.output}/speech/checkpoints/best.ckpt']"}
    outcome = separatrix.run(command, *separatrix.selection("speech", {**models, **further}), "--run", tmp_path / "run")
    assert outcome.status == 2 and words in outcome.err.strip().splitlines()[-1]
    assert not (tmp_path / "run" / "scores.csv").exists()


def test_real_presets_need_recordings_and_the_demo_takes_none(refused, tmp_path):
    output = ("--output", tmp_path / "output")
    line = refused("reproduce", "weak-labels", "--preset", "small", *output)
    assert "--data-root: --preset small needs the folder that holds UrbanSound8K" in line
    line = refused("reproduce", "weak-labels", "--preset", "demo", "--data-root", tmp_path, *output)
    assert "--data-root: the demo uses procedural sounds" in line


# --- the corpus ---


@pytest.fixture
def corpus(urbansound_factory):
    """A small corpus of two classes, to be damaged."""
    return urbansound_factory()


@pytest.fixture
def data(separatrix, corpus, tmp_path_factory):
    """Arguments that name it."""
    given = {**separatrix.scenes, "data.classes": CLASSES, "data.corpus.root": corpus}
    given["data.bank_folder"] = tmp_path_factory.mktemp("banks")
    return ["--config", "weak_labels/base", *separatrix.as_options(given)]


def test_all_broken_clips_are_listed_at_once(refused, data, corpus):
    missing, truncated, empty, not_a_number = sorted(corpus.glob("audio/fold*/*.wav"))[:4]
    missing.unlink()
    truncated.write_bytes(truncated.read_bytes()[:-1000])
    empty.write_bytes(b"")
    samples, rate = soundfile.read(not_a_number, dtype="float32")
    samples[100] = np.nan
    soundfile.write(not_a_number, samples, rate, subtype="FLOAT")
    header, *lines = refused("bank", *data, lines=5).splitlines()
    assert "4 of 12 clips of urbansound8k are broken:" in header
    reasons = ("no such file", "truncated, 1000 bytes", "empty file", "holds NaN or infinite samples")
    for path, reason, line in zip((missing, truncated, empty, not_a_number), reasons, lines, strict=True):
        assert line.startswith(f"{path.relative_to(corpus)}: {reason}")


def test_silent_clips_are_left_out_by_name(separatrix, data, corpus):
    silent = sorted(corpus.glob("audio/fold*/*.wav"))[0]
    soundfile.write(silent, np.zeros(9000), 22050)
    outcome = separatrix.succeed("bank", *data)
    assert f"left out: {silent.relative_to(corpus)}: silent" in outcome.out
    assert "11 clips" in outcome.out and "1 clip left out" in outcome.out


# --- in the midst of a training ---


def test_a_loss_that_is_not_finite_names_mixtures_that_can_be_rendered_and_leaves_the_checkpoints(separatrix, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(separatrix.systems / "strong", run)
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    last["hyper_parameters"]["strong_scale"] = 1e39  # beyond the largest float32
    torch.save(last, run / "checkpoints" / "last.ckpt")
    checkpoints = separatrix.listing(run / "checkpoints")
    further = {"model.strong_scale": "1e39", "trainer.max_epochs": "2"}
    outcome = separatrix.run("fit", *separatrix.arguments("strong", further), "--ckpt_path", "last", "--run", run)
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
    told = outcome.err.splitlines()[-1]
    assert outcome.status == 2 and told.startswith("separatrix fit: ")
    assert "samples.f32" in told and "No such file or directory" in told


def test_weights_that_a_gradient_has_spoilt_are_not_written_over_those_of_earlier_epochs(separatrix, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(separatrix.systems / "strong", run)
    checkpoints = separatrix.listing(run / "checkpoints")
    # No validation, which would notice, comes between the step that goes wrong and the end of the epoch.
    further = {"trainer.max_epochs": "2", "trainer.check_val_every_n_epoch": "3"}
    spoilt = ["--trainer.callbacks+", "faults.SpoiltGradient", "--trainer.callbacks.step", "1"]
    arguments = [*separatrix.arguments("strong", further), *spoilt, "--ckpt_path", "last", "--run", run]
    outcome = separatrix.run("fit", *arguments)
    told = outcome.err.splitlines()[-1]
    assert outcome.status == 2
    assert told.startswith("separatrix fit: network.") and "not finite after epoch 2" in told
    assert separatrix.listing(run / "checkpoints") == checkpoints


# --- settings of every kind: either mixtures of finite samples, or one line ---

VALUES = "nan inf -inf -1 0 1 2 0.5 -0.0 1e308 1e-308 256 1e5 [] {} null true abc '' [1,1] [[1]] [null] [red] [a|b,c]"
NAMES = (
    "duration sample_rate window hop seed batch_size workers train_mixtures test_mixtures epoch_mixtures train_folds "
    "test_folds classes quietest loudest latest_onset event_rate saliences train_sources corpus bank_folder no_such "
    "corpus.folds corpus.seed sources corpus.sample_rate corpus.class_path labels stems domain"
)
DRAWN = st.sampled_from([*VALUES.split(), "[../x]", "\x1b[31m", "9" * 30, "9" * 5000])
DRAWN |= st.text(max_size=8).filter(lambda text: "\0" not in text)

FURTHER = st.lists(st.tuples(st.sampled_from(NAMES.split()), DRAWN), min_size=1)


def of_any_setting(examples):
    """A test of so many drawn settings, for scenes and for pairs."""

    @pytest.mark.parametrize("kind", ["scenes", "pairs"])
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(further=FURTHER)
    @example(further=[("seed", "9" * 30)])
    @example(further=[("quietest", "0.0"), ("loudest", "-0.0")])
    @example(further=[("latest_onset", "null")])
    def check(kind, further, separatrix, tmp_path_factory):
        output = tmp_path_factory.mktemp("settings") / "output"
        pairs = separatrix.selection("environmental")
        trained = pairs.index("--trainer.max_epochs")
        pairs = [*pairs[2:trained], *pairs[trained + 4 :]]  # without the model and its trainer
        arguments = pairs if kind == "pairs" else separatrix.scene_words()
        arguments = [*arguments, "--mixtures", "1", "--output", output]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(output.parent)  # where folders are made that drawn settings name
            outcome = separatrix.run("synthesize", *arguments, *(w for n, v in further for w in (f"--data.{n}", v)))
        if outcome.status == 0:
            files = [*output.glob("*/*.wav"), *output.glob("sources/*/*.wav")]
            assert files and all(np.isfinite(soundfile.read(file)[0]).all() for file in files)
        else:
            lines = [line for line in outcome.err.splitlines() if not line.startswith(("sound bank", "writing"))]
            assert outcome.status == 2 and len(lines) == 1 and lines[0].isprintable(), lines
            assert lines[0].startswith("separatrix synthesize: ") and not output.exists()

    return check


test_mixtures_of_any_setting_are_rendered_or_refused_in_one_line = of_any_setting(2)
test_mixtures_of_many_settings_are_rendered_or_refused_in_one_line = pytest.mark.soak(of_any_setting(60))
