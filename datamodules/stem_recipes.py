"""Which excerpt of a song a mixture is, and when its stems sound: a pure function of (seed, split, index)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import numpy as np
import scipy.fft

from datamodules.augmentation import k_weighting
from datamodules.recipes import LOUDEST, Recipe, generator_for
from datamodules.sound_bank import SoundBank
from lightning_modules.batch import Split
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_between, require_positive, require_whole

SONG_LUFS = -23.0  # programme level by EBU R 128, at which the threshold of activity holds
BLOCK_SECONDS, BLOCKS = 0.01, 40  # momentary loudness: 400 ms


@dataclass(frozen=True)
class StemRules:
    """How excerpts of songs are drawn.

    Attributes:
        stems: number of classes.
        duration: of a mixture, in seconds.
        threshold: a stem is active where its momentary loudness exceeds it, in LUFS, with its song at -23 LUFS.
        quietest: lower end of the song's loudness in the mixture, uniform, in LUFS.
        loudest: its upper end.
        fewest_stems: of the stems that are active in an excerpt, from so many to all sound, each number as likely; the
            others are muted.
        coherent: share of mixtures whose stems sounded together; those of the others are of songs drawn for each.
    """

    stems: int = 4
    duration: float = 4.0
    threshold: float = -40.0
    quietest: float = -30.0
    loudest: float = -25.0
    fewest_stems: int = 4
    coherent: float = 1.0

    def __post_init__(self) -> None:
        require_positive(duration=self.duration)
        require_whole(1, self.stems, fewest_stems=self.fewest_stems)
        require_between(0, 1, coherent=self.coherent)
        require_between(-LOUDEST, LOUDEST, threshold=self.threshold, quietest=self.quietest, loudest=self.loudest)
        if not self.quietest <= self.loudest:
            raise InputError(f"quietest: {self.quietest} LUFS is louder than loudest, {self.loudest} LUFS")


@dataclass(frozen=True, eq=False)
class StemRecipes:
    """The recipe of every mixture of a split: the active parts of stems, as they lie in an excerpt of their song.

    Each part is an event. What lies below the threshold is left out of mixtures and sources alike, so that labels and
    sources say the same. Stems keep their levels in the song, whose power is the sum of theirs.

    Args:
        rules: the distributions.
        clips_of_stem: for every stem, the split's clips as numbers in the sound bank.
        bank: where they lie.
        seed: of the data set.
        split: its part.
    """

    rules: StemRules
    clips_of_stem: Sequence[np.ndarray]
    bank: SoundBank
    seed: int
    split: Split
    _known: dict[int, np.ndarray] = field(default_factory=dict, init=False)  # active parts of clips

    # An excerpt is drawn again at most so often; one in which nothing is active is rare.
    _MOST_DRAWS = 1000

    def __post_init__(self) -> None:
        found = sum(map(len, self._sections))
        if found < sum(map(len, self.clips_of_stem)):
            raise InputError("corpus: a section has several clips of one stem; give a corpus of songs and their stems")
        if self.rules.coherent and found == len(self._sections) and self.rules.stems > 1:
            lack = f"no two stems of the {self.split} split sounded together"
            raise InputError(f"corpus: {lack}; give a corpus of songs and their stems")

    def __call__(self, index: int) -> Recipe:
        rules, generator = self.rules, generator_for(self.seed, self.split, "scene", index)
        for _ in range(self._MOST_DRAWS):
            if generator.random() < rules.coherent:
                clips: Mapping[int, int] = self._sections[generator.integers(len(self._sections))]
                moments = np.full(len(self.clips_of_stem), generator.random())
            else:
                clips = {stem: generator.choice(of).item() for stem, of in enumerate(self.clips_of_stem)}
                moments = generator.random(len(self.clips_of_stem))
            parts = {stem: part for stem, clip in clips.items() if len(part := self._within(clip, moments[stem]))}
            if parts:
                break
        else:
            lower = "lower it, or give louder songs"
            raise InputError(
                f"threshold: {rules.threshold} LUFS; no stem of the {self.split} split is as loud: {lower}"
            )
        number = generator.integers(min(rules.fewest_stems, len(parts)), len(parts), endpoint=True)
        kept = sorted(generator.choice(list(parts), number, replace=False).tolist())
        level = generator.uniform(rules.quietest, rules.loudest + 0.0)  # NumPy refuses -0
        stems = np.repeat(kept, [len(parts[stem]) for stem in kept])
        of_events = np.array([clips[stem] for stem in stems.tolist()])
        gains = level - np.array([self._song_loudness[self._song(clip)] for clip in of_events.tolist()])
        onsets, starts, lengths = np.concatenate([parts[stem] for stem in kept]).T
        return Recipe(of_events, stems, onsets, self.bank.loudness[of_events] + gains, starts, lengths=lengths)

    def _within(self, clip: int, moment: float) -> np.ndarray:
        """The active parts of an excerpt of a clip: onset in the excerpt, start in the clip, length, in seconds [P, 3].

        It begins at that share of where it can.
        """
        duration, rate = self.rules.duration, self.bank.sample_rate
        first = max(self.bank.lengths[clip] / rate - duration, 0) * moment
        begin, end = np.clip(self._active(clip), first, first + duration).T
        heard = np.rint((end - begin) * rate) >= 1
        return np.stack([begin - first, begin, end - begin], 1)[heard]

    def _active(self, clip: int) -> np.ndarray:
        """Begin and end of every active part of a clip, in seconds, [P, 2]; the last block may outlast it."""
        if clip not in self._known:
            song = SONG_LUFS - self._song_loudness[self._song(clip)]
            loud = momentary_loudness(self.bank.clip(clip), self.bank.sample_rate) + song > self.rules.threshold
            edges = np.flatnonzero(np.diff(loud, prepend=False, append=False)).reshape(-1, 2)
            self._known[clip] = edges * BLOCK_SECONDS
        return self._known[clip]

    @cached_property
    def _sections(self) -> list[dict[int, int]]:
        """The clips of every section, by stem."""
        sections: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
        for stem, clips in enumerate(self.clips_of_stem):
            for clip in clips.tolist():
                sections[self.bank.clips[clip].recording, self.bank.clips[clip].section][stem] = clip
        return list(sections.values())

    def _song(self, clip: int) -> str:
        return self.bank.clips[clip].recording

    @cached_property
    def _song_loudness(self) -> dict[str, float]:
        """Loudness of every song, in LUFS: the powers of its stems, each the mean over its sections, added up."""
        powers: dict[str, float] = defaultdict(float)
        for of_stem in self.clips_of_stem:
            for song, clips in groupby(sorted(of_stem.tolist(), key=self._song), self._song):
                sections = [*clips]
                power = 10 ** (self.bank.loudness[sections] / 10)
                powers[song] += float(np.average(power, weights=self.bank.lengths[sections]))
        return {song: float(10 * np.log10(power)) for song, power in powers.items()}


def momentary_loudness(samples: np.ndarray, rate: int) -> np.ndarray:
    """Loudness of the 400 ms around the end of every block of 10 ms, by ITU-R BS.1770-4, in LUFS.

    Args:
        samples: [T], T > 0.
        rate: in Hz.

    Returns:
        float64, a value for each begun block; -inf for silence. Beyond the clip there is silence.
    """
    size = scipy.fft.next_fast_len(len(samples) + rate, real=True)  # the filters ring for less than a second
    weights = np.sqrt(k_weighting(np.arange(size // 2 + 1, dtype=np.float32) * np.float32(rate / size)))
    weighted = scipy.fft.irfft(scipy.fft.rfft(samples, size) * weights, size)[: len(samples)]
    bounds = np.rint(np.arange(0, len(samples) / rate, BLOCK_SECONDS) * rate).astype(np.int64)
    energy = np.add.reduceat(np.square(weighted, dtype=np.float64), bounds[bounds < len(samples)])
    power = np.convolve(energy, np.full(BLOCKS, 1 / (BLOCKS * BLOCK_SECONDS * rate)))[BLOCKS // 2 :][: len(energy)]
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(power)
