"""Excerpts of songs with frame and clip labels of their stems: music for the weakly supervised system."""

from collections.abc import Sequence
from typing import Any, get_args

from datamodules.augmentation import Augmentation
from datamodules.corpora.corpus import Corpus, Fold
from datamodules.corpora.musdb18 import STEMS
from datamodules.mixtures import MixtureDataModule
from datamodules.stem_recipes import StemRecipes, StemRules
from lightning_modules.batch import Split
from lightning_modules.errors import InputError


class StemScenes(MixtureDataModule):
    """Excerpts of songs, whose stems are the classes, active where they are loud enough to be heard.

    Args:
        corpus: of stems that sounded together, such as MUSDB18 without an accompaniment.
        classes: its labels, in the order of sources and labels.
        train_folds: folds of the corpus for training.
        validation_folds: folds for validation.
        test_folds: folds for testing. A fold belongs to one split only, and so does a recording.
        duration: of a mixture, in seconds. Shorter sections end in silence, longer ones are cut from anywhere.
        threshold: a stem is active where the loudness of 400 ms exceeds it, in LUFS, with its song at -23 LUFS.
        quietest: lower end of the song's loudness in the mixture, uniform, in LUFS.
        loudest: its upper end.
        train_fewest_stems: of the stems that are active in a training excerpt, from so many to all sound, each number
            as likely; the others are muted. All sound unless given, as they do in validation and test.
        train_coherent: share of the training mixtures whose stems are of one song, as they are in validation and test.
        **common: the other settings of MixtureDataModule. Of the augmentation, `speed` and `start` would take stems out
            of their song's time: they stay at 0.
    """

    def __init__(
        self,
        corpus: Corpus,
        classes: Sequence[str] = STEMS,
        train_folds: Sequence[Fold] = ("train",),
        validation_folds: Sequence[Fold] = ("validation",),
        test_folds: Sequence[Fold] = ("test",),
        duration: float = 4.0,
        threshold: float = -40.0,
        quietest: float = -30.0,
        loudest: float = -25.0,
        train_fewest_stems: int | None = None,
        train_coherent: float = 1.0,
        augmentation: Augmentation | None = None,
        **common: Any,
    ) -> None:
        if augmentation is not None and (augmentation.speed or augmentation.start):
            raise InputError("augmentation: speed and start take stems out of their song's time; set both to 0")
        folds = train_folds, validation_folds, test_folds
        super().__init__(corpus, classes, duration, *folds, augmentation=augmentation, **common)
        self.labels = frozenset(classes)
        stems, levels = len(self.classes), (threshold, quietest, loudest)
        fewest = stems if train_fewest_stems is None else train_fewest_stems
        of_evaluation = StemRules(stems, duration, *levels, stems)
        of_training = StemRules(stems, duration, *levels, fewest, train_coherent)
        self._rules: dict[Split, StemRules] = dict.fromkeys(get_args(Split), of_evaluation) | {"train": of_training}

    def rules(self, split: Split) -> StemRules:
        return self._rules[split]

    def recipes(self, split: Split) -> StemRecipes:
        clips = [self.clip_numbers(split, label) for label in self.classes]
        recipes = StemRecipes(self.rules(split), clips, self.bank, self.seed, split)
        recipes(0)  # what is too soft for the threshold is told now rather than in the middle of a training
        return recipes
