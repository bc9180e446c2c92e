"""Reproductions as stages, without running any."""

import json
from itertools import pairwise
from typing import get_args

import pytest
import torch

from experiments.reproduction import command as module
from experiments.reproduction import model_selection_table, run_stages, tracking, weak_labels_table
from experiments.reproduction.command import Preset, command
from experiments.reproduction.model_selection_stages import model_selection_stages
from experiments.reproduction.sources import Source
from experiments.reproduction.weak_labels_stages import weak_labels_stages
from lightning_modules.errors import InputError

PRESETS = get_args(Preset)


@pytest.fixture
def started(monkeypatch):
    """How `run_stages` was called, in place of running it."""
    calls = []
    monkeypatch.setattr(run_stages, "run_stages", lambda *call: calls.append(call))
    monkeypatch.setattr(weak_labels_table, "make_table", lambda *_, **__: None)
    monkeypatch.setattr(model_selection_table, "make_tables", lambda *_: None)
    return calls


@pytest.mark.parametrize("preset", PRESETS)
def test_every_row_has_its_stages_after_those_that_it_needs(preset, tmp_path):
    data = Source(("--data.corpus.root", "DATA"))
    stages = {stage.name: stage for stage in weak_labels_stages(preset, tmp_path, [], data)}
    done = set()
    for name, stage in stages.items():
        assert set(stage.needs) <= done and ("--data.corpus.root", "DATA") in pairwise(stage.arguments)
        done.add(name)
    assert len(done) == 13 and "oracle_activity_mask.fit" not in done
    for row in ("classifier_frame", "classifier_clip", "strong", "frame", "clip"):
        fit, test = (dict(pairwise(stages[f"{row}.{command}"].arguments)) for command in ("fit", "test"))
        assert test["--ckpt_path"] == str(tmp_path / row / "checkpoints" / "best.ckpt")
        best = str(tmp_path / f"classifier_{row}" / "checkpoints" / "best.ckpt")
        assert fit.get("--model.classifier") == (best if row in ("frame", "clip") else None)
        assert (f"classifier_{row}.fit" in stages[f"{row}.fit"].needs) == (row in ("frame", "clip"))
    assert not any(
        "--ckpt_path" in stages[f"{row}.test"].arguments for row in ("oracle_activity_mask", "ideal_ratio_mask")
    )


def test_settings_with_a_dot_go_to_every_stage_and_those_of_the_data_to_the_bank_too(started, tmp_path):
    settings = ["--data.workers", "3", "--trainer.max_epochs=2", "--data.train_folds=[1]"]
    command(["reproduce", "weak-labels", *settings, "--output", str(tmp_path), "--jobs", "1"])
    ((stages, *_),) = started
    for stage in stages:
        given = stage.arguments
        assert ("--data.workers", "3") in pairwise(given) and "--data.train_folds=[1]" in given
        assert ("--trainer.max_epochs=2" in given) == (stage.name != "bank")


@pytest.mark.parametrize(
    ("system", "name", "fitting"),
    [
        ("model-selection", "deep_clustering/heads/chimera", {"speech.fit", "music.fit", "environmental.fit"}),
        (
            "model-selection",
            "deep_clustering/selections/signals",
            {f"{domain}.{verb}" for domain in ("speech", "music", "environmental") for verb in ("validate", "test")},
        ),
        (
            "weak-labels",
            "weak_labels/ablations/recurrent_classifier",
            {f"classifier_{labels}.{verb}" for labels in ("frame", "clip") for verb in ("fit", "test")},
        ),
        ("weak-labels", "weak_labels/ablations/foreground", None),
    ],
)
def test_a_configuration_is_added_to_the_stages_that_it_fits_in_a_folder_of_its_own(
    system, name, fitting, started, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    compared = []
    monkeypatch.setattr(weak_labels_table, "make_table", lambda *_, **named: compared.append(named["compared"]))
    monkeypatch.setattr(model_selection_table, "make_tables", lambda *given: compared.append(given[-1]))
    command(["reproduce", system, "--config", name])
    assert compared == [fitting is not None]  # other data make other mixtures than the published figures are of
    ((stages, *_),) = started
    chosen = {stage.name for stage in stages if ("--config", name) in pairwise(stage.arguments)}
    assert chosen == (fitting or {stage.name for stage in stages})  # one of data alone: all, the bank too
    folder = f"{system}-{name.rpartition('/')[2]}"
    assert {stage.run.parts[:3] for stage in stages} == {("runs", "demo", folder)}


@pytest.mark.parametrize(
    ("text", "stages", "compared"),
    [
        ("model:", 13, True),
        ("model: WeakLabelSeparator", 6, True),
        ("model: {class_path: lightning_modules.weak_labels.separator_module.WeakLabelSeparator}", 6, True),
        ("model: {class_path: EventClassifier}\ndata: {init_args: {event_rate: 2}}", 4, False),
    ],
)
def test_a_model_is_known_by_any_of_its_names(text, stages, compared, started, tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weak_labels_table, "make_table", lambda *_, **named: started.append(named["compared"]))
    command(["reproduce", "weak-labels", "--config", "mine.yaml"])
    (made, *_), found = started
    assert (sum("mine.yaml" in stage.arguments for stage in made), found) == (stages, compared)


def test_the_corpus_of_a_configuration_may_have_a_folder_of_its_own(started, tmp_path):
    stems = ("--config", "weak_labels/corpora/musdb18_stems", "--output", str(tmp_path))
    command(["reproduce", "weak-labels", "--preset", "small", "--musdb18", "SONGS", *stems])
    ((stages, *_),) = started
    assert all(("--data.corpus.root", "SONGS") in pairwise(stage.arguments) for stage in stages)
    with pytest.raises(InputError, match="weak-labels is not made of UrbanSound8K"):
        command(["reproduce", "weak-labels", "--preset", "small", "--urbansound8k", "SONGS", *stems])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deep_clustering/heads/chimera", "weak-labels trains no DeepClustering; leave it out"),
        ("weak_labels/masks/ideal_complex_mask", "weak-labels trains no ReferenceSeparator; leave it out"),
        ("weak_labels/taggers/audioset", "the table trains classifiers of its own; train a separator with `fit`"),
        ("weak_labels/ablations/joint", "the table trains classifiers of its own; train a separator with `fit`"),
    ],
)
def test_a_configuration_of_no_stage_is_refused(name, words):
    with pytest.raises(InputError, match=f"^--config {name}: {words}$"):
        command(["reproduce", "weak-labels", "--config", name])


@pytest.mark.parametrize(
    ("system", "rows"), [("weak-labels", ["frame"]), ("model-selection", ["speech", "music", "environmental"])]
)
def test_what_was_trained_is_offered_for_recordings(system, rows, started, tmp_path, capsys):
    command(["reproduce", system, "--output", str(tmp_path)])
    following = " ".join(capsys.readouterr().out.replace("\\\n", "").partition("next ")[2].split())
    models = " ".join(f"--model {tmp_path / row / 'checkpoints' / 'best.ckpt'}" for row in rows)
    assert following == f"separatrix report {tmp_path} separatrix separate {models} RECORDING.wav --output separated"


@pytest.mark.parametrize(
    "gpus, settings, jobs, apart",
    [
        (0, [], 3, False),  # more are never independent of each other
        (0, ["--trainer.devices=1"], 3, False),
        (0, ["--trainer.devices", "2"], 1, True),
        (0, ["--trainer.devices=0,1"], 1, True),
        (1, [], 1, False),
        (1, ["--jobs", "2"], 2, False),
        (2, [], 1, True),
    ],
)
def test_how_many_stages_run_at_a_time_follows_the_devices(gpus, settings, jobs, apart, started, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    command(["reproduce", "weak-labels", *settings, "--output", str(tmp_path)])
    ((_, *call, _),) = started
    assert call == [jobs, apart]


def test_one_of_several_tasks_is_refused_and_a_job_of_several_needs_a_launcher(started, tmp_path, monkeypatch):
    reproduction = ["reproduce", "weak-labels", "--output", str(tmp_path)]
    monkeypatch.setenv("SLURM_NTASKS", "1")
    command(reproduction)
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(InputError, match=r"^the SLURM job has 2 tasks; --launch srun starts"):
        command(reproduction)
    command([*reproduction, "--launch", "env A=1"])  # a command that is there
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    for launch in ([], ["--launch", "env"]):
        with pytest.raises(InputError, match="start `reproduce` as one process"):
            command([*reproduction, *launch])
    assert [launch for *_, launch in started] == [[], ["env", "A=1"]]


@pytest.mark.parametrize("launch", ["", "no-such-launcher -n 4", "srun '"])
def test_a_launcher_that_is_not_there_is_refused(launch, started, tmp_path):
    with pytest.raises(InputError, match=r"^--launch "):
        command(["reproduce", "weak-labels", "--launch", launch, "--output", str(tmp_path)])
    assert not started


@pytest.mark.parametrize("domains", [("speech", "music", "environmental"), ("birds", "a=b"), "abcdefghij"])
def test_a_selection_needs_every_domains_model(domains, tmp_path):
    sources = {domain: Source(("--config", domain)) for domain in domains}
    stages = {stage.name: stage for stage in model_selection_stages(tmp_path, [], sources)}
    fits = {f"{domain}.fit" for domain in domains}
    assert len(stages) == 4 * len(domains) and fits <= stages.keys()
    for domain in domains:
        for evaluation in (stages[f"{domain}.validate"], stages[f"{domain}.test"]):
            assert fits <= set(evaluation.needs)
            checkpoints = json.loads(dict(pairwise(evaluation.arguments))["--model.checkpoints"])
            assert checkpoints == [str(tmp_path / model / "checkpoints" / "best.ckpt") for model in domains]
            assert ("--config", domain) in pairwise(evaluation.arguments)


def test_every_domain_has_the_root_of_its_own_corpus(started, tmp_path):
    roots = ["--data-root", "ALL", "--librispeech", "SPEECH"]
    command(["reproduce", "model-selection", "--preset", "small", *roots, "--output", str(tmp_path)])
    ((stages, *_),) = started
    for stage in stages:
        root = dict(pairwise(stage.arguments))["--data.corpus.root"]
        assert root == ("SPEECH" if stage.name.startswith("speech.") else "ALL")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_folders_classes_and_split_are_in_every_command_whatever_the_preset(preset, started, tmp_path):
    for name in [f"{label}/{number}.wav" for label in ("b c", "1", "null") for number in range(3)]:
        (tmp_path / "sounds" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sounds" / name).touch()
    own = ["reproduce", "weak-labels", "--preset", preset, "--recordings", str(tmp_path / "sounds")]
    command([*own, "--output", str(tmp_path)])
    command([*own, "--output", str(tmp_path), "--data.classes=['b c', '1']"])
    (tmp_path / "sounds" / "1" / "0.wav").write_text("another one")
    command([*own, "--output", str(tmp_path)])
    (every, *_), (some, *_), (changed, *_) = started
    for stage in every:
        given = dict(pairwise(stage.arguments))
        assert json.loads(given["--data.classes"]) == ["1", "b c", "null"]
        assert given["--data.corpus.root"] == str(tmp_path / "sounds") and given["--data.test_folds"] == "[test]"
    assert not any("--data.classes" in stage.arguments for stage in some)
    digests = {stage.recordings for stage in (every[0], some[0], changed[0])}
    assert len(digests) == 2 and every[0].recordings == some[0].recordings != ""


@pytest.mark.parametrize(
    "folder, classes, told",
    [
        ("sounds", "[street_musik, siren]", "sounds has no class street_musik; did you mean street_music?"),
        ("sounds", "[bell, siren]", "sounds has no class bell; one of siren, street_music"),
        ("sound", "[siren]", "sound: no such folder; did you mean sounds?"),
    ],
)
def test_a_misspelt_class_or_folder_gets_a_suggestion(folder, classes, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [f"{label}/{number}.wav" for label in ("street_music", "siren") for number in range(3)]:
        (tmp_path / "sounds" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sounds" / name).touch()
    with pytest.raises(InputError) as caught:
        command(["reproduce", "weak-labels", "--recordings", folder, "--data.classes", classes])
    assert str(caught.value).endswith(told)


def test_as_many_trainings_run_at_a_time_as_there_are_domains(started, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for number in range(6):
        (tmp_path / f"{number}.wav").touch()
    own = [word for number in range(5) for word in ("--domain", f"mine {number}={tmp_path}")]
    command(["reproduce", "model-selection", *own, "--output", str(tmp_path / "made")])
    ((stages, jobs, *_),) = started
    assert jobs == 5 and len(stages) == 20 and len({stage.recordings for stage in stages}) == 2


def test_what_ends_a_recordings_name_goes_to_all_own_folders_and_to_no_other_domain(started, tmp_path):
    for number in range(12):
        (tmp_path / f"{number}_far.wav").touch()
    own = ["--domain", f"a={tmp_path}", "--domain", f"b={tmp_path}", "--data.corpus.recording_separator", "_"]
    command(["reproduce", "model-selection", *own, "--domain", "music", "--output", str(tmp_path / "made")])
    ((stages, *_),) = started
    option = ("--data.corpus.recording_separator", "_")
    assert {stage.name.split(".")[0] for stage in stages if option in pairwise(stage.arguments)} == {"a", "b"}
    assert sum(option in pairwise(stage.arguments) for stage in stages) == 8


@pytest.mark.parametrize(
    "system, given, missing",
    [
        ("weak-labels", [], "UrbanSound8K (or --urbansound8k DIR)"),
        ("weak-labels", ["--musdb18", "DIR"], "weak-labels is not made of MUSDB18 (its decoded stems); leave it out"),
        ("model-selection", ["--data.corpus.root", "DIR"], "run the commands of --dry-run with your own"),
        ("model-selection", ["--data.corpus.recording_separator=-"], "run the commands of --dry-run with your own"),
        (
            "model-selection",
            ["--urbansound8k", "DIR"],
            "LibriSpeech, MUSDB18 (its decoded stems) (or --librispeech DIR)",
        ),
    ],
)
def test_corpora_without_a_folder_and_those_not_needed_are_named(system, given, missing, tmp_path):
    with pytest.raises(InputError) as caught:
        command(["reproduce", system, "--preset", "small", *given, "--output", str(tmp_path)])
    assert str(caught.value).endswith(missing)


def test_a_reproduction_in_wandb_is_one_group_of_all_trainings_and_evaluations(started, tmp_path, monkeypatch):
    tracked = []
    monkeypatch.setattr(tracking, "track_tables", lambda *arguments: tracked.append(arguments))
    output = tmp_path / "small" / "weak"
    for given, group in (([], "small/weak"), (["--group", "mine"], "mine")):
        command(["reproduce", "weak-labels", "--logger", "wandb", *given, "--output", str(output)])
        stages, *_ = started.pop()
        assert [stage.name for stage in stages if ("--logger", "wandb") not in pairwise(stage.arguments)] == ["bank"]
        assert [stage.name for stage in stages if ("--group", group) not in pairwise(stage.arguments)] == ["bank"]
        assert tracked.pop() == (output, group, {"system": "weak-labels", "preset": "demo"})
    command(["reproduce", "weak-labels", "--logger", "none", "--output", str(output)])
    stages, *_ = started.pop()
    assert not tracked and not [stage for stage in stages if "--group" in stage.arguments]


def test_modules_of_classes_that_a_configuration_names_are_imported_by_every_printed_command(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "own_reproduced.py").write_text("from torch import nn\n\n\nclass Net(nn.Module):\n    pass\n")
    chosen = "model: {class_path: WeakLabelSeparator, init_args: {network: {class_path: own_reproduced.Net}}}\n"
    (tmp_path / "own.yaml").write_text(chosen)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    command(["reproduce", "weak-labels", "--config", "own.yaml", "--dry-run"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13 and all(line.endswith(" --import own_reproduced") for line in lines)
    (tmp_path / "own.yaml").write_text(chosen.replace("own_reproduced", "own_missing"))
    with pytest.raises(InputError, match=r"^--import own_missing: no module own_missing in "):
        command(["reproduce", "weak-labels", "--config", "own.yaml", "--dry-run"])
