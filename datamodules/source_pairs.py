"""Mixtures of sources of one domain: the data of the deep clustering models."""

from collections.abc import Sequence
from typing import Any, get_args

from datamodules.corpora.corpus import Corpus, Fold
from datamodules.mixtures import MixtureDataModule
from datamodules.pair_recipes import PairRecipes, PairRules
from lightning_modules.batch import Split
from lightning_modules.errors import InputError


class SourcePairs(MixtureDataModule):
    """Two sources, or more, that start together: speakers, sound classes, or the stems of songs (Liu et al. 2020).

    Args:
        corpus: where the clips come from.
        domain: what a model trained on these mixtures is called.
        sources: of a mixture, Q.
        labels: labels of the corpus that take part; all unless given.
        stems: labels that make up a mixture, in the order of the sources. Unless given, sources are of different labels
            drawn at random: two speakers, two sound classes.
        train_folds: folds of the corpus for training.
        validation_folds: folds for validation.
        test_folds: folds for testing. A fold belongs to one split only, and so does a recording.
        duration: of a mixture, in seconds. Shorter clips end in silence, longer ones are cut from anywhere.
        quietest: lower end of the first source's loudness relative to each other source, uniform, in LU of whole clips.
        loudest: its upper end.
        train_quietest: that lower end in training mixtures; the same unless given. A model whose first
            source is always so much louder tells it by its level, in every mixture, and is sure of it.
        train_loudest: that upper end in training mixtures; the same unless given.
        train_coherent: share of the training mixtures whose stems sounded together; the others' are of different songs.
        evaluation_coherent: that share of the validation and test mixtures.
        fewest_sources: where given, a mixture holds from so many to `sources` sources, each number as likely.
        **common: the other settings of MixtureDataModule.
    """

    def __init__(
        self,
        corpus: Corpus,
        domain: str,
        sources: int = 2,
        labels: Sequence[str] | None = None,
        stems: Sequence[str] | None = None,
        train_folds: Sequence[Fold] = ("train",),
        validation_folds: Sequence[Fold] = ("validation",),
        test_folds: Sequence[Fold] = ("test",),
        duration: float = 5.0,
        quietest: float = -2.5,
        loudest: float = 2.5,
        train_coherent: float = 0.0,
        evaluation_coherent: float = 0.0,
        train_quietest: float | None = None,
        train_loudest: float | None = None,
        fewest_sources: int | None = None,
        **common: Any,
    ) -> None:
        of_training = PairRules(
            sources,
            duration,
            quietest if train_quietest is None else train_quietest,
            loudest if train_loudest is None else train_loudest,
            train_coherent,
            fewest_sources,
        )
        of_evaluation = PairRules(sources, duration, quietest, loudest, evaluation_coherent, fewest_sources)
        rules: dict[Split, PairRules] = {
            split: of_training if split == "train" else of_evaluation for split in get_args(Split)
        }
        if stems is None and (coherent := max(train_coherent, evaluation_coherent)):
            raise InputError(f"coherent: {coherent}; only stems sound together: set it to 0, or give stems")
        if stems is not None and not len(set(stems)) == len(stems) == sources:
            raise InputError(f"stems: {list(stems)}; {sources} different labels are needed, one for each source")
        if stems is not None and fewest_sources is not None:
            raise InputError(f"fewest_sources: {fewest_sources}; a mixture of stems has all of them: leave it out")
        left_out = [stem for stem in stems or () if labels is not None and stem not in labels]
        if left_out:
            raise InputError(f"labels: {list(labels or ())} leave out stems ({', '.join(left_out)}); give stems alone")
        names = [f"source_{number}" for number in range(1, sources + 1)] if stems is None else stems
        super().__init__(corpus, names, duration, train_folds, validation_folds, test_folds, **common)
        self.domain = domain
        self.sources = sources
        self.fewest_sources = fewest_sources
        self.labels = None if (wanted := stems or labels) is None else frozenset(wanted)
        self.stems = None if stems is None else tuple(stems)
        self._rules = rules

    def rules(self, split: Split) -> PairRules:
        return self._rules[split]

    def recipes(self, split: Split) -> PairRecipes:
        for label in sorted(self.labels or ()):
            self.clip_numbers(split, label)  # each has one
        return PairRecipes(self.rules(split), self.clip_numbers(split), self.bank, self.stems, self.seed, split)
