"""Sound separation research: separators that learn from weak labels, and models that know when to be trusted.

from separatrix import WeakLabelSeparator, load_module

separator = load_module("runs/small/weak-labels/frame/checkpoints/best.ckpt", WeakLabelSeparator)
sources = separator(mixture)  # [B, T] -> [B, C, T]

from separatrix import ModelSelection

models = ModelSelection(["speech/checkpoints/best.ckpt", "music/checkpoints/best.ckpt"])
sources = models(mixture)  # [B, T] -> [B, Q, T], of the most confident model

from separatrix import Separator, separate_file

separator = Separator.from_checkpoints(["speech/checkpoints/best.ckpt", "music/checkpoints/best.ckpt"])
separate_file(separator, "talk.wav", "separated/talk")  # any length, rate and number of channels
sources = separator(samples, rate).sources  # {"source_1": [channels, n], ...}, of what is in memory
"""

from callbacks.audio_examples import AudioExamples
from callbacks.calibration import Calibration
from callbacks.classifier_scores import ClassifierScores
from callbacks.embedding_pictures import EmbeddingPictures
from callbacks.selection_evaluation import SelectionEvaluation
from callbacks.selection_rows import Evaluated, read_evaluated
from callbacks.separation_evaluation import SeparationEvaluation
from callbacks.separation_scores import score_separation, si_sdr
from datamodules.batch import Batch
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.corpora.librispeech import LibriSpeech
from datamodules.corpora.musdb18 import MUSDB18
from datamodules.corpora.procedural import Procedural, ProceduralMusic, ProceduralVoices
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.mixture_dataset import MixtureDataset
from datamodules.pair_recipes import PairRecipes, PairRules
from datamodules.recipes import Recipe, SceneRecipes, SceneRules
from datamodules.rendering import render
from datamodules.sound_bank import SoundBank, build_sound_bank
from datamodules.source_pairs import SourcePairs
from datamodules.urban_scenes import UrbanScenes
from experiments.separated_files import separate_file
from lightning_modules.autoclip import AutoClip
from lightning_modules.checkpoint import load_module
from lightning_modules.deep_clustering.clustering import soft_masks
from lightning_modules.deep_clustering.confidence import Confidence, confidence
from lightning_modules.deep_clustering.k_means import k_means
from lightning_modules.deep_clustering.losses import deep_clustering_loss, whitened_k_means_loss
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.network import EmbeddingNetwork
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.recordings.separator import Separator
from lightning_modules.spectrogram import Geometry, istft, log_magnitude, stft
from lightning_modules.weak_labels.classifier import ConvolutionalRecurrentClassifier, RecurrentClassifier
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.references import ReferenceSeparator
from lightning_modules.weak_labels.separator import MaskSeparator
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

__all__ = [
    "MUSDB18",
    "AudioExamples",
    "AutoClip",
    "Batch",
    "Calibration",
    "ClassifierScores",
    "Clip",
    "Confidence",
    "ConvolutionalRecurrentClassifier",
    "Corpus",
    "DeepClustering",
    "EmbeddingNetwork",
    "EmbeddingPictures",
    "Evaluated",
    "EventClassifier",
    "FolderPerClass",
    "Geometry",
    "InputError",
    "LibriSpeech",
    "MaskSeparator",
    "MixtureDataset",
    "ModelSelection",
    "PairRecipes",
    "PairRules",
    "Procedural",
    "ProceduralMusic",
    "ProceduralVoices",
    "Recipe",
    "RecurrentClassifier",
    "ReferenceSeparator",
    "SceneRecipes",
    "SceneRules",
    "SelectionEvaluation",
    "SeparationEvaluation",
    "Separator",
    "SoundBank",
    "SourcePairs",
    "UrbanScenes",
    "UrbanSound8K",
    "WeakLabelSeparator",
    "build_sound_bank",
    "confidence",
    "deep_clustering_loss",
    "istft",
    "k_means",
    "load_module",
    "log_magnitude",
    "read_evaluated",
    "render",
    "score_separation",
    "separate_file",
    "si_sdr",
    "soft_masks",
    "stft",
    "whitened_k_means_loss",
]
