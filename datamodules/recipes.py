"""Which events a mixture holds, when and how loud: a pure function of (seed, split, index)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np

from datamodules.batch import Split
from datamodules.sound_bank import SoundBank
from lightning_modules.errors import InputError

Purpose = Literal["scene", "order"]


@dataclass(frozen=True)
class SceneRules:
    """How scenes are drawn (Pishdadian et al. 2020, section 4.1, completed from its published statistics).

    Attributes:
        duration: of a mixture, in seconds.
        event_rate: of the zero-truncated Poisson distribution of the number of events.
        latest_onset: onsets are uniform in [0, latest_onset] seconds; an event is cut at the end of the mixture.
        quietest: lower end of the events' loudness, uniform, in LUFS of the whole clip.
        loudest: its upper end.
    """

    duration: float = 4.0
    event_rate: float = 5.0
    latest_onset: float = 3.5
    quietest: float = -30.0
    loudest: float = -25.0

    def __post_init__(self) -> None:
        if self.duration <= 0:
            raise InputError(f"duration: {self.duration}; seconds above 0 are needed")
        if self.event_rate <= 0:
            raise InputError(f"event_rate: {self.event_rate}; a Poisson rate above 0 is needed")
        if not 0 <= self.latest_onset < self.duration:
            raise InputError(
                f"latest_onset: {self.latest_onset} s; between 0 and the duration ({self.duration} s) is needed"
            )
        if not self.quietest <= self.loudest:
            raise InputError(f"quietest: {self.quietest} LUFS is louder than loudest, {self.loudest} LUFS")


class Recipe(NamedTuple):
    """The events of one mixture.

    Attributes:
        clips: each event's clip, as its number in the sound bank, [E].
        classes: the source that each event belongs to, as its place in the list of classes or sources, [E].
        onsets: in seconds, [E].
        loudness: of the whole clip, in LUFS, [E].
        starts: where in its clip each event begins, in seconds, [E].
    """

    clips: np.ndarray
    classes: np.ndarray
    onsets: np.ndarray
    loudness: np.ndarray
    starts: np.ndarray


class Recipes(Protocol):
    """The recipe of every mixture of a split."""

    def __call__(self, index: int) -> Recipe:
        """The recipe of the mixture with that index."""
        ...


def identity_generator(seed: int, split: Split, purpose: Purpose, number: int) -> np.random.Generator:
    """A generator that depends on what is drawn and on nothing else: no global state, worker or rank.

    Args:
        seed: of the data set.
        split: its part.
        purpose: what is drawn; different purposes never share random numbers.
        number: which one of them, the mixture's index for example.
    """
    return np.random.default_rng([seed, get_args(Split).index(split), get_args(Purpose).index(purpose), number])


@dataclass(frozen=True)
class SceneRecipes:
    """The recipe of every mixture of a split.

    Args:
        rules: the distributions.
        clips_of_class: for every class, the split's clips as numbers in the sound bank.
        seed: of the data set.
        split: its part.

    Raises:
        InputError: scenes ask for many more clips of a class than there are.
    """

    rules: SceneRules
    clips_of_class: Sequence[np.ndarray]
    seed: int
    split: Split

    # A scene is drawn again at most so often; one that fits comes in a few draws unless the corpus is far too small.
    _MOST_DRAWS = 10_000

    def __call__(self, index: int) -> Recipe:
        """The recipe of the mixture with that index."""
        rules = self.rules
        generator = identity_generator(self.seed, self.split, "scene", index)
        classes = self._draw_classes(generator)
        clips = np.empty_like(classes)
        for class_index in np.unique(classes):
            events = np.flatnonzero(classes == class_index)
            clips[events] = generator.choice(self.clips_of_class[class_index], len(events), replace=False)
        onsets = generator.uniform(0, rules.latest_onset, len(classes))
        loudness = generator.uniform(rules.quietest, rules.loudest, len(classes))
        return Recipe(clips, classes, onsets, loudness, starts=np.zeros(len(classes)))

    def _draw_classes(self, generator: np.random.Generator) -> np.ndarray:
        # Drawing again what does not fit is exact for a truncated distribution: a scene without events, or one that
        # asks for more clips of a class than there are (a clip occurs once in a mixture: matters for tiny corpora).
        available = [len(clips) for clips in self.clips_of_class]
        for _ in range(self._MOST_DRAWS):
            classes = generator.integers(len(available), size=generator.poisson(self.rules.event_rate))
            if len(classes) and np.all(np.bincount(classes, minlength=len(available)) <= available):
                return classes
        raise InputError(
            f"event_rate: {self.rules.event_rate} events a mixture, but the classes have only {available} clips in the "
            f"{self.split} split; lower the rate or give more clips"
        )


@dataclass(frozen=True)
class PairRules:
    """How mixtures of a fixed number of sources are drawn (Liu et al. 2020, section 4).

    Attributes:
        sources: of a mixture, Q.
        duration: of a mixture, in seconds.
        quietest: lower end of the first source's loudness relative to each other source, uniform, in LU of whole clips.
        loudest: its upper end.
        coherent: share of mixtures whose sources sounded together; for stems only.
    """

    sources: int = 2
    duration: float = 5.0
    quietest: float = -2.5
    loudest: float = 2.5
    coherent: float = 0.0

    def __post_init__(self) -> None:
        if self.sources < 2:
            raise InputError(f"sources: {self.sources}; at least 2 are needed")
        if self.duration <= 0:
            raise InputError(f"duration: {self.duration}; seconds above 0 are needed")
        if not self.quietest <= self.loudest:
            raise InputError(f"quietest: {self.quietest} dB is louder than loudest, {self.loudest} dB")
        if not 0 <= self.coherent <= 1:
            raise InputError(f"coherent: {self.coherent}; a share between 0 and 1 is needed")

    def check_stems(self, stems: Sequence[str] | None) -> None:
        """Refuse stems that are not one for each source, and coherent mixtures without stems.

        Raises:
            InputError: they do not go with these rules.
        """
        if stems is None and self.coherent:
            raise InputError(f"coherent: {self.coherent}; only stems sound together: set it to 0, or give stems")
        if stems is not None and not len(set(stems)) == len(stems) == self.sources:
            raise InputError(f"stems: {list(stems)}; {self.sources} different labels are needed, one for each source")


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

    Raises:
        InputError: there are too few labels, recordings or sections for a mixture.
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
        rules, labels = self.rules, self._clips_of_label
        rules.check_stems(self.stems)
        missing = [label for label in self.stems or () if label not in labels]
        if missing or len(labels) < rules.sources:
            lack = (
                f"no clip of {', '.join(missing)}"
                if missing
                else f"{len(labels)} of the {rules.sources} labels that a mixture needs"
            )
            raise InputError(f"{self.split} split: {lack}; give other folds, or a corpus that has them")
        if rules.coherent and not len(self._sections):
            stems = ", ".join(self.stems or ())
            raise InputError(f"{self.split} split: no section has all stems ({stems}); set coherent to 0")
        if rules.coherent < 1:
            # Now rather than in the middle of a training.
            self._draw_apart(identity_generator(self.seed, self.split, "scene", 0))

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
        """The recipe of the mixture with that index."""
        rules = self.rules
        generator = identity_generator(self.seed, self.split, "scene", index)
        coherent = generator.random() < rules.coherent
        clips = generator.choice(self._sections) if coherent else self._draw_apart(generator)
        # Clips longer than the mixture are cut from anywhere; those that sounded together, at the same moment.
        spare = np.maximum(self.bank.lengths[clips] / self.bank.sample_rate - rules.duration, 0)
        moments = generator.random(len(clips))
        starts = np.full(len(clips), moments[0] * spare.min()) if coherent else moments * spare
        loudness = np.full(rules.sources, self._FIRST_LOUDNESS)
        loudness[1:] -= generator.uniform(rules.quietest, rules.loudest, rules.sources - 1)
        return Recipe(clips, np.arange(rules.sources), np.zeros(rules.sources), loudness, starts)

    def _draw_apart(self, generator: np.random.Generator) -> np.ndarray:
        labels = list(self._clips_of_label)
        for _ in range(self._MOST_DRAWS):
            drawn = generator.choice(len(labels), self.rules.sources, replace=False)
            chosen = self.stems or [labels[number] for number in drawn]
            clips = np.array([generator.choice(self._clips_of_label[label]) for label in chosen])
            if len({self.bank.clips[number].recording for number in clips}) == len(clips):
                return clips
        raise InputError(f"{self.split} split: no {self.rules.sources} labels of different recordings; give more clips")
