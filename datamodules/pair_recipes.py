"""Which sources a pair holds, from where in their clips and how loud: a pure function of (seed, split, index)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from datamodules.recipes import LOUDEST, Recipe, generator_for
from datamodules.sound_bank import SoundBank
from lightning_modules.batch import Split
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import MOST_SOURCES, require_between, require_positive, require_whole


@dataclass(frozen=True)
class PairRules:
    """How mixtures of a few sources are drawn (Liu et al. 2020, section 4).

    Attributes:
        sources: of a mixture, Q.
        duration: of a mixture, in seconds.
        quietest: lower end of the first source's loudness relative to each other source, uniform, in LU of whole clips.
        loudest: its upper end.
        coherent: share of mixtures whose sources sounded together; for stems only.
        fewest_sources: where given, a mixture holds from so many to Q sources, each number as likely; the others of its
            Q are silent.
    """

    sources: int = 2
    duration: float = 5.0
    quietest: float = -2.5
    loudest: float = 2.5
    coherent: float = 0.0
    fewest_sources: int | None = None

    def __post_init__(self) -> None:
        require_whole(2, MOST_SOURCES, sources=self.sources)
        if self.fewest_sources is not None:
            require_whole(2, self.sources, fewest_sources=self.fewest_sources)
        require_positive(duration=self.duration)
        require_between(-LOUDEST, LOUDEST, quietest=self.quietest, loudest=self.loudest)
        require_between(0, 1, coherent=self.coherent)
        if not self.quietest <= self.loudest:
            raise InputError(f"quietest: {self.quietest} dB is louder than loudest, {self.loudest} dB")


@dataclass(frozen=True, eq=False)
class PairRecipes:
    """The recipe of every mixture of a split: Q clips that start together, of different labels and recordings.

    Without stems the labels (speakers, sound classes) are drawn, each as likely as the others. With stems there is one
    source of each, in their order; coherent ones are of one section of one recording, from the same moment on.

    Args:
        rules: the distributions.
        clips: the split's clips as numbers in the sound bank, [N].
        bank: where they lie.
        stems: labels of the sources, in their order; drawn unless given.
        seed: of the data set.
        split: its part.
    """

    rules: PairRules
    clips: np.ndarray
    bank: SoundBank
    stems: Sequence[str] | None
    seed: int
    split: Split

    # LUFS of the first source: it leaves room for the sum of a few.
    _FIRST_LOUDNESS = -25.0
    # A draw is repeated at most so often; different recordings come at once unless nearly all clips are of one.
    _MOST_DRAWS = 1000

    def __post_init__(self) -> None:
        sources, labels = self.rules.sources, self._clips_of_label
        lack = ""
        if missing := [label for label in self.stems or () if label not in labels]:
            lack = f"no clip of {', '.join(missing)}; give other folds, or a corpus that has them"
        elif len(labels) < sources:
            lack = f"{len(labels)} of the {sources} labels that a mixture needs; give other folds, or another corpus"
        elif self.rules.coherent and not len(self._sections):
            lack = f"no section has all stems ({', '.join(self.stems or ())}); set coherent to 0"
        if lack:
            raise InputError(f"{self.split} split: {lack}")
        if self.rules.coherent < 1:
            # Now rather than in the middle of a training.
            self._draw_apart(generator_for(self.seed, self.split, "scene", 0))

    @cached_property
    def _clips_of_label(self) -> dict[str, np.ndarray]:
        clips: dict[str, list[int]] = defaultdict(list)
        for number in self.clips.tolist():
            clips[self.bank.clips[number].label].append(number)
        return {label: np.array(numbers, np.int64) for label, numbers in clips.items()}

    @cached_property
    def _sections(self) -> np.ndarray:
        """Clips that sounded together, a row for each section that has all stems, [S, Q]."""
        stems = list(self.stems or ())
        rows: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
        for number in self.clips.tolist():
            clip = self.bank.clips[number]
            rows[clip.recording, clip.section][clip.label] = number
        whole = [[row[stem] for stem in stems] for row in rows.values() if row.keys() >= set(stems)]
        return np.array(whole, np.int64).reshape(-1, self.rules.sources) if stems else np.zeros((0, 0), np.int64)

    def __call__(self, index: int) -> Recipe:
        rules = self.rules
        generator = generator_for(self.seed, self.split, "scene", index)
        coherent = generator.random() < rules.coherent
        clips = self._sections[generator.integers(len(self._sections))] if coherent else self._draw_apart(generator)
        if rules.fewest_sources is not None:
            clips = clips[: generator.integers(rules.fewest_sources, rules.sources, endpoint=True)]
        # Clips longer than the mixture are cut from anywhere; those that sounded together, at the same moment.
        spare = np.maximum(self.bank.lengths[clips] / self.bank.sample_rate - rules.duration, 0)
        moments = generator.random(len(clips))
        starts = np.full(len(clips), moments[0] * spare.min()) if coherent else moments * spare
        loudness = np.full(len(clips), self._FIRST_LOUDNESS)
        loudness[1:] -= generator.uniform(rules.quietest, rules.loudest + 0.0, len(clips) - 1)  # NumPy refuses -0
        return Recipe(clips, np.arange(len(clips)), np.zeros(len(clips)), loudness, starts)

    def _draw_apart(self, generator: np.random.Generator) -> np.ndarray:
        labels = list(self._clips_of_label)
        for _ in range(self._MOST_DRAWS):
            drawn = generator.choice(len(labels), self.rules.sources, replace=False)
            choices = [self._clips_of_label[label] for label in self.stems or (labels[number] for number in drawn)]
            clips = [int(clips[generator.integers(len(clips))]) for clips in choices]
            if len({self.bank.clips[number].recording for number in clips}) == len(clips):
                return np.array(clips)
        raise InputError(f"{self.split} split: no {self.rules.sources} labels of different recordings; give more clips")
