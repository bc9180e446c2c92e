"""Sound separation research: separators that learn from weak labels, and selection between models by their confidence.

Example:
    ```python
    from separatrix import WeakLabelSeparator, load_module

    separator = load_module("runs/small/weak-labels/frame/checkpoints/best.ckpt", WeakLabelSeparator).eval()
    sources = separator(mixture)  # [B, T] -> [B, C, T]

    from separatrix import ModelSelection

    models = ModelSelection(["speech/checkpoints/best.ckpt", "music/checkpoints/best.ckpt"])
    sources = models(mixture)  # [B, T] -> [B, Q, T], of the most confident model

    from separatrix import Separator, separate_file

    separator = Separator.from_checkpoints(["speech/checkpoints/best.ckpt", "music/checkpoints/best.ckpt"])
    separate_file(separator, "talk.wav", "separated/talk")  # any length, rate and number of channels
    sources = separator(samples, rate).sources  # {"source_1": [channels, n], ...}, of what is in memory
    ```
"""

from separatrix_entry import require_own_packages as _require_own_packages

_require_own_packages()

from callbacks.audio_examples import AudioExamples
from callbacks.classifier_scores import ClassifierScores
from callbacks.count_evaluation import CountEvaluation
from callbacks.embedding_pictures import EmbeddingPictures
from callbacks.estimate_files import EstimateFiles
from callbacks.moving_average import MovingAverage
from callbacks.selection_evaluation import SelectionEvaluation
from callbacks.separation_evaluation import SeparationEvaluation
from callbacks.training_curves import TrainingCurves
from datamodules.augmentation import Augmentation
from datamodules.corpora.audio_file import read_audio, resample
from datamodules.corpora.corpus import Clip, Corpus
from datamodules.corpora.esc50 import ESC50
from datamodules.corpora.file_corpus import FileCorpus
from datamodules.corpora.folder_per_class import FolderPerClass
from datamodules.corpora.fsd50k import FSD50K
from datamodules.corpora.joined import JoinedCorpora
from datamodules.corpora.librispeech import LibriSpeech
from datamodules.corpora.musdb18 import MUSDB18
from datamodules.corpora.own_recordings import OwnRecordings
from datamodules.corpora.procedural import Procedural, ProceduralKinds, ProceduralMusic, ProceduralVoices
from datamodules.corpora.urbansound8k import UrbanSound8K
from datamodules.inspection import integrated_loudness
from datamodules.mixture_dataset import MixtureDataset
from datamodules.mixtures import MixtureDataModule
from datamodules.pair_recipes import PairRecipes, PairRules
from datamodules.recipes import Recipe, SceneRecipes, SceneRules
from datamodules.rendering import render
from datamodules.sound_bank import SoundBank, build_sound_bank
from datamodules.source_pairs import SourcePairs
from datamodules.stem_scenes import StemScenes
from datamodules.urban_scenes import UrbanScenes
from experiments.export.card import read_card
from experiments.export.model import export_module
from experiments.separation.separated_files import separate_file
from lightning_modules.autoclip import AutoClip
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.batch import Batch
from lightning_modules.deep_clustering.clustering import loudest, soft_masks
from lightning_modules.deep_clustering.confidence import (
    Confidence,
    cluster_balance,
    confidence,
    posterior_strength,
    silhouette_samples,
)
from lightning_modules.deep_clustering.jensen_shannon import jensen_shannon
from lightning_modules.deep_clustering.k_means import Clusters, k_means
from lightning_modules.deep_clustering.level_features import level_features
from lightning_modules.deep_clustering.losses import (
    deep_clustering_loss,
    dominant_source,
    mask_inference_loss,
    whitened_k_means_loss,
)
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import LearntSelection, ModelOutput, ModelSelection
from lightning_modules.deep_clustering.source_count import SourceCount
from lightning_modules.errors import InputError
from lightning_modules.networks import BLSTM, CRNN, BandSplit, TFLocoformer
from lightning_modules.recordings.separator import Separator
from lightning_modules.scores.calibration import Calibration
from lightning_modules.scores.ensembles import Confusion, EnsembleScore, confusion, ensemble_scores, ensembles
from lightning_modules.scores.intervals import Correlation, Difference, correlations, differences
from lightning_modules.scores.selection_rows import Evaluated, read_evaluated
from lightning_modules.scores.summary import Summary, summarise
from lightning_modules.separation_scores import LeftOut, Score, in_best_order, score_separation, si_sdr
from lightning_modules.signal_features import signal_features
from lightning_modules.spectrogram import Geometry, istft, log_magnitude, stft
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.classifier_module import EventClassifier
from lightning_modules.weak_labels.labels import clip_logits, pool_frame_labels
from lightning_modules.weak_labels.losses import (
    classification_loss,
    estimate_classification_loss,
    loud_frames,
    mixture_loss,
    prior_weight,
    truncated_magnitude_loss,
    truncated_source_loss,
    truncated_sources,
)
from lightning_modules.weak_labels.references import ReferenceSeparator
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

__all__ = [name for name in globals() if not name.startswith("_")]
