"""Scenes of urban sounds with frame and clip labels: the data of the weakly supervised system."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np

from datamodules.corpora.corpus import Clip, Corpus, Fold
from datamodules.label_levels import LabelLevels
from datamodules.mixtures import MixtureDataModule
from datamodules.recipes import LOUDEST, MOST_EVENTS, PartlyLabelledRecipes, Recipes, SceneRecipes, SceneRules
from lightning_modules.batch import Split
from lightning_modules.class_tree import ClassTree
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_between, require_one_of

Draw = Literal["clips", "recordings"]

URBAN_CLASSES = ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren")


class UrbanScenes(MixtureDataModule):
    """UrbanSound8K mixtures with frame and clip labels (Pishdadian et al. 2020, section 4.1).

    Args:
        corpus: where the clips come from.
        bank_folder: folder of the sound banks, built once per corpus and sample rate.
        classes: sound classes, in the order of sources and labels.
        train_folds: folds of the corpus for training.
        validation_folds: folds for validation.
        test_folds: folds for testing. A fold belongs to one split only, and so does a recording.
        saliences: which clips take part: 1 foreground, 2 background.
        duration: of a mixture, in seconds.
        event_rate: of the zero-truncated Poisson distribution of the number of events.
        latest_onset: onsets are uniform in [0, latest_onset] seconds.
        quietest: lower end of an event's loudness, uniform, in LUFS.
        loudest: its upper end.
        train_draw: what a training event is drawn from, evenly: the class's `clips`, as published, or its `recordings`,
            and then the recording's clips. A few recordings have most of the clips.
        unlabelled_events: mean of the Poisson distribution of the number of events of other classes in a mixture, which
            the labels do not mention. None as published; the classes' events are the same for any number.
        unlabelled_level: of these events, in LU above that of the others.
        unlabelled_classes: labels of these events; all others of the corpus unless given.
        hierarchy: parents of the classes with their children, to any depth: `{siren: [police, fire], dog: [...]}`. A
            batch's labels are then those of all nodes, the classes and behind them the parents.
        level_shares: of the training and validation mixtures, those that are labelled to each depth of the hierarchy,
            from the top on, adding up to 1: `[0.9, 0.1]` labels a tenth to the classes and the others to their parents.
            All to the classes unless given. The sounds are the same for any shares.
        **common: the other settings of MixtureDataModule.
    """

    def __init__(
        self,
        corpus: Corpus,
        bank_folder: str = "runs/banks",
        classes: Sequence[str] = URBAN_CLASSES,
        train_folds: Sequence[Fold] = (1, 2, 3, 4, 5, 6),
        validation_folds: Sequence[Fold] = (7, 8),
        test_folds: Sequence[Fold] = (9, 10),
        saliences: Sequence[int] = (1, 2),
        duration: float = 4.0,
        event_rate: float = 5.0,
        latest_onset: float = 3.5,
        quietest: float = -30.0,
        loudest: float = -25.0,
        train_draw: Draw = "clips",
        unlabelled_events: float = 0.0,
        unlabelled_level: float = 0.0,
        unlabelled_classes: Sequence[str] | None = None,
        hierarchy: dict[str, Any] | None = None,
        level_shares: Sequence[float] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(
            corpus, classes, duration, train_folds, validation_folds, test_folds, bank_folder=bank_folder, **common
        )
        require_one_of(get_args(Draw), train_draw=train_draw)
        require_between(0, MOST_EVENTS, unlabelled_events=unlabelled_events)
        require_between(-LOUDEST, LOUDEST, unlabelled_level=unlabelled_level)
        if both := sorted({*classes} & {*(unlabelled_classes or ())}):
            raise InputError(f"unlabelled_classes: {', '.join(both)} among `classes`, too; leave it out of one of them")
        self.hierarchy = hierarchy
        self.tree = ClassTree(self.classes, hierarchy)
        self.parents = self.tree.parents
        depths = int(self.tree.depths.max()) + 1
        self.level_shares = [0.0] * (depths - 1) + [1.0] if level_shares is None else list(level_shares)
        for share in self.level_shares:
            require_between(0, 1, level_shares=share)
        if len(self.level_shares) != depths or abs(sum(self.level_shares) - 1) > 1e-6:
            needed = f"{depths}, one for each depth of the hierarchy, which add up to 1, are needed"
            raise InputError(f"level_shares: {self.level_shares}; {needed}")
        self.train_draw = train_draw
        self.labels = frozenset(classes)
        self.saliences = frozenset(saliences)
        self.scene_rules = SceneRules(duration, event_rate, latest_onset, quietest, loudest)
        self.unlabelled = unlabelled_events > 0
        self.unlabelled_events = unlabelled_events
        self.unlabelled_level = unlabelled_level
        self.unlabelled_classes = unlabelled_classes

    def included(self) -> list[Clip]:
        clips = super().included()
        clips += self._of_other_classes(clips) if self.unlabelled else []
        return [clip for clip in clips if clip.salience in self.saliences]

    def _of_other_classes(self, of_classes: Sequence[Clip]) -> list[Clip]:
        """Clips of recordings that lie in one fold, so that no splits share one, and that no class has a clip of.

        A class that was found in a recording may sound behind its other clips, too.
        """
        named, classes = self.unlabelled_classes, {*self.classes}
        clips = self.corpus.labelled(None if named is None else classes | {*named})
        if missing := sorted({*(named or ())} - {clip.label for clip in clips}):
            raise InputError(f"unlabelled_classes: no clip of {', '.join(missing)} in {self.corpus.name}; correct it")

        def origin(clip: Clip) -> str:  # several corpora may have a recording in common
            return self.corpus.freesound_id(clip) or clip.recording

        taken = {origin(clip) for clip in (*of_classes, *clips) if clip.label in classes}
        folds = defaultdict(set)
        for clip in clips:
            folds[origin(clip)].add(clip.fold)
        return [clip for clip in clips if (of := origin(clip)) not in taken and len(folds[of]) == 1]

    def rules(self, split: Split) -> SceneRules:
        return self.scene_rules

    def recipes(self, split: Split) -> Recipes:
        clips_of_class = [self.clip_numbers(split, label) for label in self.classes]
        scenes = SceneRecipes(self.scene_rules, clips_of_class, self.seed, split, self._shares(split, clips_of_class))
        if not self.unlabelled:
            return scenes
        others = sorted({self.bank.clips[number].label for number in self.clip_numbers(split)} - {*self.classes})
        if not others:
            raise InputError(
                f"unlabelled_events: no clip of another class in {split}_folds {sorted(self.folds[split], key=str)} of "
                f"{self.corpus.name}; choose other folds, or leave a class out of `classes`"
            )
        clips_of_other = [self.clip_numbers(split, label) for label in others]
        rules, level = self.scene_rules, self.unlabelled_level
        of_others = {"quietest": rules.quietest + level, "loudest": rules.loudest + level}
        rules = replace(rules, event_rate=self.unlabelled_events, **of_others)
        shares = self._shares(split, clips_of_other)
        unlabelled = SceneRecipes(rules, clips_of_other, self.seed, split, shares, fewest=0, purpose="unlabelled")
        return PartlyLabelledRecipes(scenes, unlabelled)

    def label_levels(self, split: Split) -> LabelLevels | None:
        return LabelLevels(self.tree, self.level_shares, self.seed, split) if self.parents else None

    def _shares(self, split: Split, clips_of_class: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        if split != "train" or self.train_draw == "clips":
            return None
        return [self._even_over_recordings(clips) for clips in clips_of_class]

    def _even_over_recordings(self, clips: np.ndarray) -> np.ndarray:
        recordings = [self.bank.clips[clip].recording for clip in clips]
        sizes = Counter(recordings)
        return np.array([1 / sizes[recording] for recording in recordings]) / len(sizes)

    def signature(self, split: Split) -> tuple[Any, ...]:
        unlabelled = (self.unlabelled_events, self.unlabelled_level) if self.unlabelled else ()
        labelled = (repr(self.hierarchy), tuple(self.level_shares)) if self.parents else ()
        return *super().signature(split), *unlabelled, *labelled

    def state_dict(self) -> dict[str, Any]:
        own = ("train_draw", "unlabelled_events", "unlabelled_level", "hierarchy", "level_shares")
        return super().state_dict() | {name: getattr(self, name) for name in own}
