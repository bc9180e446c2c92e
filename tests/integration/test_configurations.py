"""Every configuration that ships, run through the real command line at a tiny size.

The rows of the weak-label table, and all of `demo`, are run by the reproductions that other tests start from.
"""

from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
import soundfile
import torch
import yaml

from experiments.command_line.configurations import CONFIGS, config_options, with_preset
from experiments.reproduction.command import Preset
from experiments.reproduction.model_selection_stages import model_selection_stages
from experiments.reproduction.sources import DOMAINS, Source
from experiments.reproduction.weak_labels_stages import weak_labels_stages

pytestmark = pytest.mark.any_cpu
PRESETS = get_args(Preset)
NAMES = {str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml")}
CORPORA = {name for name in NAMES if "/corpora/" in name}
TESTED_ELSEWHERE = {"deep_clustering/source_count", "deep_clustering/selections/signals"}
ADDED = ("ablations", "heads", "hierarchy", "masks", "networks", "schedules", "unlabelled")
ABLATIONS = sorted(name for name in NAMES if name.split("/")[1] in ADDED)
TAGGERS = sorted(name for name in NAMES if "/taggers/" in name)
NETWORK = ("--model.network.units", "6", "--model.network.layers", "1")


def used(stages):
    """The configurations that stages name."""
    words = (with_preset(list(stage.arguments)) for stage in stages)
    return {word for of_stage in words for before, word in pairwise(of_stage) if before == "--config"}


@pytest.fixture(scope="module")
def stages_of(recordings, separatrix, tmp_path_factory):
    """A function that gives the stages of a preset of a system, at a tiny size."""

    def of(system, preset):
        root = () if preset == "demo" else ("--data.corpus.root", str(recordings))
        sizes = separatrix.scenes if system == "weak_labels" else separatrix.pairs
        words = separatrix.as_options({**sizes, "data.bank_folder": separatrix.banks, **separatrix.trainer})
        output = tmp_path_factory.mktemp(preset)
        if system == "weak_labels":
            return weak_labels_stages(preset, output, words, Source(root))
        of_domain = {name: (*config_options(f"deep_clustering/{name}"), "--preset", preset, *root) for name in DOMAINS}
        return model_selection_stages(output, words, {name: Source(words) for name, words in of_domain.items()})

    return of


def test_every_configuration_is_a_stage_of_a_reproduction_or_added_to_one(stages_of):
    systems = ("weak_labels", "model_selection")
    added = {*ABLATIONS, *TAGGERS, *CORPORA, *TESTED_ELSEWHERE}
    assert set().union(*(used(stages_of(s, p)) for s in systems for p in PRESETS)) == NAMES - added


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [
        ("small", {"classifier_frame.test", "frame.test", "clip.fit"}),
        pytest.param("paper", {"classifier_frame.fit"}, marks=pytest.mark.soak),
    ],
)
def test_a_preset_of_weak_labels_runs_on_recordings(preset, wanted, stages_of, separatrix):
    stages = {stage.name: stage for stage in stages_of("weak_labels", preset)}
    while more := {need for name in wanted for need in stages[name].needs} - wanted:
        wanted = wanted | more
    for name in (name for name in stages if name in wanted):
        sizes = () if name == "bank" else NETWORK
        if name.startswith("classifier"):
            sizes = ("--model.network.units", "6", "--model.network.channels", "[2,2,2]")
        separatrix.succeed(*stages[name].arguments, *sizes)
    assert {name for name in NAMES if f"weak_labels/{preset}/" in name} <= used(stages[name] for name in wanted)


@pytest.mark.parametrize("preset", ["small", pytest.param("paper", marks=pytest.mark.soak)])
def test_a_preset_of_the_model_selection_runs_on_recordings(preset, stages_of, separatrix):
    folds = ("--data.train_folds", "[1,2,3]")  # of which the tiny corpus has few
    for stage in stages_of("model_selection", preset):
        domain, command = stage.name.split(".")
        further = folds if preset == "paper" and domain == "environmental" else ()
        if command in ("bank", "fit") or stage.name == "music.test":
            separatrix.succeed(*stage.arguments, *further, *(NETWORK if command == "fit" else ()))
    rows = separatrix.rows(stage.run.parent / "music" / "scores.csv")
    assert {row["domain"] for row in rows} == {"music"}
    assert len(rows) == int(separatrix.pairs["data.test_mixtures"]) * 3 * 2


@pytest.mark.parametrize(
    ("words", "chosen", "settings"),
    [
        ("network.output_init_scale null", "network", {"output_init_scale": None, "units": 300}),
        ("scheduler ReduceLROnPlateau --model.scheduler.patience 3", "scheduler", {"patience": 3}),
    ],
)
def test_what_torch_takes_is_taken_for_a_class_within_the_model(words, chosen, settings, separatrix):
    model = (
        "--config",
        "deep_clustering/model",
        "--config",
        "deep_clustering/base",
        "--config",
        "deep_clustering/speech",
    )
    printed = separatrix.succeed(
        "fit", *model, "--data.corpus.root", "X", *f"--model.{words}".split(), "--print_config"
    )
    found = yaml.safe_load(printed.out)["model"]["init_args"][chosen]
    assert found["init_args"].items() >= settings.items()
    assert chosen == "network" or found["class_path"] == "torch.optim.lr_scheduler.ReduceLROnPlateau"


def test_the_stems_of_songs_are_classes(recordings, separatrix, tmp_path):
    sizes = separatrix.as_options({**separatrix.pairs, "data.bank_folder": separatrix.banks, **separatrix.trainer})
    stems = config_options("weak_labels/corpora/musdb18_stems", "weak_labels/corpora/muted_stems")
    row = ("--config", "weak_labels/frame", "--preset", "small", *stems, "--data.corpus.root", recordings, *sizes)
    joint = ("--config", "weak_labels/ablations/joint")
    separatrix.succeed("fit", *row, *joint, *NETWORK, "--run", tmp_path)
    separatrix.succeed("test", "--config", tmp_path / "config.yaml", "--ckpt_path", "best", "--run", tmp_path)
    rows = separatrix.rows(tmp_path / "scores.csv")
    assert {row["class"] for row in rows} == {"drums", "bass", "other", "vocals"}
    assert {row["recordings"] for row in rows} == {"Three"}


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_or_a_network_is_added_to_a_training_or_a_selection_and_what_it_says_holds(
    name, separatrix, model_selection, tmp_path
):
    says = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    kind = says.get("model", {}).get("class_path")
    given = {"model.checkpoints": f"['{model_selection.output}/music/checkpoints/best.ckpt']"}
    music = separatrix.selection("music", {"data.corpus.songs": 20})
    if kind == "ModelSelection":
        command = ("test", *music, *separatrix.as_options(given))
    elif name.startswith("deep_clustering/"):
        command = ("fit", "--config", "deep_clustering/model", *NETWORK, *music[2:])
    elif kind == "ReferenceSeparator":
        command = ("test", *separatrix.arguments("ideal_ratio_mask"))
    elif "/unlabelled/" in name:  # of the procedural sounds, some must be of no class
        command = ("fit", *separatrix.arguments("strong", {"data.classes": "[car_horn, siren]"}))
    elif "/hierarchy/" in name:  # a level is one of a tree
        tree = () if "hierarchy" in says["data"]["init_args"] else ("--config", "weak_labels/hierarchy/urban")
        command = ("fit", *separatrix.arguments("strong"), *tree)
        separatrix.succeed("bank", *separatrix.scene_words(), *tree, "--config", name)
    elif kind == "EventClassifier":
        command = ("fit", *separatrix.arguments("classifier_frame"))
    else:
        classifier = {} if name.endswith("/joint") else {"model.classifier": separatrix.best("classifier_frame")}
        command = ("fit", *separatrix.arguments("frame", classifier))
    separatrix.succeed(*command, "--config", name, "--run", tmp_path)
    resolved = yaml.safe_load((tmp_path / ("config.yaml" if command[0] == "fit" else "test.yaml")).read_text())
    assert says
    require_within(resolved, says)


def test_classes_are_learnt_from_labels_of_two_levels_and_scored_beside_their_parents(separatrix, tmp_path):
    configs = config_options("weak_labels/hierarchy/procedural", "weak_labels/hierarchy/tenth")
    separatrix.succeed("bank", *separatrix.scene_words(), *configs)
    classifier = {"model.classifier": tmp_path / "classifier_frame" / "checkpoints" / "best.ckpt"}
    for row, settings in (("classifier_frame", {}), ("frame", classifier)):
        run = tmp_path / row
        separatrix.succeed("fit", *separatrix.arguments(row, settings), *configs, "--run", run)
        separatrix.succeed("test", "--config", run / "config.yaml", "--ckpt_path", "best", "--run", run)
    classes, parents = {"jackhammer", "bark", "howl", "wail", "yelp", "two_tone"}, {"dog/all", "siren/all"}
    heard = separatrix.rows(tmp_path / "classifier_frame" / "classifier.csv")
    assert {row["class"] for row in heard} == classes | parents
    rows = separatrix.rows(tmp_path / "frame" / "scores.csv")
    for index in {row["index"] for row in rows}:
        of = {row["class"]: {*row["recordings"].split("|")} for row in rows if row["index"] == index}
        for parent, kinds in (("dog/all", ("bark", "howl")), ("siren/all", ("wail", "yelp", "two_tone"))):
            assert of.get(parent, set()) == set().union(*(of.get(kind, set()) for kind in kinds))
    summary = separatrix.rows(tmp_path / "frame" / "summary.csv")
    (overall,) = (row for row in summary if row["label"] == "overall" and row["quantity"] == "improvement")
    assert int(overall["n"]) == sum(not row["left_out"] and row["class"] in classes for row in rows)
    separatrix.succeed("report", tmp_path / "frame", "--examples", "1")
    assert ">siren/all<" in (tmp_path / "frame" / "report.html").read_text()


class Levels(torch.nn.Module):
    """A tagger of AudioSet's classes, by the levels of neighbouring samples."""

    def __init__(self):
        super().__init__()
        self.filters, self.classes = torch.nn.Conv1d(1, 3, 8, stride=8), torch.nn.Linear(3, 527)

    def forward(self, waveform):
        return self.classes(self.filters(waveform.unsqueeze(1)).square().mean(-1))


@pytest.mark.parametrize("name", TAGGERS)
@pytest.mark.parametrize("kind", ["program", "module"])
def test_a_separator_learns_from_a_tagger_and_needs_it_no_longer(name, kind, separatrix, tmp_path):
    torch.manual_seed(0)
    made = torch.export.export(Levels(), (torch.zeros(2, 16_000),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch.export.save(made, tmp_path / "tagger.pt2")
    given = {"program": tmp_path / "tagger.pt2", "module": f"{{class_path: {__name__}.Levels}}"}[kind]
    tagger = ("--config", name, f"--model.external_classifier.{kind}", given)
    separatrix.succeed("fit", *separatrix.arguments("clip"), *tagger, "--run", tmp_path)
    checkpoint, exported = tmp_path / "checkpoints" / "best.ckpt", tmp_path / "model.safetensors"
    (tmp_path / "tagger.pt2").unlink()
    separatrix.succeed("test", "--config", tmp_path / "config.yaml", "--ckpt_path", "best", "--run", tmp_path)
    separatrix.succeed("export", checkpoint, "--output", exported)
    assert b"tagger.pt2" not in exported.read_bytes() and b"Levels" not in exported.read_bytes()
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 8000), 8000)
    separatrix.succeed("separate", "--model", exported, tmp_path / "noise.wav", "--output", tmp_path / "separated")


def require_within(resolved, says):
    """Assert that all of a configuration holds in a resolved one, where classes have their modules' names, too."""
    for name, said in says.items():
        if isinstance(said, dict):
            require_within(resolved[name], said)
        else:
            assert resolved[name] == said or (name == "class_path" and resolved[name].split(".")[-1] == said)
