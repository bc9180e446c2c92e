"""Sound separation research: separators that learn from weak labels.

from separatrix import WeakLabelSeparator, load_module

separator = load_module("runs/small/weak-labels/frame/checkpoints/best.ckpt", WeakLabelSeparator)
sources = separator(mixture)  # [B, T] -> [B, C, T]
"""

from callbacks.classifier_scores import ClassifierScores
from callbacks.evaluation import SeparationEvaluation
from callbacks.separation_scores import score_separation, si_sdr
from datamodules.batch import Batch
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.procedural import Procedural
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.mixtures import MixtureDataset
from datamodules.recipes import PairRecipes, PairRules, Recipe, SceneRecipes, SceneRules
from datamodules.rendering import render
from datamodules.sound_bank import SoundBank, build_sound_bank
from datamodules.source_pairs import SourcePairs
from datamodules.urban_scenes import UrbanScenes
from lightning_modules.checkpoint import load_module
from lightning_modules.errors import InputError
from lightning_modules.spectrogram import Geometry, istft, log_magnitude, stft
from lightning_modules.weak_labels.classifier import ConvolutionalRecurrentClassifier, RecurrentClassifier
from lightning_modules.weak_labels.modules import EventClassifier, WeakLabelSeparator
from lightning_modules.weak_labels.references import ReferenceSeparator
from lightning_modules.weak_labels.separator import MaskSeparator

__all__ = [
    "Batch",
    "ClassifierScores",
    "Clip",
    "ConvolutionalRecurrentClassifier",
    "Corpus",
    "EventClassifier",
    "Geometry",
    "InputError",
    "MaskSeparator",
    "MixtureDataset",
    "PairRecipes",
    "PairRules",
    "Procedural",
    "Recipe",
    "RecurrentClassifier",
    "ReferenceSeparator",
    "SceneRecipes",
    "SceneRules",
    "SeparationEvaluation",
    "SoundBank",
    "SourcePairs",
    "UrbanScenes",
    "UrbanSound8K",
    "WeakLabelSeparator",
    "build_sound_bank",
    "istft",
    "load_module",
    "log_magnitude",
    "render",
    "score_separation",
    "si_sdr",
    "stft",
]
