"""A corpus of procedural voices, for when no recorded speech is at hand."""

import re

import numpy as np
from scipy import ndimage

from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.procedural.acoustics import CONTROL, recorded, room
from datamodules.corpora.procedural.settings import check, digest
from datamodules.corpora.procedural.vocal_tract import CONSONANTS, SILENCE, Phone, draw_voice, utter
from lightning_modules.errors import InputError

VERSION = 1  # of the synthesis: raise it whenever any clip sounds different
LOWEST, HIGHEST = 95.0, 240.0  # mean pitch of the speakers, in Hz
ONSETS = tuple(CONSONANTS)
CODAS = ("s", "z", "n", "m", "l", "t", "k")


class ProceduralVoices(Corpus):
    """Synthetic speech-like babble of many speakers. No clip is a recording, and none says anything.

    An utterance is 3 to 5 s of syllables drawn at random, in phrases with intonation and pauses. Speakers differ in
    pitch, vocal tract, vowels, tempo, voice quality, room and microphone. All that one speaker says is one recording
    and lies in one fold. A clip's sound is a pure function of the seed, the sampling rate and its name, in any process
    and order.

    Args:
        speakers: number of speakers, at least one for every fold.
        utterances_per_speaker: clips of each speaker.
        sample_rate: rate at which the voices are synthesised, without aliasing, in Hz; at least 8000.
        seed: another seed gives other speakers.
        folds: number of folds, counted from 1.

    Raises:
        InputError: a setting out of its range.
    """

    name = "procedural_voices"

    def __init__(
        self,
        speakers: int = 60,
        utterances_per_speaker: int = 4,
        sample_rate: int = 16000,
        seed: int = 0,
        folds: int = 10,
    ) -> None:
        check(
            "corpus of procedural voices",
            sample_rate,
            seed,
            folds,
            ("speakers", speakers, folds, "every fold needs a speaker"),
            ("utterances_per_speaker", utterances_per_speaker, 1, "a speaker says something"),
        )
        self.speakers = speakers
        self.utterances_per_speaker = utterances_per_speaker
        self.sample_rate = sample_rate
        self.seed = seed
        self.folds = folds

    def clips(self) -> list[Clip]:
        """Every clip, by speaker and utterance; names such as `voice/07-2`, utterance 2 of speaker 7."""
        return [
            Clip(
                name=f"voice/{speaker:02d}-{utterance}",
                label=f"voice/{speaker:02d}",
                fold=speaker % self.folds + 1,
                recording=f"voice/{speaker:02d}",
            )
            for speaker in range(self.speakers)
            for utterance in range(self.utterances_per_speaker)
        ]

    def read(self, clip: Clip) -> tuple[np.ndarray, int]:
        """Synthesise one clip: mono float32 samples [T] without offset, peak below 1, and their rate in Hz.

        Raises:
            InputError: the name is not one of this corpus.
        """
        numbers = re.fullmatch(r"voice/([0-9]+)-([0-9]+)", clip.name)
        if not numbers:
            raise InputError(f"{clip.name}: not a clip of the corpus of procedural voices; take one from its clips()")
        return self._synthesise(int(numbers[1]), int(numbers[2])), self.sample_rate

    def _synthesise(self, speaker: int, utterance: int) -> np.ndarray:
        person, place, reverberation, performance, noise, gain = (
            np.random.default_rng([self.seed, speaker, *aspect])
            for aspect in ((0,), (1,), (2,), (3, utterance), (4, utterance), (5, utterance))
        )
        height = person.random()
        voice = draw_voice(person, height)
        pitch = LOWEST * (HIGHEST / LOWEST) ** height
        tempo, liveliness = person.uniform(3.2, 6.0), person.uniform(0.4, 1.2)
        phones, steps, levels, intonation, breaths = _babble(performance, voice.vowels, tempo, liveliness)
        dry = utter(voice, phones, steps, levels, pitch * 2**intonation, breaths, noise, self.sample_rate)
        wetness = 10 ** place.uniform(-2.0, -0.6)
        hum, tilt, cutoff = place.uniform(-60, -35), place.uniform(0.0, 0.95), place.uniform(50, 150)
        responses = (room(place, reverberation, wetness, self.sample_rate),)
        return recorded(dry, responses, hum, tilt, cutoff, gain.uniform(-12, -0.5), noise, self.sample_rate)

    def fingerprint(self, clips: list[Clip]) -> str:
        """A digest of the synthesis's version, the settings and the clips' table."""
        settings = (self.speakers, self.utterances_per_speaker, self.sample_rate, self.seed, self.folds)
        return digest(VERSION, settings, clips)


def _babble(
    rng: np.random.Generator, vowels: tuple[Phone, ...], tempo: float, liveliness: float
) -> tuple[list[Phone], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Syllables in phrases with pauses between them.

    Args:
        rng: draws the utterance.
        vowels: of the speaker.
        tempo: syllables a second.
        liveliness: factor on the intonation's range.

    Returns:
        The phones [P], their durations in control steps [P] and their levels [P]; the intonation at the control rate in
        octaves about the speaker's pitch [C]; a control step in each pause.
    """
    phones, seconds, levels = [SILENCE], [rng.uniform(0.02, 0.15)], [0.0]
    instants, octaves, breaths = [0.0], [0.1], []
    elapsed, end = seconds[0], rng.uniform(3.0, 3.8)

    def say(phone: Phone, duration: float, level: float) -> None:
        nonlocal elapsed
        phones.append(phone)
        seconds.append(duration)
        levels.append(level)
        elapsed += duration

    while elapsed < end:
        syllables = int(rng.integers(3, 9))
        for number in range(syllables):
            stressed = rng.random() < 0.4
            final = number == syllables - 1 or elapsed > end - 0.4
            haste = 4.5 / tempo * rng.uniform(0.8, 1.2)
            level = rng.uniform(0.8, 1.0) if stressed else rng.uniform(0.4, 0.75)
            if rng.random() < 0.88:
                for phone in CONSONANTS[ONSETS[rng.integers(len(ONSETS))]]:
                    say(phone, phone.seconds * haste, level)
            declination = liveliness * (0.12 - 0.3 * number / max(1, syllables - 1))
            instants.append(elapsed + 0.05)
            octaves.append(
                declination + liveliness * (rng.uniform(0.12, 0.4) if stressed else rng.uniform(-0.06, 0.06))
            )
            vowel = vowels[rng.integers(len(vowels))]
            say(vowel, vowel.seconds * haste * (rng.uniform(1.2, 1.7) if stressed or final else 1.0), level)
            if rng.random() < 0.25:
                for phone in CONSONANTS[CODAS[rng.integers(len(CODAS))]]:
                    say(phone, phone.seconds * haste, 0.7 * level)
            if elapsed > end:
                break
        breaths.append(elapsed + 0.05)
        say(SILENCE, rng.uniform(0.12, 0.4), 0.0)

    steps = np.maximum(1, np.round(np.array(seconds) * CONTROL)).astype(int)
    times = np.arange(steps.sum()) / CONTROL
    intonation = ndimage.uniform_filter1d(np.interp(times, instants, octaves), int(0.06 * CONTROL), mode="nearest")
    tremor = ndimage.uniform_filter1d(rng.standard_normal(len(times)), int(0.01 * CONTROL), mode="nearest")
    return phones, steps, np.array(levels), intonation + 0.015 * tremor, (np.array(breaths) * CONTROL).astype(int)
