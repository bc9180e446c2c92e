"""What `synthesize` writes, read as the tools that read such files do: those are not installed, jams and pandas are."""

import json
from pathlib import Path

import jams
import numpy as np
import pandas
import pytest
import soundfile

from experiments.cli import main


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    settings = {
        "": "UrbanScenes",
        ".corpus": "Procedural",
        ".corpus.clips_per_class": 6,
        ".corpus.sample_rate": 8000,
        ".corpus.folds": 3,
        ".classes": ["car_horn", "dog_bark", "siren"],
        ".sample_rate": 8000,
        ".window": 256,
        ".duration": 1.0,
        ".latest_onset": 0.8,
        ".train_folds": [1],
        ".validation_folds": [2],
        ".test_folds": [3],
        ".bank_folder": folder / "banks",
    }
    data = [f"--data{name}={value}" for name, value in settings.items()]
    output = ["--mixtures=12", "--isolated_events", f"--output={folder / 'scenes'}"]
    assert main(["synthesize", *data, *output]) == 0
    return folder / "scenes"


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


def test_a_reader_of_scapers_data_sets_finds_mixtures_and_events(scenes):
    paths = sorted((scenes / "mixtures").glob("*.jams"))
    assert len(paths) == 12
    several_of_a_class = 0
    for path in paths:
        mixture, events, labels = events_of_fuss(path)
        for event, samples in zip(jams.load(str(path)).annotations[0], events.values(), strict=True):
            onset, offset = round(event.time * 8000), round((event.time + event.duration) * 8000)
            assert samples[onset:offset].any() and not samples[:onset].any() and not samples[offset:].any()
        assert labels == ["car_horn", "dog_bark", "siren"]
        np.testing.assert_allclose(sum(events.values()), mixture, atol=1e-6)
        for source in (scenes / "sources" / path.stem).glob("*.wav"):
            of_class = [event for name, event in events.items() if name.startswith(f"{source.stem}::")]
            np.testing.assert_allclose(sum(of_class), soundfile.read(source)[0], atol=1e-6)
            several_of_a_class += len(of_class) > 1
    assert several_of_a_class


def test_the_recipe_of_dcase_task_4_finds_an_audio_file_for_each_event(scenes):
    # It takes the events from the first annotation, their files' names from the last, and looks beside the JAMS.
    for path in (scenes / "mixtures").glob("*.jams"):
        annotations = json.loads(path.read_text())["annotations"]
        names = annotations[-1]["sandbox"]["scaper"]["isolated_events_audio_path"]
        assert len(annotations[0]["data"]) == len(names) > 0
        assert {event["value"]["role"] for event in annotations[0]["data"]} == {"foreground"}
        assert all((path.parent / f"{path.stem}_events" / f"{Path(name).stem}.wav").is_file() for name in names)


def test_pandas_reads_strong_and_weak_labels(scenes):
    strong = pandas.read_csv(scenes / "labels.tsv", sep="\t")
    weak = pandas.read_csv(scenes / "weak_labels.tsv", sep="\t")
    assert list(strong) == ["filename", "onset", "offset", "event_label"]
    assert list(weak) == ["filename", "event_labels"]
    assert strong.onset.dtype == strong.offset.dtype == float
    assert (strong.offset > strong.onset).all() and strong.offset.max() <= 1.0
    of_events = strong.groupby("filename").event_label.agg(lambda labels: set(labels))
    assert of_events.to_dict() == {row.filename: set(row.event_labels.split(",")) for row in weak.itertuples()}
    assert set(weak.filename) == {path.name for path in (scenes / "mixtures").glob("*.wav")}
