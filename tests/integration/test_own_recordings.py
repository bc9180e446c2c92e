"""From a folder of one's own to tables, reports and separated files: one command for each system."""

import re
import shlex

import numpy as np
import pandas
import pytest
import soundfile
import yaml

CLASSES = ["1", "rain drops", "siren"]


def write(folder, *names, seed=0):
    """Recordings of half a second: a pitch of the folder's own in noise."""
    for name in names:
        generator = np.random.default_rng([seed, *name.encode()])
        pitch = 0.1 * 1.5 ** (len(name.partition("/")[0]) + seed)
        samples = 0.2 * np.sin(pitch * np.arange(8000)) + 0.05 * generator.standard_normal(8000)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, samples, 16_000)
    return folder


def sorted_by_class(folder, recordings=4):
    return write(folder, *(f"{label}/{label[0]}{number}.wav" for label in CLASSES for number in range(recordings)))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder for each class, and one without any order, beside the runs."""
    place = tmp_path_factory.mktemp("own")
    sorted_by_class(place / "sounds")
    write(place / "takes", *(f"take {number}.wav" for number in range(7)), seed=3)
    return place


@pytest.fixture(scope="module")
def reproduce(separatrix, place):
    """A function that runs a tiny reproduction of the folders at the size of the demo."""

    def run(system, *words):
        scenes = {name: value for name, value in separatrix.scenes.items() if not name.endswith("_folds")}
        settings = {**(scenes if system == "weak-labels" else separatrix.pairs), **separatrix.trainer}
        settings["data.bank_folder"] = place / "banks"
        words = [*words, *separatrix.as_options(settings), "--jobs", "1"]
        return separatrix.run("reproduce", system, *words, "--output", place / system)

    return run


def require_nothing_published(page_or_text):
    assert "published" not in page_or_text and "ICASSP" not in page_or_text and "DCASE" not in page_or_text


def test_a_folder_of_classes_becomes_a_table_a_report_and_a_separated_file(separatrix, reproduce, place):
    words = ["weak-labels", "--recordings", place / "sounds"]
    outcome, output = reproduce(*words), place / "weak-labels"
    assert outcome.status == 0, outcome.err
    table = pandas.read_csv(output / "table.csv", dtype={"class": str})
    assert [*table["class"].unique()] == [*CLASSES, "overall"] and len(table) == 6 * 4
    assert table[["published_mean_db", "published_std_db"]].isna().all(axis=None) and table["mean_db"].notna().all()
    text = (output / "table.md").read_text()
    require_nothing_published(text)
    assert text.startswith("sounds: your own recordings, at the size of --preset demo.\n")
    for row in ("frame", "classifier_clip"):
        model = yaml.safe_load((output / row / "config.yaml").read_text())["model"]["init_args"]
        assert model["classes"] == CLASSES
    separatrix.succeed("report", output, "--output", place / "page.html", "--examples", "1")
    page = (place / "page.html").read_text()
    require_nothing_published(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL))
    assert "rain drops" in page
    best = output / "frame" / "checkpoints" / "best.ckpt"
    assert "rain drops" in separatrix.succeed("card", best).out
    recording = write(place, "walk.wav") / "walk.wav"
    separatrix.succeed("separate", "--model", best, recording, "--output", place / "separated")
    written = {path.name for path in (place / "separated" / "walk").iterdir()}
    assert written >= {"residual.wav", *(f"{label}.wav" for label in CLASSES)}

    before = separatrix.listing(output / "strong")
    assert "13 stages, 0 left" in reproduce(*words).out and separatrix.listing(output / "strong") == before
    write(place / "sounds", "rain drops/more.wav")
    outcome = reproduce(*words)
    (line,) = outcome.err.splitlines()
    assert outcome.status == 2 and "or of other recordings; choose another --output or delete it" in line


def test_domains_of_ones_own_become_tables_and_the_printed_commands_do_the_same(separatrix, reproduce, place):
    domains = ["--domain", f"speech={place / 'sounds'}", "--domain", f"takes={place / 'takes'}", "--domain", "music"]
    outcome, output = reproduce("model-selection", *domains), place / "model-selection"
    assert outcome.status == 0, outcome.err
    table = pandas.read_csv(output / "table.csv")
    assert [*table["class"].unique()] == ["speech", "takes", "music", "mean"]
    assert {"oracle", "confidence", "random", "speech", "takes", "music"} <= {*table["row"]}
    assert table["published_mean_db"].isna().all() and table["mean_db"].notna().all()
    require_nothing_published((output / "table.md").read_text().partition("\n\n")[2])
    separatrix.succeed("report", output, "--output", place / "selection.html", "--no-audio", "--examples", "1")

    printed = [shlex.split(line) for line in reproduce("model-selection", *domains, "--dry-run").out.splitlines()]
    (typed,) = [words for words in printed if words[:2] == ["separatrix", "fit"] and "takes" in words]
    separatrix.succeed(*typed[1:], "--run", place / "typed")
    best = "checkpoints/best.ckpt"
    assert separatrix.same_weights(place / "typed" / best, output / "takes" / best)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["weak-labels", "--recordings", "few"],
            "few: a has 2 recordings, none for test; give each class a folder with 3",
        ),
        (["weak-labels", "--recordings", "one"], r"one: 1 class \(a\); 2 at least are needed"),
        (["weak-labels", "--recordings", "flat"], r"0 has 1 recording, none for .*; 2 more; give each class a folder"),
        (["weak-labels", "--recordings", "nowhere"], "nowhere: no such folder; give the folder of recordings"),
        (["weak-labels", "--recordings", "few", "--data-root", "."], "--data-root: nothing is read from it"),
        (["weak-labels", "--domain", "a=few"], "--domain: is of model-selection"),
        (["model-selection", "--recordings", "few"], "--recordings: is of weak-labels"),
        (["model-selection", "--domain", "a=few"], "between the models of two domains at least"),
        (["model-selection", "--domain", "birds", "--domain", "music"], "--domain birds: give NAME=FOLDER, or one of"),
        (["model-selection", "--domain", "a=", "--domain", "music"], "--domain a=: give NAME=FOLDER"),
        (["model-selection", "--domain", "a=few", "--domain", "a=one"], "a list of different names is needed"),
        (["model-selection", "--domain", "mean=few", "--domain", "music"], "--domain mean: the tables call something"),
        (
            ["model-selection", "--domain", "a=one", "--domain", "music"],
            "labels by split: train 1, validation 1, test 1; a mixture needs 2 different ones in each",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_anything_runs(words, message, separatrix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "few", "a/1.wav", "a/2.wav", *(f"b/{number}.wav" for number in range(3, 9)))
    write(tmp_path / "one", "a/1.wav", "a/2.wav", "a/3.wav", "b.wav")
    write(tmp_path / "flat", *(f"{number}.wav" for number in range(10)))
    outcome = separatrix.run("reproduce", *words, "--output", "made")
    (line,) = outcome.err.splitlines()
    assert outcome.status == 2 and re.search(message, line) and not (tmp_path / "made").exists()


def test_check_recognises_a_folder_warns_and_names_the_command_that_fits(separatrix, urbansound_factory, tmp_path):
    def check(folder):
        outcome = separatrix.succeed("check", folder)
        warnings = [line for line in outcome.out.splitlines() if line.startswith("warning: ")]
        return warnings, " ".join(outcome.out.replace("\\\n", "").partition("\nnext ")[2].split())

    sounds = sorted_by_class(tmp_path / "sounds")
    weak = f"separatrix reproduce weak-labels --recordings {sounds}"
    pairs = f"separatrix reproduce model-selection --domain sounds={sounds} --domain OTHER=FOLDER"
    assert check(sounds) == ([], f"{weak} {pairs}")
    write(sounds, "bell/1.wav", "bell/2.wav")
    assert check(sounds) == (["warning: no clip of bell for test"], pairs)
    takes = write(tmp_path / "takes", *(f"{number}.wav" for number in range(6)))
    assert check(takes) == ([], pairs.replace("sounds", "takes"))
    nothing = ["warning: no clip for validation", "warning: no clip for test"]
    only = "warning: only a for train; mixtures need two classes"
    warnings, following = check(write(tmp_path / "single", "a.wav"))
    assert warnings == [only, *nothing] and following.startswith("too few recordings: each class needs 3")
    urban = urbansound_factory(folds=(1, 3), classes=("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren"))
    warnings, following = check(urban)
    assert warnings == ["warning: no clip for test (folds 9, 10)"] and "--preset small --urbansound8k" in following
