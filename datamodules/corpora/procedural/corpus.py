"""The procedural corpora: which clips there are, each clip a function of the seed, the sampling rate and its name."""

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.random import Generator

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.layout import digest
from datamodules.corpora.procedural.signals import recorded
from datamodules.corpora.procedural.urban import KINDS, SOUNDS, Sound
from datamodules.corpora.procedural.voices import Song, accompaniment, babble, vocals
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_whole
from lightning_modules.spectrogram import HIGHEST_RATE

VERSION = 2  # of the synthesis: raise it whenever any clip sounds different


class ProceduralCorpus(Corpus):
    """Sounds made by formulas."""

    pattern: str  # of a clip's name; its first group is what several clips share
    sample_rate: int
    seed: int
    folds: int

    def require_least(self, **sizes: tuple[int, str]) -> None:
        """Refuse the first setting out of its range; `sizes` are the least value of each and the reason for it."""
        for setting, (least, reason) in {
            "folds": (1, "there is no corpus without folds"),
            **sizes,
            "sample_rate": (8000, "the sounds reach beyond 3 kHz"),
            "seed": (0, "random generators take no negative seed"),
        }.items():
            value = getattr(self, setting)
            if value < least:
                raise InputError(f"{self.name} corpus: {setting}={value}: {reason}; set it to {least} or more")
            most = {"sample_rate": HIGHEST_RATE, "seed": 2**63 - 1}.get(setting, 1_000_000)  # clips, all in memory
            require_whole(least, most, **{setting: value})

    @abstractmethod
    def _synthesise(self, name: re.Match[str], shared: Generator, take: Generator) -> tuple[np.ndarray, float, float]:
        """The clip's samples at the source [T], and levels of background and peak in dB, see `recorded`."""

    def generator_for(self, name: str) -> Generator:
        """Random numbers that depend on the seed and on the name of a clip, or of what several clips share."""
        return np.random.default_rng([self.seed, *name.encode()])

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """Synthesise one clip: mono float32 samples [T] without offset, peak below 1, and their rate in Hz."""
        name = re.fullmatch(self.pattern, clip.name)
        if not name:
            raise InputError(f"{clip.name}: not a clip of the {self.name} corpus; take one from its clips()")
        shared, take = self.generator_for(name[1]), self.generator_for(name[0])
        dry, hum, peak = self._synthesise(name, shared, take)
        return recorded(dry, shared, take, hum, peak, self.sample_rate), self.sample_rate

    def fingerprint(self, clips: list[Clip]) -> str:
        """A digest of the synthesis's version, the settings and the clips' table."""
        return digest([(VERSION, self.name, *vars(self).items()), *clips])


@dataclass(eq=False)
class Procedural(ProceduralCorpus):
    """Synthetic stand-ins for the five UrbanSound8K classes of the weak-label paper. No clip is a recording.

    Clips are takes of 'recordings': takes of one recording share the horn, dog or hammer and the place, and differ in
    timing, loudness and noise. Each recording has two to four takes and lies in one fold; every fold holds every class.

    Args:
        clips_per_class: clips of each class, at least two for every fold.
        sample_rate: rate at which the sounds are synthesised, without aliasing, in Hz; at least 8000.
        seed: another seed gives other horns, dogs and hammers.
        folds: number of folds, counted from 1.
    """

    clips_per_class: int = 60
    sample_rate: int = 16000
    seed: int = 0
    folds: int = 10
    name = "procedural"
    sounds: ClassVar[dict[str, Sound]] = SOUNDS
    pattern = rf"(({'|'.join(SOUNDS)})/[0-9]+)-[0-9]+"

    def __post_init__(self) -> None:
        self.require_least(clips_per_class=(2 * self.folds, "every fold needs a recording of two clips"))

    def clips(self) -> list[Clip]:
        """Every clip, by class, recording and take; names such as `siren/07-2`, take 2 of recording 7."""
        clips, recordings = [], max(self.folds, round(self.clips_per_class / 3))
        for label in self.sounds:
            # Two takes of each recording; the rest falls on random ones, at most two more for each.
            spare = self.generator_for(label).permutation(np.repeat(np.arange(recordings), 2))
            takes = 2 + np.bincount(spare[: self.clips_per_class - 2 * recordings], minlength=recordings)
            for number in range(recordings):
                name, fold = f"{label}/{number:02d}", number % self.folds + 1
                clips += [Clip(f"{name}-{take}", label, fold, name) for take in range(takes[number])]
        return clips

    def _synthesise(self, name: re.Match[str], shared: Generator, take: Generator) -> tuple[np.ndarray, float, float]:
        return self.sounds[name[2]](shared, take, self.sample_rate), shared.uniform(-45, -18), take.uniform(-24, -0.5)


@dataclass(eq=False)
class ProceduralKinds(Procedural):
    """Synthetic sounds of classes with kinds: dogs bark or howl, sirens wail, yelp or alternate; and jackhammers.

    Clips and settings are those of `Procedural`. No clip is a recording.
    """

    name = "procedural_kinds"
    sounds = KINDS
    pattern = rf"(({'|'.join(KINDS)})/[0-9]+)-[0-9]+"


@dataclass(eq=False)
class ProceduralVoices(ProceduralCorpus):
    """Synthetic speech-like babble of many speakers. No clip is a recording, and none says anything.

    Speakers differ in pitch, vocal tract, tempo, breath and room. All that one speaker says is one recording.

    Args:
        speakers: number of speakers, at least one for every fold.
        utterances_per_speaker: clips of each speaker.
        sample_rate: rate at which the voices are synthesised, without aliasing, in Hz; at least 8000.
        seed: another seed gives other speakers.
        folds: number of folds, counted from 1.
    """

    speakers: int = 60
    utterances_per_speaker: int = 4
    sample_rate: int = 16000
    seed: int = 0
    folds: int = 10
    name = "procedural_voices"
    pattern = r"(voice/[0-9]+)-[0-9]+"

    def __post_init__(self) -> None:
        utterances = 1, "a speaker says something"
        self.require_least(speakers=(self.folds, "every fold needs a speaker"), utterances_per_speaker=utterances)

    def clips(self) -> list[Clip]:
        """Every clip, by speaker and utterance; names such as `voice/07-2`, utterance 2 of speaker 7."""
        return [
            Clip(f"{name}-{utterance}", name, speaker % self.folds + 1, name)
            for speaker, name in enumerate(f"voice/{number:02d}" for number in range(self.speakers))
            for utterance in range(self.utterances_per_speaker)
        ]

    def _synthesise(self, name: re.Match[str], shared: Generator, take: Generator) -> tuple[np.ndarray, float, float]:
        return babble(shared, take, self.sample_rate), shared.uniform(-60, -35), take.uniform(-12, -0.5)


@dataclass(eq=False)
class ProceduralMusic(ProceduralCorpus):
    """Synthetic songs: a singing voice, and the chords and drums beneath it. No clip is a recording.

    A section of a song is two clips of 4.5 s, `vocals` and `accompaniment`, that keep its key and tempo and together
    stay below full scale. Singer, instruments and room stay the same from section to section, the notes differ.

    Args:
        songs: number of songs, at least one for every fold.
        sections_per_song: sections of each song.
        sample_rate: rate at which the music is synthesised, without aliasing, in Hz; at least 8000.
        seed: another seed gives other songs.
        folds: number of folds, counted from 1.
    """

    songs: int = 60
    sections_per_song: int = 2
    sample_rate: int = 16000
    seed: int = 0
    folds: int = 10
    name = "procedural_music"
    pattern = r"(song/[0-9]+)/(vocals|accompaniment)@([0-9]+)"

    def __post_init__(self) -> None:
        self.require_least(songs=(self.folds, "every fold needs a song"), sections_per_song=(1, "a song has a section"))

    def clips(self) -> list[Clip]:
        """Every clip, by song, section and label; names such as `song/07/vocals@1`, in section 1 of song 7."""
        return [
            Clip(f"{name}/{label}@{section}", label, song % self.folds + 1, name, section=section)
            for song, name in enumerate(f"song/{number:02d}" for number in range(self.songs))
            for section in range(self.sections_per_song)
            for label in ("vocals", "accompaniment")
        ]

    def _synthesise(self, name: re.Match[str], shared: Generator, take: Generator) -> tuple[np.ndarray, float, float]:
        players, song = self.generator_for(f"{name[1]}/{name[2]}"), Song(shared, int(name[3]))
        # The two are about equally loud although drums peak higher, and never at full scale together.
        play, peaks = (vocals, (-14.0, -8.0)) if name[2] == "vocals" else (accompaniment, (-9.0, -5.5))
        return play(song, players, take, self.sample_rate), -65.0, players.uniform(*peaks)
