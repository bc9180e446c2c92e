import json
import warnings
from io import StringIO
from typing import Any

import jams
import numpy as np
import pytest

from datamodules.annotations import SoundEvent, require_separable, sound_events, strong_rows, weak_row
from datamodules.annotations import jams as annotate
from datamodules.corpora.corpus import Clip
from datamodules.inspection import BankOnDemand, Inspection
from datamodules.recipes import Recipe
from lightning_modules.errors import InputError

HORN, SIREN = Clip("audio/fold1/1.wav", "car_horn", 1, "1"), Clip("audio/fold1/2.wav", "siren", 1, "2")
EVENTS = [
    SoundEvent(0.25, 0.75, "car_horn", HORN, -27.5, number=1),
    SoundEvent(1.0000625, 2.0, "siren", SIREN, -25.0, number=0),
]


def document(events: list[SoundEvent] = EVENTS, isolated_events: bool = False) -> dict[str, Any]:
    labels = ["car_horn", "dog_bark", "siren"]
    return annotate(events, 32_000, 16_000, "test-000001.wav", "urbansound8k", labels, isolated_events)


def events_of(onsets: list[float]) -> list[SoundEvent]:
    bank = BankOnDemand.of([Inspection(HORN, 8_000, -20.0), Inspection(SIREN, 32_000, -20.0)], 16_000)
    recipe = Recipe(np.array([1, 0]), np.array([1, 0]), np.array(onsets), np.array([-25.0, -27.5]), np.zeros(2))
    return sound_events(recipe, bank, 32_000)


def test_events_are_what_is_rendered_by_onset():
    # An onset between two samples is rendered on the nearest; the second event is cut at the end.
    assert events_of([1.00007, 0.25]) == EVENTS


def test_the_table_of_events_tells_samples_apart():
    assert strong_rows("test-000001.wav", EVENTS) == [
        ("test-000001.wav", "0.250000", "0.750000", "car_horn"),
        ("test-000001.wav", "1.000063", "2.000000", "siren"),
    ]
    assert round(1.000063 * 16_000) == 16_001


def test_weak_labels_name_each_class_once():
    assert weak_row("a.wav", [*reversed(EVENTS), *EVENTS]) == ("a.wav", "car_horn,siren")


def test_a_label_that_would_read_as_two_is_refused():
    with pytest.raises(InputError, match="label 'rain, heavy': a comma separates labels in DCASE's tables"):
        require_separable(["rain", "rain, heavy"])


def test_the_jams_library_finds_nothing_against_its_schema():
    with warnings.catch_warnings():
        warnings.simplefilter("error", jams.exceptions.JamsError)
        loaded = jams.load(StringIO(json.dumps(document())), validate=True, strict=True, fmt="jams")
    (sounds,) = loaded.annotations
    assert sounds.namespace == "scaper" and sounds.validate(strict=True)
    assert [(event.time, event.value["label"]) for event in sounds] == [(0.25, "car_horn"), (1.0000625, "siren")]
    assert loaded.file_metadata.duration == sounds.duration == 2.0


def test_the_jams_library_would_find_an_event_without_length():
    # Or the test above would pass for whatever is written.
    empty = document([EVENTS[0]._replace(offset=0.25)])
    with pytest.raises(jams.SchemaError, match="event_duration"):
        jams.load(StringIO(json.dumps(empty)), validate=True, strict=True, fmt="jams").annotations[0].validate()


def test_jams_name_the_audio_as_scaper_does():
    scaper = document(isolated_events=True)["annotations"][0]["sandbox"]["scaper"]
    assert scaper["soundscape_audio_path"] == "test-000001.wav"
    assert scaper["isolated_events_audio_path"] == [
        "test-000001_events/foreground0_car_horn.wav",
        "test-000001_events/foreground1_siren.wav",
    ]
    assert document()["annotations"][0]["sandbox"]["scaper"]["isolated_events_audio_path"] == []


def test_jams_says_which_clip_sounds_when_and_how_loud():
    sounds = document()["annotations"][0]
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
    sounds = document(events)["annotations"][0]["data"]
    assert [(sound["value"]["source_time"], sound["value"]["source_file"]) for sound in sounds] == [
        (1.5, "audio/fold1/2.wav"),
        (0.125, "audio/fold1/1.wav"),
    ]
    assert [sound["value"]["source_time"] for sound in document()["annotations"][0]["data"]] == [0, 0]
