"""What `synthesize` and `bank` write, read as other tools do: jams and pandas are here, the others are imitated."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import jams
import numpy as np
import pandas
import pytest
import soundfile
import yaml

from datamodules.annotations import event_file
from datamodules.corpora.procedural import Procedural, ProceduralMusic, ProceduralVoices
from datamodules.urban_scenes import UrbanScenes
from experiments.cli import main
from experiments.data.mixture_files import write_audio
from lightning_modules.errors import InputError

SETTINGS = {
    "classes": ["car_horn", "dog_bark", "siren"],
    "sample_rate": 8000,
    "window": 256,
    "train_folds": [1],
    "validation_folds": [2],
    "test_folds": [3],
    "validation_mixtures": 30,
    "duration": 1.0,
    "latest_onset": 0.8,
}
CORPUS = {"clips_per_class": 6, "sample_rate": 8000, "folds": 3}


@pytest.fixture(scope="module")
def configuration(tmp_path_factory) -> Path:
    """A configuration as trainings use it, with sections that are none of this command's business."""
    folder = tmp_path_factory.mktemp("configuration")
    data = {
        "class_path": "datamodules.urban_scenes.UrbanScenes",
        "init_args": {
            "corpus": {"class_path": "datamodules.corpora.procedural.Procedural", "init_args": CORPUS},
            "bank_folder": str(folder / "banks"),
            **SETTINGS,
        },
    }
    model = {"class_path": "nowhere.Unknown", "init_args": {"classifier": "none.ckpt"}}
    (folder / "data.yaml").write_text(
        yaml.safe_dump({"seed_everything": 3, "model": model, "trainer": {"max_epochs": 5}, "data": data})
    )
    return folder / "data.yaml"


def run(configuration: Path, output: Path, *arguments: str) -> int:
    return main(
        ["synthesize", "--config", str(configuration), "--split", "validation", "--output", str(output), *arguments]
    )


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(configuration, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("written") / "scenes"
    assert run(configuration, output, "--mixtures", "20", "--start", "3", "--isolated_events") == 0
    return output


@pytest.fixture(scope="module")
def scenes(configuration) -> UrbanScenes:
    module = UrbanScenes(Procedural(**CORPUS), str(configuration.parent / "banks"), **SETTINGS)
    module.build()
    return module


def test_mixtures_and_sources_are_the_samples_that_trainings_get(written, scenes):
    dataset = scenes.dataset("validation")
    assert len(list(written.glob("mixtures/*.wav"))) == 20
    for index in range(3, 23):
        item = dataset[index]
        name = f"validation-{index:06d}"
        mixture, rate = soundfile.read(written / "mixtures" / f"{name}.wav", dtype="float32")
        assert rate == 8000
        np.testing.assert_array_equal(mixture, item.mixture.numpy())
        sources = {
            path.stem: soundfile.read(path, dtype="float32")[0] for path in written.glob(f"sources/{name}/*.wav")
        }
        assert sources.keys() == {label for label, there in zip(scenes.classes, item.clip_labels, strict=True) if there}
        for label, source in sources.items():
            np.testing.assert_array_equal(source, item.sources[scenes.classes.index(label)].numpy())
        np.testing.assert_allclose(sum(sources.values()), mixture, atol=1e-6)
    assert soundfile.info(written / "mixtures" / "validation-000003.wav").subtype == "FLOAT"


def events_of_fuss(jams_path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    """Mixture, events and labels as nussl 1.1.9 finds those of FUSS: paths are relative to the folder of the JAMS."""
    annotation = jams.load(str(jams_path)).annotations.search(namespace="scaper")[0]
    scaper, name = annotation.sandbox.scaper, jams_path.stem

    def read(path: str) -> np.ndarray:
        return soundfile.read(jams_path.parent / (name + path.split(name)[-1]), dtype="float32")[0]

    events: dict[str, np.ndarray] = {}
    for event, path in zip(annotation, scaper["isolated_events_audio_path"], strict=True):
        label = event.value["label"]
        events[f"{label}::{sum(label in other for other in events)}"] = read(path)
    return read(scaper["soundscape_audio_path"]), events, scaper["fg_labels"]


def test_a_reader_of_scapers_data_sets_finds_mixtures_and_events(written):
    paths = sorted((written / "mixtures").glob("*.jams"))
    assert len(paths) == 20
    several_of_a_class = 0
    for path in paths:
        mixture, events, labels = events_of_fuss(path)
        for event, samples in zip(jams.load(str(path)).annotations[0], events.values(), strict=True):
            onset, offset = round(event.time * 8000), round((event.time + event.duration) * 8000)
            assert samples[onset:offset].any() and not samples[:onset].any() and not samples[offset:].any()
        assert labels == ["car_horn", "dog_bark", "siren"]
        np.testing.assert_allclose(sum(events.values()), mixture, atol=1e-6)
        # The recipe of DCASE's task 4 takes events from the first annotation and looks for their files beside the JAMS.
        annotations = json.loads(path.read_text())["annotations"]
        names = annotations[-1]["sandbox"]["scaper"]["isolated_events_audio_path"]
        assert len(annotations[0]["data"]) == len(names) > 0
        assert all((path.parent / f"{path.stem}_events" / f"{Path(name).stem}.wav").is_file() for name in names)
        for source in (written / "sources" / path.stem).glob("*.wav"):
            of_class = [event for name, event in events.items() if name.startswith(f"{source.stem}::")]
            np.testing.assert_allclose(sum(of_class), soundfile.read(source)[0], atol=1e-6)
            several_of_a_class += len(of_class) > 1
    assert several_of_a_class


def test_the_file_of_an_event_lies_in_its_mixtures_folder_whatever_its_label_is():
    assert event_file("a.wav", 0, "siren") == "a_events/foreground0_siren.wav"
    assert event_file("a.wav", 1, "../../voice/07") == "a_events/foreground1_.._.._voice_07.wav"


def test_pandas_reads_strong_and_weak_labels(written):
    strong = pandas.read_csv(written / "labels.tsv", sep="\t")
    weak = pandas.read_csv(written / "weak_labels.tsv", sep="\t")
    assert list(strong) == ["filename", "onset", "offset", "event_label"]
    assert list(weak) == ["filename", "event_labels"]
    assert strong.onset.dtype == strong.offset.dtype == float
    assert (strong.offset > strong.onset).all() and strong.offset.max() <= 1.0
    of_events = strong.groupby("filename").event_label.agg(lambda labels: set(labels))
    assert of_events.to_dict() == {row.filename: set(row.event_labels.split(",")) for row in weak.itertuples()}
    assert set(weak.filename) == {path.name for path in (written / "mixtures").glob("*.wav")}


def active_samples(labels: Path) -> dict[tuple[str, str], np.ndarray]:
    """How many events of a class there are at each of a mixture's samples."""
    active: dict[tuple[str, str], np.ndarray] = {}
    for row in pandas.read_csv(labels, sep="\t").itertuples():
        counts = active.setdefault((row.filename, row.event_label), np.zeros(8000, int))
        counts[round(row.onset * 8000) : round(row.offset * 8000)] += 1
    return active


def test_strong_labels_without_overlaps_cover_the_same_samples_once(configuration, written, tmp_path):
    settings = ["--mixtures", "20", "--start", "3", "--isolated_events", "--merge_overlaps"]
    assert run(configuration, tmp_path / "merged", *settings) == 0
    events, merged = active_samples(written / "labels.tsv"), active_samples(tmp_path / "merged" / "labels.tsv")
    assert events.keys() == merged.keys() and max(counts.max() for counts in events.values()) > 1
    for name, counts in merged.items():
        np.testing.assert_array_equal(counts, events[name] > 0)
    onsets = pandas.read_csv(tmp_path / "merged" / "labels.tsv", sep="\t").groupby("filename", sort=False).onset
    assert onsets.is_monotonic_increasing.all()
    manifest = tmp_path / "merged" / "manifest.json"
    assert main(["synthesize", "--manifest", str(manifest), "--output", str(tmp_path / "again")]) == 0
    assert files(tmp_path / "again") == files(tmp_path / "merged")
    other = {name: of for name, of in files(written).items() if files(tmp_path / "merged")[name] != of}
    assert other.keys() == {"labels.tsv", "manifest.json"}


def test_only_the_clips_of_the_split_are_needed(urbansound_factory, tmp_path):
    root = urbansound_factory(rate=8000, folds=(1, 2, 3))
    settings = {**SETTINGS, "corpus.root": root, "classes": "[car_horn, dog_bark]", "event_rate": 2}
    words = [word for name, value in settings.items() for word in (f"--data.{name}", str(value))]
    command = ["synthesize", "--config", "weak_labels/base", *words, "--mixtures", "4", "--split", "validation"]
    for part in ("whole", "only"):
        output = ["--data.bank_folder", f"{tmp_path}/{part}_bank", "--output", f"{tmp_path}/{part}"]
        assert main([*command, *output]) == 0
        for fold in (1, 3):
            shutil.rmtree(root / "audio" / f"fold{fold}", ignore_errors=True)
    made = [
        {name: of for name, of in files(tmp_path / part).items() if name != "manifest.json"}
        for part in ("whole", "only")
    ]
    assert made[0] == made[1] and len(made[0]) > 10


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_a_manifest_says_what_was_made_of_what_and_makes_the_same_bytes_again(
    configuration, scenes, tmp_path, audio_format
):
    settings = ["--mixtures", "5", "--start", "3", "--isolated_events", "--audio_format", audio_format]
    assert run(configuration, tmp_path / "one", *settings) == 0
    assert main(["synthesize", f"--manifest={tmp_path}/one/manifest.json", "--output", str(tmp_path / "two")]) == 0
    assert len(files(tmp_path / "one")) > 15 and files(tmp_path / "one") == files(tmp_path / "two")
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert manifest["data"]["init_args"]["corpus"]["init_args"] == {**CORPUS, "seed": 0}
    assert (manifest["split"], manifest["start"], manifest["mixtures"], manifest["seed"]) == ("validation", 3, 5, 0)
    assert manifest["corpus"]["name"] == "procedural" and manifest["versions"].keys() >= {"numpy", "torch", "python"}
    mixture, _ = soundfile.read(tmp_path / "one" / "mixtures" / f"validation-000003.{audio_format}")
    expected = scenes.dataset("validation")[3].mixture.numpy() * manifest["scale"]
    np.testing.assert_allclose(mixture, expected, atol=2**-23 if audio_format == "flac" else 0)
    assert manifest["scale"] == {"wav": 1, "flac": 0.125}[audio_format]
    if audio_format == "flac":  # which ends at 1
        with pytest.raises(InputError, match=r"x: peak 9\.00 does not fit into FLAC; use --audio_format wav"):
            write_audio(tmp_path / "x.flac", np.full(10, -9, np.float32), 8000, "flac")


def test_a_folder_in_use_is_only_replaced_when_told_to_and_made_by_the_command(configuration, tmp_path, capsys):
    output = tmp_path / "scenes"
    assert run(configuration, output, "--mixtures", "3") == 0
    before = files(output)
    assert run(configuration, output, "--mixtures", "1") == 2 and files(output) == before
    assert "not empty; choose another --output, or replace it with --overwrite" in capsys.readouterr().err
    assert run(configuration, output, "--mixtures", "1", "--overwrite") == 0
    assert len(list(output.glob("mixtures/*.wav"))) == 1
    (output / "manifest.json").rename(output / "thesis.txt")
    assert run(configuration, output, "--mixtures", "1", "--overwrite") == 2 and (output / "thesis.txt").exists()
    assert "holds no manifest.json, so this command did not make it" in capsys.readouterr().err


def test_files_that_are_not_the_manifests_are_refused_with_what_differs(written, tmp_path, capsys):
    manifest = json.loads((written / "manifest.json").read_text())
    manifest["content_sha256"] = "0"
    manifest["versions"]["numpy"] = "1.0"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    output = tmp_path / "scenes"
    assert main(["synthesize", "--manifest", str(tmp_path / "manifest.json"), "--output", str(output)]) == 2
    assert "not the manifest's files again (differs here: versions numpy 1.0 -> " in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start", "25", "--mixtures", "6"], "the validation split has 30 mixtures; take fewer or raise"),
        (["--start", "30"], "the validation split has 30 mixtures"),
        (["--config", "weak_labels/unknown"], "--config weak_labels/unknown: no such file"),
        (["--manifest", "nowhere.json"], "--manifest nowhere.json: cannot be read"),
        (["--manifest", __file__], "not the manifest.json of synthesized mixtures"),
        (["--manifest", "{}/old.json"], "old.json: format 1; this version reads format 2"),
        (["--data.event_rate", "0"], "event_rate: 0.0; a number above 0"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(configuration, tmp_path, capsys, arguments, message):
    (configuration.parent / "old.json").write_text('{"format": 1, "split": "test"}')
    arguments = [argument.format(configuration.parent) for argument in arguments]
    assert run(configuration, tmp_path / "scenes", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_bank_of_a_configuration_is_built_once_and_described(configuration, tmp_path, capsys):
    command = ["bank", "--config", str(configuration), f"--data.bank_folder={tmp_path}"]
    reports = [(main(command), capsys.readouterr().out) for _ in range(2)]
    (bank,) = tmp_path.iterdir()
    assert reports[0] == reports[1] and reports[0][0] == 0
    assert f"{bank}: 18 clips, " in reports[0][1] and "at 8000 Hz" in reports[0][1]


# Procedural corpora in place of those that each domain's configuration names.
PAIRS = {
    "speech": ("ProceduralVoices", "--data.corpus.speakers=6", "--data.corpus.utterances_per_speaker=1"),
    "music": ("ProceduralMusic", "--data.corpus.songs=6", "--data.corpus.sections_per_song=1"),
}
READERS = {"speech": ProceduralVoices(6, 1, 8000, folds=3), "music": ProceduralMusic(6, 1, 8000, folds=3)}
SOURCES = {"speech": ["source_1", "source_2"], "music": ["vocals", "accompaniment"]}


@pytest.fixture(scope="module")
def written_pairs(tmp_path_factory) -> dict[str, Path]:
    """Mixtures of two domains, by their shipped configurations."""
    folder = tmp_path_factory.mktemp("pairs")
    sizes = ["--data.sample_rate=8000", "--data.window=256", "--data.duration=2", f"--data.bank_folder={folder}/banks"]
    folds = ["--data.train_folds=[1]", "--data.validation_folds=[2]", "--data.test_folds=[3]"]
    for domain, (corpus, *counts) in PAIRS.items():
        reader = f"--data.corpus=datamodules.corpora.procedural.{corpus}"
        settings = [reader, *counts, "--data.corpus.sample_rate=8000", "--data.corpus.folds=3", *sizes, *folds]
        configs = ["--config", "deep_clustering/base", "--config", f"deep_clustering/{domain}"]
        output = ["--mixtures", "6", "--start", "1", "--output", f"{folder}/{domain}"]
        assert main(["synthesize", *configs, *settings, *output]) == 0
    return {domain: folder / domain for domain in PAIRS}


@pytest.mark.parametrize("domain", PAIRS)
def test_annotations_of_pairs_name_the_clips_labels_and_where_in_the_clip_a_source_begins(
    written_pairs, domain, tmp_path
):
    with open(written_pairs[domain] / "labels.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    clips = {clip.name: clip for clip in READERS[domain].clips()}
    starts = []
    for path in sorted(written_pairs[domain].glob("mixtures/*.jams")):
        annotation = json.loads(path.read_text())["annotations"][0]
        values = [event["value"] for event in annotation["data"]]
        of_the_split = {clip.label for clip in clips.values() if clip.fold == 3}
        assert set(annotation["sandbox"]["scaper"]["fg_labels"]) == of_the_split
        labels = [clips[value["source_file"]].label for value in values]
        low, high = (10, 10) if domain == "music" else (-2.5, 2.5)
        assert low - 1e-6 <= values[0]["snr"] - values[1]["snr"] <= high + 1e-6  # LUFS of the whole clips
        assert [value["label"] for value in values] == labels
        assert [row["event_label"] for row in rows if row["filename"] == f"{path.stem}.wav"] == labels
        # In the order of the sources, which therefore can be looked up in their clips.
        for name, value in zip(SOURCES[domain], values, strict=True):
            source, _ = soundfile.read(written_pairs[domain] / "sources" / path.stem / f"{name}.wav")
            start = round(value["source_time"] * 8000)
            samples, _ = READERS[domain].read(clips[value["source_file"]])
            excerpt = samples[start : start + 16_000].astype(np.float64)
            np.testing.assert_allclose(source, excerpt * (source @ excerpt) / (excerpt @ excerpt), atol=1e-6)
        starts.append([value["source_time"] for value in values])
        if domain == "music":
            assert labels == SOURCES["music"] and len({clips[value["source_file"]].recording for value in values}) == 1
    assert np.ptp(starts) > 0.1 and [first == second for first, second in starts] == [domain == "music"] * 6
    manifest = written_pairs[domain] / "manifest.json"
    assert json.loads(manifest.read_text())["data"]["init_args"]["domain"] == domain
    assert main(["synthesize", "--manifest", str(manifest), "--output", str(tmp_path / "again")]) == 0
    assert files(tmp_path / "again") == files(written_pairs[domain])
