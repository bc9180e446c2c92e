"""Separation of recordings of any length, rate and number of channels by trained models."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_modules.base_module import SeparatrixModule, require_inherited
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.deep_clustering.source_count import COUNTS
from lightning_modules.errors import InputError
from lightning_modules.recordings.clustering import SelectedModel, select
from lightning_modules.recordings.recording import Recording
from lightning_modules.recordings.windows import Window, in_one_order, joined, planned
from lightning_modules.scores import RESIDUAL
from lightning_modules.setting_checks import MOST_SOURCES, require_positive, require_whole
from lightning_modules.spectrogram import HIGHEST_RATE, LOWEST_RATE
from lightning_modules.trained_module import load_module, path_list
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

Select = Literal["file", "segment"]
Sources = int | Literal["auto"]
WINDOW = 8.0  # seconds, near what models are trained on
MOST_CHANNELS = 1024  # [n, channels] by mistake has more
LARGEST_SAMPLE = 2.0**31  # squares stay finite
# Windows call a model's own features, network, masks and clusters, but none of these.
_NOT_CALLED: dict[type, tuple[str, ...]] = {
    WeakLabelSeparator: ("forward",),
    DeepClustering: ("forward", "separate", "embed", "embed_analysed", "analyse"),
    ModelSelection: ("forward", "select", "selection_score"),
}


class Separation(NamedTuple):
    """A separated recording in memory."""

    sources: dict[str, Tensor]  # by name, of the recording's shape; a weak-label model's `residual` is among them
    selections: list[SelectedModel]  # of deep clustering models


class Separator:
    """Trained models, ready for recordings.

    A recording is separated window by window at the models' rate, and its sources are brought back to its own rate,
    channels and length. A recording that fits into one window is separated exactly as the model does it. In a longer
    one, what a model normalises over a mixture is normalised over the whole recording. Windows overlap by a quarter,
    the outer parts of an overlap are context that is dropped, and in the middle one window fades into the next.

    Args:
        model: a weak-label separator, or deep clustering models to select from.
        select: for deep clustering: `file`, one model and the same clusters for the whole recording, or `segment`,
            every window by itself, as if it were a mixture of its own; the sources keep their order by their
            likeness where windows overlap.
        sources: of deep clustering, the number to separate into; that of the models' training unless given. `auto`: of
            2 to 5 the number of highest confidence, for whole recordings.
        device: to compute on; CUDA where there is one unless given.
        window: in seconds.

    Raises:
        InputError: a class is named `residual`, a model's class separates in a way of its own or has no confidence to
            be picked by, or the number of sources cannot be chosen.
    """

    def __init__(
        self,
        model: WeakLabelSeparator | ModelSelection,
        select: Select = "file",
        device: str | torch.device | None = None,
        window: float = WINDOW,
        sources: Sources | None = None,
    ) -> None:
        given: Any = model
        if not isinstance(given, WeakLabelSeparator | ModelSelection):
            needed = "a WeakLabelSeparator or ModelSelection is needed; from_checkpoints takes files and names"
            raise InputError(f"model: a {type(given).__name__}; {needed}")
        if RESIDUAL in model.classes:
            raise InputError(f"classes: {RESIDUAL} is what the other sources leave; train with another name")
        require_positive(window=window)
        if isinstance(model, ModelSelection) and (others := set(model.models) - set(model.deep_clustering_models)):
            kind = type(others.pop()).__name__
            raise InputError(f"model: a {kind} has no confidence to be picked by; leave it out")
        self._models = model.deep_clustering_models if isinstance(model, ModelSelection) else [model]
        for each in (model, *self._models):
            require_no_other_way(each)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self.select = select
        self.sample_rate = model.geometry.sample_rate
        self.window = window
        self.checkpoints: list[str] = []  # where the models came from, if from files
        self.has_residual = isinstance(model, WeakLabelSeparator)
        self.sources = sources
        self.counts = _counts(sources, model, select)
        self.names = [*model.classes, RESIDUAL] if self.has_residual else list(model.classes)
        if self.counts:
            self.names = [f"source_{number}" for number in range(1, self.counts[-1] + 1)]

    @classmethod
    def from_checkpoints(
        cls,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        select: Select = "file",
        device: str | torch.device | None = None,
        sources: Sources | None = None,
    ) -> "Separator":
        """A separator from one WeakLabelSeparator, or one or several DeepClustering models: files, or included ones.

        Raises:
            InputError: a file cannot be read or is of neither kind, the kinds are mixed, or the models differ in rate
                or number of sources.
        """
        checkpoints = path_list("model", paths)
        if not checkpoints:
            raise InputError("model: none; give the checkpoint of a trained model")
        models = [load_module(path, WeakLabelSeparator, DeepClustering) for path in checkpoints]
        weak = next((model for model in models if isinstance(model, WeakLabelSeparator)), None)
        if weak and len(models) > 1:
            path = checkpoints[models.index(weak)]
            raise InputError(f"{path}: a weak-label separator answers alone; give one, or several of deep clustering")
        model = weak or ModelSelection(checkpoints)
        separator = cls(model, select, device, sources=sources)
        separator.checkpoints = checkpoints
        return separator

    @classmethod
    def from_pretrained(
        cls,
        *names: str | Sequence[str],
        select: Select = "file",
        device: str | torch.device | None = None,
        sources: Sources | None = None,
    ) -> "Separator":
        """A separator from included models (`separatrix models`): one weak-label separator, or deep clustering models.

        Raises:
            InputError: there is no such model, or the models do not go together.
        """
        listed = names[0] if len(names) == 1 else names  # a list of them is as clear
        return cls.from_checkpoints(listed, select, device, sources)  # type: ignore[arg-type]

    def __call__(self, samples: Tensor | np.ndarray, rate: int) -> Separation:
        """Separate a recording in memory.

        Args:
            samples: floating-point numbers, full scale at 1 as in training, [channels, n] or [n].
            rate: in Hz.

        Returns:
            The sources, float32, on the CPU.

        Raises:
            InputError: these are no such samples, some are not finite or immense, or the rate is none of sound.
        """
        require_whole(LOWEST_RATE, HIGHEST_RATE, rate=rate)
        recording = _float32(samples)
        selections: list[SelectedModel] = []
        blocks = self.stream(recording.reshape(-1, recording.shape[-1]), rate, selections)
        sources = torch.cat(list(blocks), -1).view(-1, *recording.shape)
        return Separation(dict(zip(self.names, sources, strict=False)), selections)

    @torch.inference_mode()
    def stream(
        self,
        samples: Tensor,
        rate: int,
        selections: list[SelectedModel] | None = None,
        advance: Callable[[float], None] = lambda seconds: None,
    ) -> Iterator[Tensor]:
        """Separate a recording; its sources come block by block, and are never in memory as a whole.

        Args:
            samples: float32, on the CPU, [channels, n].
            rate: in Hz.
            selections: those of deep clustering models are appended.
            advance: is called with the seconds of the recording that have been processed since the last call.

        Yields:
            Consecutive samples of all sources in the order of `names`, [S, channels, n], on the CPU. Of an automatic
            number of sources S is that number, and `names` has more.
        """
        # Windows begin where frames of all the models do, or close by at another rate.
        hop = math.lcm(*(model.geometry.hop for model in self._models))
        grid = max(1, round(hop * rate / self.sample_rate))
        plan, fade = planned(samples.shape[-1], round(self.window * rate), grid)
        part = samples.shape[-1] / rate / len(plan)
        recording = Recording(samples, rate, self.sample_rate, plan, self.device, lambda share: advance(part * share))
        sources = self._sources(recording, [] if selections is None else selections)
        pieces: Iterator[tuple[Window, Tensor]] = zip(plan, sources, strict=True)
        if self.select == "segment" and not self.has_residual:
            pieces = in_one_order(pieces)
        done = 0
        for block in map(Tensor.cpu, joined(pieces, fade)):
            mixture = samples[:, done : done + block.shape[-1]]
            done += block.shape[-1]
            yield torch.cat([block, (mixture - block.sum(0)).unsqueeze(0)]) if self.has_residual else block

    def _sources(self, recording: Recording, selections: list[SelectedModel]) -> Iterator[Tensor]:
        """The sources in each window, [S, channels, n]; in any order where every window is a segment."""
        model = self.model
        if isinstance(model, WeakLabelSeparator):
            statistics = model.input_statistics(recording.drawn_magnitude(model.geometry))
            of_classes = partial(model.masks, deviation_and_mean=statistics)
            yield from recording.masked(of_classes, model.geometry, share=1)
            return
        segments = [recording]
        if self.select == "segment":
            alone = (Window(each.start, each.stop, each.start, each.stop) for each in recording.windows)
            segments = [replace(recording, windows=[window]) for window in alone]
        for segment in segments:
            selection, picked, masks = select(model, segment, self.counts)
            selections.append(selection)
            pieces = segment.masked(masks, picked.geometry, share=1 / (1 + len(model.models)))
            if picked.by_masks and self.counts is None:  # each window's sources come in an order of the network's
                pieces = (piece for _, piece in in_one_order(zip(segment.windows, pieces, strict=True)))
            yield from pieces


def _counts(
    sources: Sources | None, model: WeakLabelSeparator | ModelSelection, select: Select
) -> tuple[int, ...] | None:
    """The numbers of sources to choose from; none where the models have their own."""
    if sources is None:
        return None
    if isinstance(model, WeakLabelSeparator):
        raise InputError(f"sources: {sources}; a weak-label model has its classes: leave it out")
    if sources == model.sources:
        return None
    for each in model.deep_clustering_models:
        each.require_embeddings(f"sources: {sources}")
    if sources == "auto":
        if select == "segment":
            raise InputError("sources: auto; segments of a recording would differ in number: give one, or select file")
        return COUNTS
    require_whole(2, MOST_SOURCES, sources=sources)
    return (sources,)


def require_no_other_way(model: SeparatrixModule) -> None:
    """Raise InputError where a model's class separates in a way of its own, which windows cannot follow."""
    for kind, methods in _NOT_CALLED.items():
        if isinstance(model, kind):
            require_inherited(model, kind, methods, "which windows of a recording cannot follow")


def _float32(samples: Tensor | np.ndarray) -> Tensor:
    """A copy of a recording in memory, [channels, n] or [n], or an InputError where it is none."""
    if isinstance(samples, Tensor):
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    given = np.asarray(samples)
    if given.dtype.kind != "f":
        expected = "floating-point numbers, full scale at 1 (16-bit integers / 32768)"
        raise InputError(f"samples: {given.dtype}; {expected}, are needed")
    if given.ndim not in (1, 2) or not given.size or (given.ndim == 2 and len(given) > MOST_CHANNELS):
        raise InputError(f"samples: {list(given.shape)}; [n] or [channels, n], up to {MOST_CHANNELS}, are needed")
    if not (np.abs(given) <= LARGEST_SAMPLE).all():
        raise InputError(f"samples: NaN, infinite or beyond {LARGEST_SAMPLE:.0e}; finite ones are needed")
    # Torch takes no reversed, foreign-endian or read-only memory.
    return torch.from_numpy(np.array(given, np.float32, order="C"))
