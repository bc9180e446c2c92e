"""What a mixture's recipe says as annotation files: its events, and JAMS as of Scaper."""

from collections.abc import Iterable, Sequence
from math import log2
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from datamodules.corpora.corpus import Clip
from datamodules.recipes import Recipe
from datamodules.rendering import event_interval, event_starts
from datamodules.sound_bank import SoundBank

JAMS_VERSION = "0.3.4"


class SoundEvent(NamedTuple):
    """One event as it is in the mixture; times in seconds, on its grid of samples."""

    onset: float
    offset: float
    clip: Clip
    loudness: float  # of the whole clip, in LUFS
    start: float = 0.0  # of the event in the clip
    number: int = 0  # of the event in its recipe
    speed: float = 1.0  # times as fast as recorded


def sound_events(recipe: Recipe, bank: SoundBank, samples: int) -> list[SoundEvent]:
    """The events of a mixture of that many samples, by onset; intervals are those that are rendered.

    One of which nothing is rendered, since it begins within half a sample of the mixture's end, is none. Events that
    begin together keep the recipe's order: of pairs, the order of the sources.
    """
    onsets, offsets = event_interval(bank, recipe, samples)
    starts, rate = event_starts(bank, recipe), bank.sample_rate
    speeds = np.ones(len(starts)) if recipe.variants is None else recipe.variants.speeds
    columns = (column.tolist() for column in (onsets, offsets, recipe.clips, recipe.loudness, starts, speeds))
    events = [
        SoundEvent(onset / rate, offset / rate, bank.clips[clip], loudness, start / rate, number, speed)
        for number, (onset, offset, clip, loudness, start, speed) in enumerate(zip(*columns, strict=True))
        if offset > onset
    ]
    return sorted(events, key=lambda event: event.onset)


def without_overlaps(intervals: Iterable[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Onset, offset and label of events, by onset, such that those of one label that overlap or touch are one."""
    merged: list[tuple[float, float, str]] = []
    last: dict[str, int] = {}  # place of each label's latest event
    for onset, offset, label in intervals:
        place = last.get(label)
        if place is None or onset > merged[place][1]:
            last[label] = len(merged)
            merged.append((onset, offset, label))
        else:
            merged[place] = (merged[place][0], max(offset, merged[place][1]), label)
    return merged


def event_file(audio_file: str, number: int, label: str) -> str:
    """Where Scaper puts the audio of a mixture's event: a.wav -> a_events/foreground0_siren.wav."""
    mixture, label = PurePosixPath(audio_file), label.replace("/", "_").replace("\\", "_")
    return f"{mixture.stem}_events/foreground{number}_{label}{mixture.suffix}"


def jams(
    events: Sequence[SoundEvent],
    duration: float,
    sample_rate: int,
    audio_file: str,
    corpus: str,
    labels: Sequence[str],
    isolated_events: bool,
) -> dict[str, Any]:
    """A mixture's annotations by the JAMS schema 0.3 (Humphrey et al., ISMIR 2014), ready for `json`.

    As Scaper 1.6 writes them (Salamon et al., WASPAA 2017): one annotation, `scaper`, of the events with clip and
    level, and in its sandbox where the audio is. The level stands where Scaper's tools look for it, as `snr` over
    `ref_db`; with the latter 0 it is the whole clip's LUFS. What is played faster is higher, by `pitch_shift`
    semitones, and shorter, by the factor `time_stretch`; there is no word for a tilted spectrum. Paths are relative to
    the JAMS file, as in FUSS.

    Args:
        events: of the mixture.
        duration: of the mixture, in seconds.
        sample_rate: in Hz.
        audio_file: the mixture's file name.
        corpus: name of the clips' corpus.
        labels: all that could occur.
        isolated_events: whether the events' audio is there, as `event_file` names it.
    """
    event_files = [event_file(audio_file, number, event.clip.label) for number, event in enumerate(events)]
    sounds = [
        {
            "time": event.onset,
            "duration": event.offset - event.onset,
            "value": {
                "label": event.clip.label,
                "source_file": event.clip.name,
                "source_time": event.start,
                "event_time": event.onset,
                "event_duration": event.offset - event.onset,
                "snr": event.loudness,
                "role": "foreground",
                "pitch_shift": None if event.speed == 1 else 12 * log2(event.speed),
                "time_stretch": None if event.speed == 1 else 1 / event.speed,
            },
            "confidence": 1.0,
        }
        for event in events
    ]
    scaper = {
        "duration": duration,
        "original_duration": duration,
        "sr": sample_rate,
        "n_channels": 1,
        "ref_db": 0.0,
        "fg_labels": list(labels),
        "bg_labels": [],
        "n_events": len(events),
        "reverb": None,
        "soundscape_audio_path": audio_file,
        "isolated_events_audio_path": event_files if isolated_events else [],
    }
    made_by = {
        "curator": {"name": "", "email": ""},
        "annotator": {},
        "version": "",
        "corpus": corpus,
        "annotation_tools": "separatrix synthesize",
        "annotation_rules": "",
        "validation": "",
        "data_source": "program",
    }
    annotation = {
        "annotation_metadata": made_by,
        "namespace": "scaper",
        "data": sounds,
        "sandbox": {"scaper": scaper},
        "time": 0.0,
        "duration": duration,
    }
    audio = {
        "title": audio_file,
        "artist": "",
        "release": "",
        "duration": duration,
        "identifiers": {},
        "jams_version": JAMS_VERSION,
    }
    return {"file_metadata": audio, "annotations": [annotation], "sandbox": {}}
