"""A classifier from elsewhere for separation from clip labels: a program of torch.export, or any torch module."""

import os
import warnings
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn
from torchaudio.functional import resample

from lightning_modules.choices import made_of
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_one_of, require_positive, require_whole
from lightning_modules.spectrogram import HIGHEST_RATE, Geometry

Taken = Literal["waveform", "magnitude"]
M = TypeVar("M", bound=nn.Module)
MOST_OUTPUTS = 10**6
_RECURRENT = ("aten.lstm.input", "aten.gru.input", "aten.rnn_tanh.input", "aten.rnn_relu.input")
SETTINGS = ("program", "module", "classes", "takes", "sample_rate", "gain")


class ExternalClassifier(nn.Module):
    """A frozen classifier whose classes are mapped to ours. Its model is read by `load`, no earlier.

    The model maps waveforms, [B, T], or magnitudes, [B, bins, F], to logits of its classes, [B, K] or [B, K, F'], with
    gradients. Of the outputs that stand for one of our classes the largest logit counts.

    Args:
        geometry: of the separator's spectrogram.
        labels: our classes.
        classes: for each of our classes, the number of the output that stands for it, or several, counted from 0.
        program: file of torch.export, such as `separatrix export --program` writes of a classifier.
        module: in place of a program, a torch module that comes with its weights, or its class_path and init_args.
        takes: `waveform`, or `magnitude`, of the separator's spectrogram.
        sample_rate: of the waveforms, in Hz; the separator's unless given.
        gain: what it takes is multiplied by it.

    Raises:
        InputError: a setting that is not possible.
    """

    frame_reduction = 1  # clips have no frames

    def __init__(
        self,
        geometry: Geometry,
        labels: Sequence[str],
        classes: Mapping[str, int | Sequence[int]] | None = None,
        program: str | os.PathLike[str] | None = None,
        module: dict[str, Any] | nn.Module | None = None,
        takes: Taken = "waveform",
        sample_rate: int | None = None,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        if (program is None) == (module is None):
            raise InputError("external_classifier: give either its program or its module")
        require_one_of(get_args(Taken), takes=takes)
        require_positive(gain=gain)
        rate = geometry.sample_rate if sample_rate is None else sample_rate
        require_whole(1, HIGHEST_RATE, sample_rate=rate)
        if not isinstance(classes, Mapping) or set(classes) != set(labels):
            of_each = f"the numbers of its outputs for each of {', '.join(labels)}"
            raise InputError(f"external_classifier: classes: {classes}; {of_each}, and for nothing else, are needed")
        of_labels = (classes[label] for label in labels)
        self.outputs = [[*numbers] if isinstance(numbers, list | tuple) else [numbers] for numbers in of_labels]
        for label, numbers in zip(labels, self.outputs, strict=True):
            if not numbers:
                raise InputError(f"external_classifier: {label} has no output; give the number of one at least")
            for number in numbers:
                require_whole(0, MOST_OUTPUTS, **{f"external_classifier: {label}": number})
        self.takes, self.gain = takes, gain
        self.rates = geometry.sample_rate, rate
        self.program, self.choice = program, None if isinstance(module, nn.Module) else module
        self.model = frozen(module) if isinstance(module, nn.Module) else None  # LightningCLI has made it

    def load(self, device: torch.device) -> None:
        """Read the model, unless that is done; an InputError where it cannot be."""
        if self.model is not None:
            return
        if self.program is None:
            self.model = frozen(made_of(self.choice, nn.Module)()).to(device)
            return
        from torch.export import load, passes  # half a second, which other systems need not wait for

        try:
            with warnings.catch_warnings(action="ignore"):
                program = passes.move_to_device_pass(load(self.program), str(device))
                self.model = program.module().requires_grad_(False)
            for node in self.model.graph.nodes:
                if str(node.target) in _RECURRENT:  # as in `frozen`: no dropout, in training mode
                    node.args = (*node.args[:5], 0.0, True, *node.args[7:])
            self.model.recompile()
        except Exception as error:  # torch raises anything at a damaged file
            raise InputError(f"{self.program}: no readable program of torch.export ({_reason(error)})") from error

    def train(self, mode: bool = True) -> "ExternalClassifier":
        """Nothing: the model stays as it was read; programs have no other mode."""
        return self

    def forward(self, given: Tensor) -> Tensor:
        """Logits of our classes, [B, C, F'] (F' = 1 of a clip), of waveforms, [B, T], or magnitudes, [B, bins, F]."""
        if self.model is None:
            raise RuntimeError("load the external classifier first")
        # What it was trained in: it may transform its input itself, which only float32 can.
        with torch.autocast(given.device.type, enabled=False):
            given = given.float()
            if self.takes == "waveform" and self.rates[0] != self.rates[1]:
                given = resample(given, *self.rates)
            try:
                logits = self.model(self.gain * given)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                if self.program is None:
                    raise  # a class of the user's own: where it went wrong matters
                told = f"does not take {self.takes}s of {list(given.shape)} ({_reason(error)})"
                raise InputError(f"{self.program}: {told}; export it for any number of estimates") from error
        most = max(map(max, self.outputs))
        if not isinstance(logits, Tensor) or logits.ndim not in (2, 3) or logits.shape[1] <= most:
            shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            told = f"[{len(given)}, K] or [{len(given)}, K, F] with an output number {most} are needed"
            raise InputError(f"external_classifier: its logits are {shape}; {told}")
        logits = logits if logits.ndim == 3 else logits.unsqueeze(-1)
        return torch.stack([logits[:, numbers].amax(1) for numbers in self.outputs], 1).float()


def frozen(classifier: M) -> M:
    """A classifier without gradients of its own, in the mode in which gradients pass through it."""
    classifier.requires_grad_(False).eval()
    for layer in classifier.modules():
        if isinstance(layer, nn.RNNBase):
            # cuDNN has no backward pass for recurrent layers in evaluation mode; without dropout, training mode
            # computes the same.
            layer.dropout = 0.0
            layer.train()
    return classifier


def _reason(error: Exception) -> str:
    return shorten(str(error), 200) or type(error).__name__
