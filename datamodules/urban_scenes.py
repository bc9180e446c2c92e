"""Scenes of urban sounds with frame and clip labels: the data of the weakly supervised system."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.batch import Batch
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.recipes import SceneRecipe, SceneRecipes, SceneRules, Split
from datamodules.rendering import render, render_labels
from datamodules.sampling import EpochSampler, EvaluationSampler
from datamodules.sound_bank import SoundBank, build_sound_bank
from lightning_modules.errors import InputError
from lightning_modules.spectrogram import Geometry

URBAN_CLASSES = ("car_horn", "dog_bark", "gun_shot", "jackhammer", "siren")


class SceneDataset(Dataset[Batch]):
    """The mixtures of one split, rendered on demand; usable as a plain torch data set.

    Args:
        recipes: of the split.
        mixtures: number of mixtures.
        bank: decoded clips.
        geometry: of the frame labels.
        with_sources: whether isolated sources are rendered.
    """

    def __init__(
        self, recipes: SceneRecipes, mixtures: int, bank: SoundBank, geometry: Geometry, with_sources: bool = True
    ) -> None:
        self.recipes = recipes
        self.mixtures = mixtures
        self.bank = bank
        self.geometry = geometry
        self.with_sources = with_sources
        self.classes = len(recipes.clips_of_class)
        self.samples = round(recipes.rules.duration * geometry.sample_rate)

    def __len__(self) -> int:
        return self.mixtures

    def __getitem__(self, index: int) -> Batch:
        """One mixture: the batch's fields without their first axis."""
        if not 0 <= index < self.mixtures:
            raise IndexError(f"mixture {index} of {self.mixtures}")
        return Batch(*(field[0] for field in self.__getitems__([index])))

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch at once: what torch's loader asks for when a data set can do it."""
        return render(
            [self.recipes(index) for index in indices],
            indices,
            self.bank,
            self.geometry,
            self.samples,
            self.classes,
            self.with_sources,
        )

    def class_prior(self) -> torch.Tensor:
        """γ, the share of frames in which each class is active, over all mixtures of the split exactly, [C]."""
        active = np.zeros(self.classes)
        for begin in range(0, self.mixtures, 1000):
            recipes: list[SceneRecipe] = [self.recipes(i) for i in range(begin, min(begin + 1000, self.mixtures))]
            active += render_labels(recipes, self.bank, self.geometry, self.samples, self.classes).sum((0, 2))
        return torch.tensor(active / (self.mixtures * self.geometry.frames(self.samples)), dtype=torch.float32)


def as_batch(batch: Any) -> Any:
    """Collating has nothing left to do: `SceneDataset.__getitems__` makes whole batches."""
    return batch


class UrbanScenes(LightningDataModule):
    """UrbanSound8K mixtures with frame and clip labels (Pishdadian et al. 2020, section 4.1).

    Args:
        corpus: where the clips come from.
        bank_folder: folder of the sound banks, built once per corpus and sample rate.
        classes: sound classes, in the order of sources and labels.
        sample_rate: in Hz.
        window: of the spectrogram whose frames the labels follow, in samples.
        hop: of that spectrogram, in samples.
        train_folds: folds of the corpus for training.
        validation_folds: folds for validation.
        test_folds: folds for testing. A fold belongs to one split only.
        saliences: which clips take part: 1 foreground, 2 background.
        train_mixtures: size of the training set.
        validation_mixtures: size of the validation set.
        test_mixtures: size of the test set.
        epoch_mixtures: mixtures an epoch; the whole training set unless given.
        duration: of a mixture, in seconds.
        event_rate: of the zero-truncated Poisson distribution of the number of events.
        latest_onset: onsets are uniform in [0, latest_onset] seconds.
        quietest: lower end of an event's loudness, uniform, in LUFS.
        loudest: its upper end.
        seed: the mixtures are a function of it, the split and the index.
        batch_size: mixtures a training step on each rank.
        evaluation_batch_size: mixtures a validation or test step on each rank.
        workers: loader processes; 0 renders in the training process.
        train_sources: whether training batches hold the isolated sources; only strong supervision needs them.
    """

    def __init__(
        self,
        corpus: Corpus,
        bank_folder: str = "runs/banks",
        classes: Sequence[str] = URBAN_CLASSES,
        sample_rate: int = 16000,
        window: int = 512,
        hop: int = 128,
        train_folds: Sequence[int] = (1, 2, 3, 4, 5, 6),
        validation_folds: Sequence[int] = (7, 8),
        test_folds: Sequence[int] = (9, 10),
        saliences: Sequence[int] = (1, 2),
        train_mixtures: int = 20000,
        validation_mixtures: int = 5000,
        test_mixtures: int = 5000,
        epoch_mixtures: int | None = None,
        duration: float = 4.0,
        event_rate: float = 5.0,
        latest_onset: float = 3.5,
        quietest: float = -30.0,
        loudest: float = -25.0,
        seed: int = 0,
        batch_size: int = 16,
        evaluation_batch_size: int = 16,
        workers: int = 0,
        train_sources: bool = True,
    ) -> None:
        super().__init__()
        self.corpus = corpus
        self.bank_folder = bank_folder
        self.classes = tuple(classes)
        self.geometry = Geometry(sample_rate, window, hop)
        self.folds: dict[Split, frozenset[int]] = {
            "train": frozenset(train_folds),
            "validation": frozenset(validation_folds),
            "test": frozenset(test_folds),
        }
        self.saliences = frozenset(saliences)
        self.mixtures: dict[Split, int] = {
            "train": train_mixtures,
            "validation": validation_mixtures,
            "test": test_mixtures,
        }
        self.epoch_mixtures = train_mixtures if epoch_mixtures is None else epoch_mixtures
        self.rules = SceneRules(duration, event_rate, latest_onset, quietest, loudest)
        self.seed = seed
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size
        self.workers = workers
        self.train_sources = train_sources
        # Indices of the split under evaluation whose rows exist already; set by the evaluation callback.
        self.evaluated: Collection[int] = ()
        # A resumed test may have fewer mixtures left than there are ranks.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._bank: SoundBank | None = None
        self._check_settings()

    def _check_settings(self) -> None:
        if len(set(self.classes)) != len(self.classes) or not self.classes:
            raise InputError(f"classes: {list(self.classes)}; a list of different class names is needed")
        seen: dict[int, Split] = {}
        for split, folds in self.folds.items():
            for fold in folds:
                if fold in seen:
                    raise InputError(f"{split}_folds: fold {fold} is in {seen[fold]}_folds too; splits must not share")
                seen[fold] = split
        for name, value in (
            *((f"{split}_mixtures", count) for split, count in self.mixtures.items()),
            ("epoch_mixtures", self.epoch_mixtures),
            ("batch_size", self.batch_size),
            ("evaluation_batch_size", self.evaluation_batch_size),
        ):
            if value < 1:
                raise InputError(f"{name}: {value}; at least 1 is needed")
        for name, value in (("seed", self.seed), ("workers", self.workers)):
            if value < 0:
                raise InputError(f"{name}: {value}; at least 0 is needed")

    def clips(self) -> list[Clip]:
        """The corpus's clips of these classes, folds and saliences, in the corpus's order."""
        folds = frozenset().union(*self.folds.values())
        wanted = set(self.classes)
        return [
            clip
            for clip in self.corpus.clips()
            if clip.label in wanted and clip.fold in folds and clip.salience in self.saliences
        ]

    def build(self, workers: int | None = None) -> SoundBank:
        """Build the sound bank, or open it where it is complete. Not to be called by several ranks at once."""
        self._bank = build_sound_bank(
            self.corpus, self.clips(), self.geometry.sample_rate, self.bank_folder, workers=workers
        )
        self.prepare_data()
        return self._bank

    @property
    def bank(self) -> SoundBank:
        """The sound bank, opened at first use.

        Raises:
            InputError: it has not been built; the message says how to.
        """
        if self._bank is None:
            self._bank = SoundBank.open(self.corpus, self.clips(), self.geometry.sample_rate, self.bank_folder)
        return self._bank

    def prepare_data(self) -> None:
        """Only verifies that the bank holds every class of every split: building is a stage of its own, before any
        process group exists.
        """
        for split, folds in self.folds.items():
            if folds:
                self.recipes(split)

    def recipes(self, split: Split) -> SceneRecipes:
        """The recipes of a split.

        Raises:
            InputError: a class has no clip in the split.
        """
        clips_of_class = [
            np.array(
                [
                    number
                    for number, clip in enumerate(self.bank.clips)
                    if clip.label == label and clip.fold in self.folds[split]
                ],
                dtype=np.int64,
            )
            for label in self.classes
        ]
        for label, clips in zip(self.classes, clips_of_class, strict=True):
            if not len(clips):
                raise InputError(
                    f"{label}: no clip in {split}_folds {sorted(self.folds[split])} of {self.corpus.name}; "
                    f"choose other folds or leave the class out of `classes`"
                )
        return SceneRecipes(self.rules, clips_of_class, self.seed, split)

    def dataset(self, split: Split, with_sources: bool = True) -> SceneDataset:
        """The mixtures of a split as a plain torch data set."""
        return SceneDataset(self.recipes(split), self.mixtures[split], self.bank, self.geometry, with_sources)

    def class_prior(self) -> torch.Tensor:
        """γ of the training recipes, [C]."""
        return self.dataset("train").class_prior()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training batches; a last batch that does not fill is left out."""
        ranks, rank = self._ranks()
        sampler = EpochSampler(self.mixtures["train"], self.epoch_mixtures, self.seed, rank, ranks)
        if len(sampler) < self.batch_size:
            raise InputError(
                f"epoch_mixtures: {self.epoch_mixtures} over {ranks} ranks do not fill a batch of {self.batch_size}"
            )
        return self._loader(self.dataset("train", self.train_sources), sampler, self.batch_size, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The whole validation set."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test mixtures that have no row yet."""
        return self._evaluation_loader("test", self.evaluated)

    def test_identity(self) -> tuple[Any, ...]:
        """What the test mixtures are a function of, as plain values."""
        folds = tuple(sorted(self.folds["test"]))
        bank = self.bank.path.name
        return bank, self.classes, self.geometry, self.rules, self.seed, folds, self.mixtures["test"]

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The whole test set."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: Split, evaluated: Collection[int] = ()) -> DataLoader[Batch]:
        ranks, rank = self._ranks()
        if self.mixtures[split] < ranks:
            raise InputError(
                f"{split}_mixtures: {self.mixtures[split]} for {ranks} ranks; each rank needs one at least"
            )
        sampler = EvaluationSampler(self.mixtures[split], rank, ranks, evaluated)
        return self._loader(self.dataset(split), sampler, self.evaluation_batch_size, drop_last=False)

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(
        self, dataset: SceneDataset, sampler: EpochSampler | EvaluationSampler, batch_size: int, drop_last: bool
    ) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.workers,
            collate_fn=as_batch,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
        )
