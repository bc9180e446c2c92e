import json
import warnings
from io import StringIO
from typing import Any

import jams
import numpy as np
import pytest

from datamodules.annotations import SoundEvent, sound_events, without_overlaps
from datamodules.annotations import jams as annotate
from datamodules.corpora.corpus import Clip
from datamodules.inspection import Inspection
from datamodules.recipes import Recipe, Variants
from datamodules.sound_bank import BankOnDemand

HORN, SIREN = Clip("audio/fold1/1.wav", "car_horn", 1, "1"), Clip("audio/fold1/2.wav", "siren", 1, "2")
EVENTS = [SoundEvent(0.25, 0.75, HORN, -27.5, number=1), SoundEvent(1.0000625, 2.0, SIREN, -25.0, number=0)]


def document(events: list[SoundEvent] = EVENTS, isolated_events: bool = False) -> dict[str, Any]:
    labels = ["car_horn", "dog_bark", "siren"]
    return annotate(events, 2.0, 16_000, "test-000001.wav", "urbansound8k", labels, isolated_events)


def events_of(onsets: list[float], starts: tuple[float, float] = (0, 0)) -> list[SoundEvent]:
    bank = BankOnDemand.of([Inspection(HORN, 8_000, -20.0), Inspection(SIREN, 64_000, -20.0)], 16_000)
    recipe = Recipe(np.array([1, 0]), np.array([1, 0]), np.array(onsets), np.array([-25.0, -27.5]), np.array(starts))
    return sound_events(recipe, bank, 32_000)


def test_events_are_what_is_rendered_by_onset():
    # An onset between two samples is rendered on the nearest; the second event is cut at the end.
    assert events_of([1.00007, 0.25]) == EVENTS
    # By offset or by label the horn would come first of those that begin together.
    assert [event.clip for event in events_of([0.0, 0.0])] == [SIREN, HORN]


def test_the_jams_library_finds_nothing_against_its_schema():
    with warnings.catch_warnings():
        warnings.simplefilter("error", jams.exceptions.JamsError)
        loaded = jams.load(StringIO(json.dumps(document())), validate=True, strict=True, fmt="jams")
    (sounds,) = loaded.annotations
    assert sounds.namespace == "scaper" and sounds.validate(strict=True)
    assert [(event.time, event.value["label"]) for event in sounds] == [(0.25, "car_horn"), (1.0000625, "siren")]
    assert loaded.file_metadata.duration == sounds.duration == 2.0
    empty = document([EVENTS[0]._replace(offset=0.25)])
    with pytest.raises(jams.SchemaError, match="event_duration"):
        jams.load(StringIO(json.dumps(empty)), validate=True, strict=True, fmt="jams").annotations[0].validate()


def test_jams_say_how_fast_a_clip_is_played():
    double = Variants(np.array([2.0, 1.0]), np.zeros(2), np.ones(2))
    bank = BankOnDemand.of([Inspection(HORN, 8_000, -20.0), Inspection(SIREN, 64_000, -20.0)], 16_000)
    columns = np.array([0, 1]), np.array([0, 1]), np.array([0.0, 0.5]), np.array([-25.0, -25.0]), np.zeros(2)
    sounds = document(sound_events(Recipe(*columns, double), bank, 32_000))["annotations"][0]["data"]
    found = [[sound["value"][name] for name in ("event_duration", "pitch_shift", "time_stretch")] for sound in sounds]
    assert found == [[0.25, 12.0, 0.5], [1.5, None, None]]


def test_jams_say_which_clip_sounds_when_how_loud_and_from_where():
    events = events_of([0.0, 0.25], starts=(1.50001, 0.125))
    assert [(event.start, event.offset) for event in events] == [(1.5, 2.0), (0.125, 0.625)]
    annotation = document(events)["annotations"][0]
    assert annotation["sandbox"]["scaper"]["ref_db"] == 0
    wanted = ("label", "source_file", "source_time", "event_time", "event_duration", "snr")
    assert [[sound["value"][name] for name in wanted] for sound in annotation["data"]] == [
        ["siren", "audio/fold1/2.wav", 1.5, 0.0, 2.0, -25.0],
        ["car_horn", "audio/fold1/1.wav", 0.125, 0.25, 0.375, -27.5],
    ]
    assert [(sound["time"], sound["duration"]) for sound in annotation["data"]] == [(0.0, 2.0), (0.25, 0.375)]


def test_events_of_one_label_that_overlap_or_touch_become_one():
    events = [(0.0, 4.0, "dog"), (1.0, 2.0, "dog"), (2.0, 6.0, "horn"), (4.0, 5.0, "dog"), (5.5, 6.0, "dog")]
    assert without_overlaps(events) == [(0.0, 5.0, "dog"), (2.0, 6.0, "horn"), (5.5, 6.0, "dog")]
