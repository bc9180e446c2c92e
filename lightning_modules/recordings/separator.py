"""Separation of recordings of any length, rate and number of channels by trained models, in bounded memory."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lightning_modules.base_module import SeparatrixModule
from lightning_modules.deep_clustering.module import DeepClustering
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.recordings.class_masks import ClassMasks
from lightning_modules.recordings.clustering import Clustering, Judgement
from lightning_modules.recordings.resampling import Resampler, rate_ratio, resampled_length
from lightning_modules.recordings.windows import (
    Excerpt,
    Window,
    WindowedRecording,
    in_one_order,
    joined,
    windows,
)
from lightning_modules.setting_checks import require_positive, require_whole
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.separator_module import WeakLabelSeparator

Select = Literal["file", "segment"]
RESIDUAL = "residual"
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000
MOST_CHANNELS = 1024  # of a file, too; [n, channels] by mistake has more
LARGEST_SAMPLE = 2.0**31  # of a file, too; squares stay finite
# What windows do by themselves: a class that does it in another way would be passed over in silence.
_DONE_BY_WINDOWS: dict[type[SeparatrixModule], tuple[str, ...]] = {
    WeakLabelSeparator: ("forward",),
    DeepClustering: ("forward", "separate", "embed", "embed_analysed", "analyse"),
    ModelSelection: ("forward", "select", "trust"),
}


class Span(NamedTuple):
    """What is heard at once, in seconds.

    Attributes:
        window: its length, at most.
        overlap: of neighbouring windows; half of it, less half the cross-fade, is context that is heard and dropped.
        fade: of the cross-fade in the middle of an overlap.
    """

    window: float = 8.0
    overlap: float = 2.0
    fade: float = 0.5


class Recording(NamedTuple):
    """A recording that can be read as often as wanted.

    Attributes:
        blocks: begins to read it: consecutive samples, float32, [channels, n] each.
        samples: of each channel.
        rate: in Hz.
    """

    blocks: Callable[[], Iterable[Tensor]]
    samples: int
    rate: int


class Separation(NamedTuple):
    """What became of a recording in memory.

    Attributes:
        sources: by name, each with the shape of the recording; of a weak-label model the `residual` is among them.
        judgements: of deep clustering models.
    """

    sources: dict[str, Tensor]
    judgements: list[Judgement]


class Separator:
    """Trained models, ready for recordings.

    A recording is resampled to the models' rate, separated window by window, and its sources are brought back to its
    own rate, channels and length. A recording that fits into one window is separated exactly as the model does it.
    In a longer one, what a model normalises over a mixture is normalised over the whole recording, windows overlap, the
    outer parts of an overlap are context that is dropped, and in the middle one window fades into the next. Networks
    that hear further than the context make another estimate than of the whole: docs/decisions.md has the figures.

    Args:
        model: a weak-label separator, or deep clustering models to select from.
        select: for deep clustering: `file`, one model and the same clusters for the whole recording, or `segment`,
            every segment by itself, as if it were a mixture of its own; the sources keep their order by their
            likeness where segments overlap.
        device: to compute on; CUDA where there is one unless given.
        span: of the windows, which are the segments, too.

    Raises:
        InputError: a class is named `residual`, a model's class separates in a way of its own, or the span is none.
    """

    def __init__(
        self,
        model: WeakLabelSeparator | ModelSelection,
        select: Select = "file",
        device: str | torch.device | None = None,
        span: Span = Span(),  # noqa: B008
    ) -> None:
        if RESIDUAL in model.classes:
            raise InputError(f"classes: {RESIDUAL} is what the other sources leave; train with another name")
        for each in (model, *(model.deep_clustering_models if isinstance(model, ModelSelection) else ())):
            _require_usual(each)
        require_positive(**span._asdict())
        if not span.fade <= span.overlap:
            raise InputError(f"fade: {span.fade:g} s; no longer than the overlap, {span.overlap:g} s, is possible")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self.select = select
        self.sample_rate = model.geometry.sample_rate
        self.span = span
        self.checkpoints: list[str] = []  # where the models came from, if from files
        self.has_residual = isinstance(model, WeakLabelSeparator)
        self.names = [*model.classes, RESIDUAL] if self.has_residual else list(model.classes)

    @classmethod
    def from_checkpoints(
        cls,
        paths: Sequence[str | os.PathLike[str]],
        select: Select = "file",
        device: str | torch.device | None = None,
    ) -> "Separator":
        """A separator from files of one WeakLabelSeparator, or of one or several DeepClustering models.

        Raises:
            InputError: a file cannot be read or is of neither kind, the kinds are mixed, or the models differ in rate
                or number of sources.
        """
        if not paths:
            raise InputError("model: none; give the checkpoint of a trained model")
        first = load_module(paths[0], WeakLabelSeparator, DeepClustering)
        if isinstance(first, WeakLabelSeparator):
            if len(paths) > 1:
                raise InputError(
                    f"{paths[0]}: a WeakLabelSeparator, which separates by itself; give it alone, or DeepClustering "
                    f"models only, to select from"
                )
            separator = cls(first, select, device)
        else:
            separator = cls(ModelSelection([os.fspath(path) for path in paths]), select, device)
        separator.checkpoints = [os.fspath(path) for path in paths]
        return separator

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
        channels = recording.reshape(-1, recording.shape[-1])
        judgements: list[Judgement] = []
        blocks = self.stream(Recording(lambda: [channels], channels.shape[-1], rate), judgements)
        sources = torch.cat(list(blocks), -1).view(-1, *recording.shape)
        return Separation(dict(zip(self.names, sources, strict=True)), judgements)

    @torch.inference_mode()
    def stream(
        self,
        recording: Recording,
        judgements: list[Judgement] | None = None,
        advance: Callable[[float], None] = lambda seconds: None,
    ) -> Iterator[Tensor]:
        """Separate a recording block by block.

        Args:
            recording: read several times.
            judgements: those of deep clustering models are appended.
            advance: is told how many seconds of the recording's work have been done since it was told last.

        Yields:
            Consecutive samples of all sources in the order of `names`, [S, channels, n], on the CPU.
        """
        ratio = rate_ratio(recording.rate, self.sample_rate)
        forth, back = Resampler(ratio), Resampler(1 / ratio)
        # Windows begin where frames of all the models do.
        models = self.model.deep_clustering_models if isinstance(self.model, ModelSelection) else [self.model]
        grid = math.lcm(*(model.geometry.hop for model in models))
        length, overlap, fade = (max(2, round(t * self.sample_rate / grid / 2) * 2) * grid for t in self.span)
        length = max(length, 2 * overlap)
        plan = windows(resampled_length(recording.samples, ratio), length, overlap, grid)
        windowed = WindowedRecording(lambda: forth(block.to(self.device) for block in recording.blocks()), plan)
        pieces = self._pieces(windowed, [] if judgements is None else judgements, advance)
        sources = _cut(back(joined(pieces, fade)), recording.samples)
        for block in _with_residual(sources, recording.blocks()) if self.has_residual else sources:
            yield block.cpu()

    def _pieces(
        self, recording: WindowedRecording, judgements: list[Judgement], advance: Callable[[float], None]
    ) -> Iterator[tuple[Window, Tensor]]:
        """The sources in each window, [S, channels, n]."""
        # Each model hears a recording once to be judged, the picked one again to separate.
        times = 1 + len(self.model.models) if isinstance(self.model, ModelSelection) else 1

        def heard(window: Window) -> None:
            advance((window.own_stop - window.own_start) / self.sample_rate / times)

        if isinstance(self.model, WeakLabelSeparator):
            classes = ClassMasks(self.model, recording, heard)
            yield from ((excerpt.window, classes.estimates(excerpt)) for excerpt in recording)
        elif self.select == "file":
            clustering = Clustering(self.model, recording, heard)
            judgements.append(clustering.judgement(0, recording.samples / self.sample_rate))
            yield from ((excerpt.window, clustering.estimates(excerpt)) for excerpt in recording)
        else:
            yield from in_one_order(self._segments(self.model, recording, heard, judgements))

    def _segments(
        self,
        selection: ModelSelection,
        recording: WindowedRecording,
        heard: Callable[[Window], None],
        judgements: list[Judgement],
    ) -> Iterator[tuple[Window, Tensor]]:
        """The sources in each window, each a recording of its own, in any order."""
        for window, samples in recording:
            whole = Window(0, samples.shape[-1], 0, samples.shape[-1])
            segment = WindowedRecording(partial(iter, [samples]), [whole])
            clustering = Clustering(selection, segment, lambda _: heard(window))  # noqa: B023, called before the next
            judgements.append(clustering.judgement(window.start / self.sample_rate, window.stop / self.sample_rate))
            yield window, clustering.estimates(Excerpt(whole, samples))


def _require_usual(model: SeparatrixModule) -> None:
    """Refuse a class that overrides what windows do by themselves."""
    for kind, methods in _DONE_BY_WINDOWS.items():
        for method in methods if isinstance(model, kind) else ():
            if getattr(type(model), method) is not getattr(kind, method):
                raise InputError(
                    f"{type(model).__name__}: has its own `{method}`, which windows of a recording cannot follow; "
                    f"call the model itself on mixtures"
                )


def _float32(samples: Tensor | np.ndarray) -> Tensor:
    """A recording in memory, [channels, n] or [n].

    Raises:
        InputError: it is none.
    """
    samples = samples if isinstance(samples, Tensor) else np.asarray(samples)
    if not (samples.is_floating_point() if isinstance(samples, Tensor) else samples.dtype.kind == "f"):
        expected = "floating-point numbers, full scale at 1 (16-bit integers / 32768)"
        raise InputError(f"samples: {samples.dtype}; {expected}, are needed")
    if isinstance(samples, np.ndarray):
        with np.errstate(over="ignore"):  # copied: torch takes no reversed, foreign-endian or read-only memory
            samples = torch.from_numpy(np.array(samples, np.float32, order="C"))
    recording = samples.detach().float()
    channels = len(recording) if recording.dim() == 2 else 1
    if recording.dim() not in (1, 2) or not recording.numel() or channels > MOST_CHANNELS:
        raise InputError(f"samples: {list(recording.shape)}; [n] or [channels, n], up to {MOST_CHANNELS}, are needed")
    if not (recording.abs() <= LARGEST_SAMPLE).all():
        raise InputError(f"samples: NaN, infinite or beyond {LARGEST_SAMPLE:.0e}; finite ones are needed")
    return recording


def _cut(blocks: Iterable[Tensor], samples: int) -> Iterator[Tensor]:
    """The first so many samples: resampled forth and back, a recording may have become longer by a few."""
    for block in blocks:
        yield block[..., :samples]
        samples -= min(samples, block.shape[-1])


def _with_residual(sources: Iterable[Tensor], mixture: Iterable[Tensor]) -> Iterator[Tensor]:
    """Blocks of sources, [S, channels, n], and what they leave of the mixture, [S + 1, channels, n]."""
    waiting, blocks = None, iter(mixture)
    for block in sources:
        while waiting is None or waiting.shape[-1] < block.shape[-1]:
            further = next(blocks)
            waiting = further if waiting is None else torch.cat([waiting, further], -1)
        residual = waiting[..., : block.shape[-1]].to(block) - block.sum(0)
        waiting = waiting[..., block.shape[-1] :]
        yield torch.cat([block, residual.unsqueeze(0)])
