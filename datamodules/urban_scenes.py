"""Scenes of urban sounds with frame and clip labels: the data of the weakly supervised system."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from datamodules.corpora.corpus import Clip, Corpus, Fold
from datamodules.mixtures import MixtureDataModule
from datamodules.recipes import SceneRecipes, SceneRules
from lightning_modules.batch import Split
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_one_of

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
        **common: Any,
    ) -> None:
        super().__init__(
            corpus, classes, duration, train_folds, validation_folds, test_folds, bank_folder=bank_folder, **common
        )
        require_one_of(get_args(Draw), train_draw=train_draw)
        self.train_draw = train_draw
        self.labels = frozenset(classes)
        self.saliences = frozenset(saliences)
        self.scene_rules = SceneRules(duration, event_rate, latest_onset, quietest, loudest)

    def includes(self, clip: Clip) -> bool:
        return clip.salience in self.saliences

    def rules(self, split: Split) -> SceneRules:
        return self.scene_rules

    def recipes(self, split: Split) -> SceneRecipes:
        clips_of_class = [self.clip_numbers(split, label) for label in self.classes]
        for label, clips in zip(self.classes, clips_of_class, strict=True):
            if not len(clips):
                raise InputError(
                    f"{label}: no clip in {split}_folds {sorted(self.folds[split], key=str)} of {self.corpus.name}; "
                    f"choose other folds or leave the class out of `classes`"
                )
        shares = None
        if split == "train" and self.train_draw == "recordings":
            shares = [self._even_over_recordings(clips) for clips in clips_of_class]
        return SceneRecipes(self.scene_rules, clips_of_class, self.seed, split, shares)

    def _even_over_recordings(self, clips: np.ndarray) -> np.ndarray:
        recordings = [self.bank.clips[clip].recording for clip in clips]
        sizes = Counter(recordings)
        return np.array([1 / sizes[recording] for recording in recordings]) / len(sizes)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "train_draw": self.train_draw}
