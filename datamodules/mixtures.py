"""What the data modules of both systems share: mixtures rendered from a sound bank, by split and index."""

import hashlib
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader

from datamodules.augmentation import Augmentation, AugmentedRecipes
from datamodules.corpora.audio_file import LONGEST_SECONDS
from datamodules.corpora.corpus import Clip, Corpus, Fold
from datamodules.label_levels import LabelLevels
from datamodules.loader_worker import fail_in_sight
from datamodules.mixture_dataset import MixtureDataset
from datamodules.recipes import Recipes
from datamodules.sampling import EpochLoader, EpochSampler
from datamodules.sound_bank import SoundBank, bank_path, build_sound_bank
from lightning_modules.batch import Batch, Split
from lightning_modules.errors import InputError, listed
from lightning_modules.setting_checks import require_between, require_class_names, require_unchanged, require_whole
from lightning_modules.spectrogram import HIGHEST_RATE, LOWEST_RATE, Geometry

MOST_MIXTURES = 100_000_000  # their order is drawn in memory
MOST_WORKERS = 1000
LARGEST_SEED = 2**31 - 1  # beside it, an index fits into the 64 bits that excerpts are drawn by


def require_measurable(geometry: Geometry, duration: float) -> None:
    """Raise InputError where loudness cannot be measured at the rate, or a mixture is shorter than a window."""
    require_whole(LOWEST_RATE, HIGHEST_RATE, sample_rate=geometry.sample_rate)
    require_between(geometry.window / geometry.sample_rate, LONGEST_SECONDS, duration=duration)


def _listed(values: Collection[Fold]) -> str:
    """Folds or labels in their order."""
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    # The fold "1" is another than 1.
    names = (f'"{value}"' if isinstance(value, str) and value.isdigit() else str(value) for value in ordered)
    return f"[{listed(names, most=50)}]"


class MixtureDataModule(LightningDataModule, ABC):
    """Mixtures of a corpus's clips, a function of (seed, split, index).

    Subclasses say which clips they include (`labels`, `included`), how mixtures are drawn (`recipes`), and what a
    mixture is a function of besides (`rules`).

    Args:
        corpus: where the clips come from.
        classes: names of the sources, in their order.
        duration: of a mixture, in seconds.
        train_folds: folds of the corpus for training.
        validation_folds: folds for validation.
        test_folds: folds for testing. A fold belongs to one split only, and so does a recording.
        bank_folder: folder of the sound banks, built once per corpus and sample rate.
        sample_rate: in Hz.
        window: of the spectrogram whose frames the labels follow, in samples.
        hop: of that spectrogram, in samples.
        train_mixtures: size of the training set.
        validation_mixtures: size of the validation set.
        test_mixtures: size of the test set.
        epoch_mixtures: mixtures an epoch, over all ranks; the whole training set unless given.
        seed: the mixtures are a function of it, the split and the index.
        batch_size: mixtures a training step on each rank.
        evaluation_batch_size: mixtures a validation or test step on each rank.
        workers: loader processes; 0 renders in the training process.
        train_sources: whether training batches hold the isolated sources; weak labels do without.
        augmentation: how events of training mixtures differ from their recordings; not at all unless given.
        verify_bank: compare all samples of a bank with its checksums when it is opened.
    """

    labels: frozenset[str] | None = None  # of the corpus, those of the sources; all unless a subclass says which
    unlabelled = False  # whether mixtures may hold events of no class

    def __init__(
        self,
        corpus: Corpus,
        classes: Sequence[str],
        duration: float,
        train_folds: Sequence[Fold],
        validation_folds: Sequence[Fold],
        test_folds: Sequence[Fold],
        bank_folder: str = "runs/banks",
        sample_rate: int = 16000,
        window: int = 512,
        hop: int = 128,
        train_mixtures: int = 20000,
        validation_mixtures: int = 5000,
        test_mixtures: int = 5000,
        epoch_mixtures: int | None = None,
        seed: int = 0,
        batch_size: int = 16,
        evaluation_batch_size: int = 16,
        workers: int = 0,
        train_sources: bool = True,
        augmentation: Augmentation | None = None,
        verify_bank: bool = False,
    ) -> None:
        super().__init__()
        self.corpus = corpus
        self.bank_folder = bank_folder
        self.verify_bank = verify_bank
        self.classes = tuple(classes)
        self.geometry = Geometry(sample_rate, window, hop)
        require_measurable(self.geometry, duration)
        self.samples = round(duration * sample_rate)
        self.folds: dict[Split, frozenset[Fold]] = {
            "train": frozenset(train_folds),
            "validation": frozenset(validation_folds),
            "test": frozenset(test_folds),
        }
        self.mixtures: dict[Split, int] = {
            "train": train_mixtures,
            "validation": validation_mixtures,
            "test": test_mixtures,
        }
        self.epoch_mixtures = train_mixtures if epoch_mixtures is None else epoch_mixtures
        self.seed = seed
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size
        self.workers = workers
        self.train_sources = train_sources
        self.augmentation = None if augmentation == Augmentation() else augmentation
        self._left_out: Collection[int] = ()
        # A resumed test may have fewer mixtures left than there are ranks.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._bank: SoundBank | None = None
        require_class_names(self.classes)
        seen: dict[Fold, Split] = {}
        for split, folds in self.folds.items():
            for fold in folds:
                if fold in seen:
                    raise InputError(f"{split}_folds: fold {fold} is in {seen[fold]}_folds too; splits must not share")
                seen[fold] = split
        require_whole(
            1,
            MOST_MIXTURES,
            **{f"{split}_mixtures": count for split, count in self.mixtures.items()},
            epoch_mixtures=self.epoch_mixtures,
            batch_size=self.batch_size,
            evaluation_batch_size=self.evaluation_batch_size,
        )
        require_whole(0, LARGEST_SEED, seed=self.seed)
        require_whole(0, MOST_WORKERS, workers=self.workers)

    def included(self) -> list[Clip]:
        """The clips of all folds that take part, in the corpus's order, those of no source last."""
        return self.corpus.labelled(self.labels)

    @abstractmethod
    def recipes(self, split: Split) -> Recipes:
        """The recipes of a split; InputError where its clips are too few for a mixture."""

    @abstractmethod
    def rules(self, split: Split) -> Any:
        """How a split's mixtures are drawn, as a frozen dataclass of plain values."""

    def clips(self) -> list[Clip]:
        """Those of `included` in the folds of the splits; InputError where a split has none of a label."""
        clips = self.included()
        for split, folds in self.folds.items():
            found = {clip.label for clip in clips if clip.fold in folds}
            if folds and (missing := sorted((self.labels or frozenset()) - found)):
                corpus = self.corpus.clips()
                raise InputError(
                    f"{', '.join(missing)}: no clip in {split}_folds {_listed(folds)} of {self.corpus.name}; choose "
                    f"of its folds, {_listed({clip.fold for clip in corpus})}, and of its labels, "
                    f"{_listed({clip.label for clip in corpus})}"
                )
        folds = frozenset().union(*self.folds.values())
        return [clip for clip in clips if clip.fold in folds]

    def build(self, workers: int | None = None, split: Split | None = None) -> SoundBank:
        """Build the sound bank, or open it where it is complete. Not to be called by several ranks at once.

        Args:
            workers: decoding threads; one for each core unless given.
            split: the only one that is needed; unless the bank of all is there, the others stay without clips.
        """
        if split is not None:
            if self._bank_of_all_is_there():
                return self.bank
            self.folds = {each: folds if each == split else frozenset() for each, folds in self.folds.items()}
        bank = self.corpus, self.clips(), self.geometry.sample_rate, self.bank_folder
        self._bank = build_sound_bank(*bank, workers, verify=self.verify_bank)
        self.prepare_data()
        return self._bank

    def _bank_of_all_is_there(self) -> bool:
        try:
            return bank_path(self.corpus, self.clips(), self.geometry.sample_rate, self.bank_folder).is_dir()
        except InputError:  # another split lacks a label
            return False

    @property
    def bank(self) -> SoundBank:
        """The sound bank, opened at first use."""
        if self._bank is None:
            bank = self.corpus, self.clips(), self.geometry.sample_rate, self.bank_folder
            self._bank = SoundBank.open(*bank, self.verify_bank)
        return self._bank

    def prepare_data(self) -> None:
        """Only verifies: building is a stage of its own, before any process group exists."""
        recordings = {
            split: {clip.recording for clip in self.bank.clips if clip.fold in folds}
            for split, folds in self.folds.items()
        }
        for one, other in combinations(recordings, 2):
            shared = sorted(recordings[one] & recordings[other])
            if shared:
                raise InputError(
                    f"{one}_folds and {other}_folds share {len(shared)} recordings of {self.corpus.name} "
                    f"({listed(shared, most=3)}); choose other folds or labels"
                )
        for split, folds in self.folds.items():
            if folds:
                self.recipes(split)

    def clip_numbers(self, split: Split, label: str | None = None) -> np.ndarray:
        """The split's clips as numbers in the sound bank, int64 [N]: all, or those of one label, InputError if none."""
        clips, folds = self.bank.clips, self.folds[split]
        numbers = range(len(clips)) if label is None else self.bank.clips_of_label.get(label, ())
        found = [number for number in numbers if clips[number].fold in folds]
        if label is not None and not found:  # all of them may be silent
            where = f"{split}_folds {_listed(folds)} of {self.corpus.name}"
            raise InputError(f"{label}: no clip in {where}; choose other folds, or leave the label out")
        return np.array(found, np.int64)

    def dataset(self, split: Split, with_sources: bool = True) -> MixtureDataset:
        """The mixtures of a split as a plain torch data set."""
        recipes, mixtures, classes = self.recipes(split), self.mixtures[split], len(self.classes)
        if self.augmentation is not None and split == "train":
            seconds = self.samples / self.geometry.sample_rate
            recipes = AugmentedRecipes(recipes, self.augmentation, self.bank, mixtures, seconds, self.seed, split)
        sizes = self.geometry, self.samples, classes
        return MixtureDataset(
            recipes, mixtures, self.bank, *sizes, with_sources, self.unlabelled, self.label_levels(split)
        )

    def label_levels(self, split: Split) -> LabelLevels | None:
        """What the labels of a hierarchy's nodes are; None without one."""
        return None

    def class_prior(self) -> torch.Tensor:
        """γ, the share of frames in which each class is active, over all training mixtures exactly, [C].

        Of a hierarchy's nodes, [N], over the mixtures whose labels reach down to them; 0.5 where none do.

        Each rank counts its share of the mixtures: all of them call this.
        """
        ranks, rank = self._ranks()
        counts = self.dataset("train").active_frames(rank, ranks)
        if self.trainer:
            strategy = self.trainer.strategy
            counts = strategy.reduce(counts.to(strategy.root_device), reduce_op="sum").cpu()
        active, known = counts.double()
        return (active / known).nan_to_num(0.5).float()

    def train_dataloader(self) -> DataLoader[Batch]:
        ranks, rank = self._ranks()
        variants = self.augmentation is not None
        sampler = EpochSampler(
            self.mixtures["train"], self.epoch_mixtures, self.batch_size, self.seed, rank, ranks, variants
        )
        if not len(sampler):
            raise InputError(
                f"epoch_mixtures: {self.epoch_mixtures} over {ranks} ranks do not fill a batch of {self.batch_size}"
            )
        return self._loader(self.dataset("train", self.train_sources), sampler, self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("validation", self._left_out)

    def test_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test", self._left_out)

    def leave_out(self, indices: Collection[int]) -> None:
        """Let the loaders of validation and test leave mixtures out, whose scores are known, until told otherwise."""
        self._left_out = indices

    def signature(self, split: Split) -> tuple[Any, ...]:
        """What the mixtures of a split are a function of, as plain values."""
        folds = tuple(sorted(self.folds[split], key=str))
        bank = self.bank.path.name
        return bank, self.classes, self.geometry, self.rules(split), self.seed, folds, self.mixtures[split]

    def state_dict(self) -> dict[str, Any]:
        """What decides the mixtures that a training sees, as plain values, for its checkpoints.

        Neither where the corpus and its bank lie nor how the mixtures are loaded.
        """
        geometry = self.geometry
        settings = {"classes": list(self.classes), "seed": self.seed, "epoch_mixtures": self.epoch_mixtures}
        settings |= {"sample_rate": geometry.sample_rate, "window": geometry.window, "hop": geometry.hop}
        for split in ("train", "validation"):
            numbers = self.clip_numbers(split)
            clips = repr([(*self.bank.clips[number], int(self.bank.lengths[number])) for number in numbers])
            digest = hashlib.sha256(clips.encode()).hexdigest()[:12]
            settings[f"{split}_folds"] = sorted(self.folds[split], key=str)
            settings[f"{split}_mixtures"] = self.mixtures[split]
            settings[f"{split}_clips"] = f"{len(numbers)} clips of digest {digest}"
            settings[f"{split}_rules"] = asdict(self.rules(split))
        settings["augmentation"] = asdict(self.augmentation or Augmentation())
        return settings

    def description(self) -> dict[str, Any]:
        """What the mixtures are made of, as plain values: corpus, classes, splits and their clips, bank with digest."""
        splits = {split: (sorted(map(str, folds)), self.clip_numbers(split)) for split, folds in self.folds.items()}
        labels = {split: Counter(self.bank.clips[number].label for number in of) for split, (_, of) in splits.items()}
        described = {
            "corpus": self.corpus.name,
            "classes": list(self.classes),
            "sample_rate": self.geometry.sample_rate,
            "splits": {
                split: {"folds": folds, "mixtures": self.mixtures[split], "clips": dict(labels[split])}
                for split, (folds, _) in splits.items()
            },
            "seed": self.seed,
            "bank": self.bank.path.name,
            "bank_index_sha256": self.bank.index_digest(),
        }
        return {**described, "digest": hashlib.sha256(repr(described).encode()).hexdigest()[:12]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the mixtures that the training began with; an evaluation may be of any."""
        if self.trainer and self.trainer.state.fn == TrainerFn.FITTING:
            require_unchanged(self.state_dict(), state_dict)

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: Split, evaluated: Collection[int] = ()) -> DataLoader[Batch]:
        ranks, rank = self._ranks()
        if self.mixtures[split] < ranks:
            raise InputError(
                f"{split}_mixtures: {self.mixtures[split]} for {ranks} ranks; each rank needs one at least"
            )
        left_out = set(evaluated)
        remaining = [index for index in range(self.mixtures[split]) if index not in left_out]
        return self._loader(self.dataset(split), remaining[rank::ranks], self.evaluation_batch_size)

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, dataset: MixtureDataset, sampler: EpochSampler | list[int], batch_size: int) -> DataLoader[Batch]:
        # Whole batches are rendered where torch would put mixtures together.
        return EpochLoader(
            range(sys.maxsize),  # type: ignore[arg-type]  # of which torch asks for the sampler's numbers alone
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=dataset.batch,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
            worker_init_fn=fail_in_sight,
        )
