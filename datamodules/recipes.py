"""Which events a mixture holds, when and how loud: a pure function of (seed, split, index)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from lightning_modules.batch import Split
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_between, require_positive

# Levels beyond ±200 dB have no place beside each other in single precision; 1,000 events at a time are noise.
LOUDEST, MOST_EVENTS = 200.0, 1000.0
Purpose = Literal["scene", "order", "augmentation", "unlabelled", "labels", "programme"]


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
        require_positive(duration=self.duration, event_rate=self.event_rate)
        require_between(0, MOST_EVENTS, event_rate=self.event_rate)
        require_between(-LOUDEST, LOUDEST, quietest=self.quietest, loudest=self.loudest)
        require_between(0, self.duration, latest_onset=self.latest_onset)
        if self.latest_onset == self.duration:
            raise InputError(f"latest_onset: {self.latest_onset}; less than the duration ({self.duration} s) is needed")
        if not self.quietest <= self.loudest:
            raise InputError(f"quietest: {self.quietest} LUFS is louder than loudest, {self.loudest} LUFS")


class Variants(NamedTuple):
    """How the events of one mixture are played.

    Attributes:
        speeds: times as fast as recorded, [E].
        tilts: of the spectrum, in dB an octave, [E].
        signs: 1, or -1 where the polarity is turned, [E].
    """

    speeds: np.ndarray
    tilts: np.ndarray
    signs: np.ndarray


class Recipe(NamedTuple):
    """The events of one mixture.

    Attributes:
        clips: each event's clip, as its number in the sound bank, [E].
        classes: the source that each event belongs to, as its place in the list of classes or sources; behind the last
            of them where it is of none, [E].
        onsets: in seconds, [E].
        loudness: of the whole clip, in LUFS, [E].
        starts: where in its clip each event begins, in seconds, [E].
        variants: how each event is played; as recorded unless given.
        lengths: in seconds as recorded, [E]; each event is the rest of its clip unless given.
    """

    clips: np.ndarray
    classes: np.ndarray
    onsets: np.ndarray
    loudness: np.ndarray
    starts: np.ndarray
    variants: Variants | None = None
    lengths: np.ndarray | None = None


Recipes = Callable[[int], Recipe]  # of every mixture of a split, by its index


def generator_for(seed: int, split: Split, purpose: Purpose, number: int) -> np.random.Generator:
    """A generator that depends on what is drawn and on nothing else: no global state, worker or rank.

    Args:
        seed: of the data set.
        split: its part.
        purpose: what is drawn; different purposes never share random numbers.
        number: which one of them, the mixture's index for example.
    """
    identity = [seed, get_args(Split).index(split), get_args(Purpose).index(purpose), number]
    # What `default_rng` makes of it today, in three quarters of the time and whatever it will make tomorrow.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(identity)))


@dataclass(frozen=True)
class SceneRecipes:
    """The recipe of every mixture of a split.

    Args:
        rules: the distributions.
        clips_of_class: for every class, the split's clips as numbers in the sound bank.
        seed: of the data set.
        split: its part.
        shares_of_class: for every class, how likely each of its clips is, adding up to 1; equally unless given.
        fewest: events of a mixture; where fewer are drawn, it is drawn again.
        purpose: of the random numbers.
    """

    rules: SceneRules
    clips_of_class: Sequence[np.ndarray]
    seed: int
    split: Split
    shares_of_class: Sequence[np.ndarray] | None = None
    fewest: int = 1
    purpose: Purpose = "scene"

    # A scene is drawn again at most so often; one that fits comes in a few draws unless the corpus is far too small.
    _MOST_DRAWS = 10_000

    def __call__(self, index: int) -> Recipe:
        rules = self.rules
        generator = generator_for(self.seed, self.split, self.purpose, index)
        classes = self._draw_classes(generator)
        clips = np.empty_like(classes)
        for class_index, events in sorted(Counter(classes.tolist()).items()):
            available = self.clips_of_class[class_index]
            count = len(available)
            drawn: np.ndarray | np.integer
            if self.shares_of_class is not None:
                drawn = generator.choice(count, events, replace=False, p=self.shares_of_class[class_index])
            else:
                # One of N is the same draw as one without replacement, in a fifth of the time.
                drawn = generator.integers(count) if events == 1 else generator.choice(count, events, replace=False)
            clips[classes == class_index] = available[drawn]
        # NumPy refuses an upper end of -0: adding 0 makes it 0.
        onsets = generator.uniform(0, rules.latest_onset + 0.0, len(classes))
        loudness = generator.uniform(rules.quietest, rules.loudest + 0.0, len(classes))
        return Recipe(clips, classes, onsets, loudness, starts=np.zeros(len(classes)))

    def _draw_classes(self, generator: np.random.Generator) -> np.ndarray:
        # Drawing again what does not fit is exact for a truncated distribution: a scene of too few events, or one that
        # asks for more clips of a class than there are (a clip occurs once in a mixture: matters for tiny corpora).
        available = np.array([len(clips) for clips in self.clips_of_class])
        for _ in range(self._MOST_DRAWS):
            classes = generator.integers(len(available), size=generator.poisson(self.rules.event_rate))
            if len(classes) >= self.fewest and (np.bincount(classes, minlength=len(available)) <= available).all():
                return classes
        setting = "event_rate" if self.purpose == "scene" else "unlabelled_events"
        raise InputError(
            f"{setting}: {self.rules.event_rate} events a mixture, but the classes have only {available.tolist()} "
            f"clips in the {self.split} split; lower the rate or give more clips"
        )


@dataclass(frozen=True)
class PartlyLabelledRecipes:
    """The recipes of a split with further events, which belong to no class: the classes' events are as without them.

    Args:
        labelled: events of the classes.
        unlabelled: the further events, drawn by random numbers of their own.
    """

    labelled: SceneRecipes
    unlabelled: SceneRecipes

    def __call__(self, index: int) -> Recipe:
        recipe, others = self.labelled(index), self.unlabelled(index)
        others = others._replace(classes=np.full_like(others.classes, len(self.labelled.clips_of_class)))
        # Neither has variants or lengths.
        return Recipe._make((*map(np.concatenate, zip(recipe[:5], others[:5], strict=True)), None, None))
