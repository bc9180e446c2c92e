"""What a mixture's recipe says as annotation files: DCASE's table of events, and JAMS."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from datamodules.corpora.corpus import Clip
from datamodules.recipes import Recipe
from datamodules.rendering import event_interval, event_starts
from datamodules.sound_bank import SoundBank

DCASE_COLUMNS = ("filename", "onset", "offset", "event_label")
JAMS_VERSION = "0.3.4"


class SoundEvent(NamedTuple):
    """One event as it is in the mixture.

    Attributes:
        onset: in seconds, on the mixture's grid of samples.
        offset: in seconds, at most the mixture's end.
        label: sound class.
        clip: what sounds.
        loudness: of the whole clip, in LUFS.
        start: where in the clip the event begins, in seconds.
    """

    onset: float
    offset: float
    label: str
    clip: Clip
    loudness: float
    start: float = 0.0


def sound_events(recipe: Recipe, bank: SoundBank, samples: int) -> list[SoundEvent]:
    """The events of a mixture of that many samples, by onset; intervals are those that are rendered.

    Events that begin together keep the recipe's order: of pairs, the order of the sources.
    """
    onsets, offsets = event_interval(bank, recipe, samples)
    events = [
        SoundEvent(
            onset / bank.sample_rate,
            offset / bank.sample_rate,
            bank.clips[clip].label,
            bank.clips[clip],
            loudness,
            start / bank.sample_rate,
        )
        for onset, offset, clip, loudness, start in zip(
            onsets.tolist(),
            offsets.tolist(),
            recipe.clips.tolist(),
            recipe.loudness.tolist(),
            event_starts(bank, recipe).tolist(),
            strict=True,
        )
    ]
    return sorted(events, key=lambda event: event.onset)


def dcase_rows(file_name: str, events: Iterable[SoundEvent]) -> list[tuple[str, str, str, str]]:
    """Rows of DCASE_COLUMNS, one for each event; seconds to the microsecond, finer than any usual rate."""
    return [(file_name, f"{event.onset:.6f}", f"{event.offset:.6f}", event.label) for event in events]


def jams(events: Sequence[SoundEvent], duration: float, title: str, corpus: str) -> dict[str, Any]:
    """A mixture's annotations by the JAMS schema 0.3 (Humphrey et al., ISMIR 2014), ready for `json`.

    Two annotations: `scaper`, the events with clip and level, and `tag_open`, the classes that occur at all. The
    level stands where Scaper's tools look for it, as `snr` over `ref_db`; with the latter 0 it is the clip's LUFS.

    Args:
        events: of the mixture.
        duration: of the mixture, in seconds.
        title: the mixture's file name.
        corpus: where its clips come from.
    """
    sounds = [
        _observation(
            event.onset,
            event.offset - event.onset,
            {
                "label": event.label,
                "source_file": event.clip.name,
                "source_time": event.start,
                "event_time": event.onset,
                "event_duration": event.offset - event.onset,
                "snr": event.loudness,
                "role": "foreground",
                "pitch_shift": None,
                "time_stretch": None,
            },
        )
        for event in events
    ]
    tags = [_observation(0.0, duration, label) for label in sorted({event.label for event in events})]
    return {
        "file_metadata": {
            "title": title,
            "artist": "",
            "release": "",
            "duration": duration,
            "identifiers": {},
            "jams_version": JAMS_VERSION,
        },
        "annotations": [
            _annotation("scaper", sounds, duration, corpus, {"scaper": {"ref_db": 0.0}}),
            _annotation("tag_open", tags, duration, corpus, {}),
        ],
        "sandbox": {},
    }


def _observation(time: float, duration: float, value: Any) -> dict[str, Any]:
    return {"time": time, "duration": duration, "value": value, "confidence": 1.0}


def _annotation(
    namespace: str, data: list[dict[str, Any]], duration: float, corpus: str, sandbox: dict[str, Any]
) -> dict[str, Any]:
    return {
        "annotation_metadata": {
            "curator": {"name": "", "email": ""},
            "annotator": {},
            "version": "",
            "corpus": corpus,
            "annotation_tools": "separatrix synthesize",
            "annotation_rules": "",
            "validation": "",
            "data_source": "program",
        },
        "namespace": namespace,
        "data": data,
        "sandbox": sandbox,
        "time": 0.0,
        "duration": duration,
    }
