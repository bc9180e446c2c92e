import json

import numpy as np

from datamodules.annotations import SoundEvent, dcase_rows, jams, sound_events
from datamodules.corpora.corpus import Clip
from datamodules.inspection import BankOnDemand, Inspection
from datamodules.recipes import Recipe

HORN, SIREN = Clip("audio/fold1/1.wav", "car_horn", 1, "1"), Clip("audio/fold1/2.wav", "siren", 1, "2")
EVENTS = [SoundEvent(0.25, 0.75, "car_horn", HORN, -27.5), SoundEvent(1.0000625, 2.0, "siren", SIREN, -25.0)]


def events_of(onsets: list[float]) -> list[SoundEvent]:
    bank = BankOnDemand.of([Inspection(HORN, 8_000, -20.0), Inspection(SIREN, 32_000, -20.0)], 16_000)
    recipe = Recipe(np.array([1, 0]), np.array([1, 0]), np.array(onsets), np.array([-25.0, -27.5]), np.zeros(2))
    return sound_events(recipe, bank, 32_000)


def test_events_are_what_is_rendered_by_onset():
    # An onset between two samples is rendered on the nearest; the second event is cut at the end.
    assert events_of([1.00007, 0.25]) == EVENTS


def test_the_table_of_events_tells_samples_apart():
    assert dcase_rows("test-000001.wav", EVENTS) == [
        ("test-000001.wav", "0.250000", "0.750000", "car_horn"),
        ("test-000001.wav", "1.000063", "2.000000", "siren"),
    ]
    assert round(1.000063 * 16_000) == 16_001


def test_jams_holds_events_and_tags_of_the_schema():
    document = json.loads(json.dumps(jams(EVENTS, 2.0, "test-000001.wav", "urbansound8k")))
    assert document.keys() == {"file_metadata", "annotations", "sandbox"}
    assert document["file_metadata"]["duration"] == 2.0
    sounds, tags = document["annotations"]
    for annotation in (sounds, tags):
        # Required by JAMS 0.3 of an annotation, its metadata's curator, and a sparse observation.
        assert annotation.keys() >= {"annotation_metadata", "namespace", "data"}
        assert annotation["annotation_metadata"]["curator"].keys() == {"name", "email"}
        for observation in annotation["data"]:
            assert observation.keys() == {"time", "duration", "value", "confidence"}
            assert 0 <= observation["time"] <= observation["time"] + observation["duration"] <= 2.0
    assert (sounds["namespace"], tags["namespace"]) == ("scaper", "tag_open")
    assert [tag["value"] for tag in tags["data"]] == ["car_horn", "siren"]


def test_jams_says_which_clip_sounds_when_and_how_loud():
    document = jams(EVENTS, 2.0, "test-000001.wav", "urbansound8k")
    sounds = document["annotations"][0]
    value = sounds["data"][0]["value"]
    assert (value["label"], value["source_file"]) == ("car_horn", "audio/fold1/1.wav")
    assert value["event_time"] == sounds["data"][0]["time"] == 0.25
    assert value["event_duration"] == sounds["data"][0]["duration"] == 0.5
    assert value["snr"] + sounds["sandbox"]["scaper"]["ref_db"] == -27.5


def test_events_that_begin_together_keep_the_recipes_order():
    # By offset or by label the horn would come first.
    assert [event.label for event in events_of([0.0, 0.0])] == ["siren", "car_horn"]


def test_jams_says_where_in_its_clip_an_event_begins():
    bank = BankOnDemand.of([Inspection(HORN, 8_000, -20.0), Inspection(SIREN, 64_000, -20.0)], 16_000)
    recipe = Recipe(np.array([1, 0]), np.arange(2), np.zeros(2), np.full(2, -25.0), np.array([1.50001, 0.125]))
    events = sound_events(recipe, bank, 32_000)
    assert [(event.start, event.offset) for event in events] == [(1.5, 2.0), (0.125, 0.375)]
    sounds = jams(events, 2.0, "test-000001.wav", "urbansound8k")["annotations"][0]["data"]
    assert [(sound["value"]["source_time"], sound["value"]["source_file"]) for sound in sounds] == [
        (1.5, "audio/fold1/2.wav"),
        (0.125, "audio/fold1/1.wav"),
    ]
    assert [sound["value"]["source_time"] for sound in jams(EVENTS, 2.0, "", "")["annotations"][0]["data"]] == [0, 0]
