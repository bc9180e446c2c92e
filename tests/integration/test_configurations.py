"""Every configuration that ships, run through the real command line at a tiny size."""

from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, get_args

import pytest
import yaml

from experiments.command_line.configurations import CONFIGS, with_preset
from experiments.reproduction.command import Preset
from experiments.reproduction.model_selection_stages import model_selection_stages
from experiments.reproduction.weak_labels_stages import weak_labels_stages

WEAK_LABELS, DEEP_CLUSTERING = (
    sorted(str(path.relative_to(CONFIGS).with_suffix("")) for path in (CONFIGS / system).rglob("*.yaml"))
    for system in ("weak_labels", "deep_clustering")
)
pytestmark = pytest.mark.any_cpu
PRESETS = get_args(Preset)
FRAGMENTS = [name for name in WEAK_LABELS if name.split("/")[1] in PRESETS]
ABLATIONS = [name for name in (*WEAK_LABELS, *DEEP_CLUSTERING) if "/ablations/" in name]
ROWS = [name for name in WEAK_LABELS if name not in (*FRAGMENTS, *ABLATIONS, "weak_labels/base")]
URBAN_CLASSES = ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren")


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_table_is_trained_and_evaluated(name, separatrix, tmp_path):
    row = name.removeprefix("weak_labels/")
    model = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())["model"]
    kind = model["class_path"].split(".")[-1]
    settings = {}
    # The judge, where one is needed, is given on the command line.
    needs_judge = kind == "WeakLabelSeparator" and not model["init_args"].get("joint_judge")
    supervision = model["init_args"].get("supervision", "strong")
    if needs_judge and supervision != "strong":
        settings["model.judge"] = separatrix.best(f"judge_{supervision}")
    arguments = [*separatrix.arguments(row, settings), "--run", tmp_path]
    if kind != "ReferenceSeparator":
        separatrix.succeed("fit", *arguments)
        arguments += ["--ckpt_path", "best"]
    separatrix.succeed("test", *arguments)
    if kind == "EventClassifier":
        lines = separatrix.rows(tmp_path / "classifier.csv")
        assert len(lines) == 2 * len(URBAN_CLASSES)
        assert {line["supervision"] for line in lines} == {supervision}
    else:
        lines = separatrix.rows(tmp_path / "scores.csv")
        assert {int(line["index"]) for line in lines} == set(range(int(separatrix.scenes["data.test_mixtures"])))


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_added_to_a_training_or_a_selection_and_what_it_says_holds(name, separatrix, music, tmp_path):
    says = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    kind = says.get("model", {}).get("class_path")
    if kind == "ModelSelection":
        models = ("--model.checkpoints", f"['{music.trained / 'checkpoints' / 'best.ckpt'}']")
        command = ("test", "--config", "deep_clustering/selection", *music.data, *models)
    elif name.startswith("deep_clustering/"):
        command = ("fit", *music.model, *music.data)
    elif kind == "EventClassifier":
        command = ("fit", *separatrix.arguments("judge_frame"))
    else:
        judge = {} if name.endswith("/joint") else {"model.judge": separatrix.best("judge_frame")}
        command = ("fit", *separatrix.arguments("frame", judge))
    separatrix.succeed(*command, "--config", name, "--run", tmp_path)
    resolved = yaml.safe_load((tmp_path / ("config.yaml" if command[0] == "fit" else "test.yaml")).read_text())
    assert says
    require_within(resolved, says)


def require_within(resolved, says):
    """Assert that all of a configuration holds in a resolved one, where classes have their modules' names, too."""
    for name, said in says.items():
        if isinstance(said, dict):
            require_within(resolved[name], said)
        else:
            assert resolved[name] == said or (name == "class_path" and resolved[name].split(".")[-1] == said)


class Music(NamedTuple):
    """Words of a tiny training of the music model, and the folder of one."""

    model: list[str]
    data: list[str]
    trained: Path


@pytest.fixture(scope="session")
def music(separatrix, tmp_path_factory):
    """The music model at a tiny size."""
    names = ("base", "music", "demo/data", "demo/music")
    data = [word for name in names for word in ("--config", f"deep_clustering/{name}")]
    tiny = {**separatrix.pairs, **separatrix.trainer, "data.corpus.songs": 20, "data.bank_folder": separatrix.banks}
    data += separatrix.as_options(tiny)
    model = ["--config", "deep_clustering/model", "--model.network.units", "6", "--model.network.layers", "1"]
    trained = tmp_path_factory.mktemp("music")
    separatrix.succeed("fit", *model, *data, "--run", trained)
    return Music(model, data, trained)


def network(stage, preset):
    """Settings that make the network of a stage of a preset small."""
    if stage == "bank":
        return ()
    if stage.startswith("judge") and preset != "demo":
        return "--model.network.units", "6", "--model.network.channels", "[2,2,2]"
    return "--model.network.units", "6", "--model.network.layers", "1"


@pytest.fixture(scope="session")
def preset_configurations(separatrix, recordings, tmp_path_factory):
    """A function that runs a preset as `reproduce` combines it, at a tiny size, and names the configurations."""

    @cache
    def run(preset):
        settings = {**separatrix.scenes, "data.bank_folder": separatrix.banks, **separatrix.trainer}
        if preset == "demo":
            settings |= separatrix.procedural
        else:
            settings["data.workers"] = 1
        roots = {} if preset == "demo" else {"urbansound8k": str(recordings)}
        words = separatrix.as_options(settings)
        output = tmp_path_factory.mktemp(preset)
        stages = {stage.name: stage for stage in weak_labels_stages(preset, output, words, roots)}
        wanted = {"judge_frame.test", "frame.test"}
        for fragment in FRAGMENTS:
            wanted |= {
                next((name for name, stage in stages.items() if fragment in with_preset(list(stage.arguments))), "bank")
            }
        while more := {need for name in wanted for need in stages[name].needs} - wanted:
            wanted |= more
        used = set()
        for name, stage in stages.items():
            if name in wanted:
                separatrix.succeed(*stage.arguments, *network(name, preset))
                used |= {word for before, word in pairwise(with_preset(list(stage.arguments))) if before == "--config"}
        return used

    return run


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_part_of_a_preset_runs_as_the_reproduction_combines_it(name, preset_configurations):
    assert name in preset_configurations(name.split("/")[1])


def test_the_base_is_part_of_every_preset(preset_configurations):
    assert all("weak_labels/base" in preset_configurations(preset) for preset in PRESETS)


# Settings that make a corpus of one domain small, or let a tiny one do.
SMALL_CORPORA = {
    "demo": {
        "speech": {"data.corpus.speakers": 20},
        "music": {"data.corpus.songs": 20},
        "environmental": {"data.corpus.clips_per_class": 20},
    },
    "small": {},
    "paper": {"environmental": {"data.train_folds": "[1,2,3]"}},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_part_of_a_model_selection_runs_as_the_reproduction_combines_it(preset, separatrix, recordings, tmp_path):
    corpora = ("urbansound8k", "librispeech", "musdb18")
    roots = {} if preset == "demo" else dict.fromkeys(corpora, str(recordings))
    settings = separatrix.as_options({**separatrix.pairs, **separatrix.trainer, "data.bank_folder": separatrix.banks})
    used = set()
    for stage in model_selection_stages(preset, tmp_path, settings, roots):
        domain, command = stage.name.split(".")
        further = separatrix.as_options(SMALL_CORPORA[preset].get(domain, {}))
        sizes = ("--model.network.units", "6", "--model.network.layers", "1") if command == "fit" else ()
        separatrix.succeed(*stage.arguments, *further, *sizes)
        used |= {word for before, word in pairwise(with_preset(list(stage.arguments))) if before == "--config"}
    of_others = {f"deep_clustering/{other}" for other in (*PRESETS, "ablations") if other != preset}
    assert used == {name for name in DEEP_CLUSTERING if name.rpartition("/")[0] not in of_others}
    for domain in ("speech", "music", "environmental"):
        rows = separatrix.rows(tmp_path / "selection" / domain / "scores.csv")
        assert {row["domain"] for row in rows} == {domain}
        assert len(rows) == int(separatrix.pairs["data.test_mixtures"]) * 3 * 2
