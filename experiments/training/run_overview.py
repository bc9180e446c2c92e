"""What is about to run, in a few lines that a person can read before the first epoch is over."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from torch import nn

from callbacks.row_evaluation import SPLITS
from callbacks.training_progress import duration
from datamodules.mixtures import MixtureDataModule
from experiments.command_line.text import counted
from lightning_modules.base_module import SeparatrixModule


def overview(trainer: Trainer, module: LightningModule, run: Path) -> Iterator[tuple[str, str | Path]]:
    """Names and values: the model, its networks, the spectrogram, the data, the machine and the run's folder."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(module, SeparatrixModule) or not isinstance(data, MixtureDataModule):
        return
    command, signature = str(trainer.state.fn.value), module.signature()  # type: ignore[union-attr]
    said = {"supervision": "{} supervision", "domain": "{} mixtures", "sources": "{} sources"}
    words = [form.format(signature[name]) for name, form in said.items() if name in signature]
    words += [f"classes {', '.join(signature['classes'])}"] if "classes" in signature else []
    yield command, ", ".join((type(module).__name__, *words))
    if trainer.ckpt_path:
        epoch = f", after {counted(trainer.current_epoch, 'epoch')}" if command == "fit" else ""
        yield "from", f"{trainer.ckpt_path}{epoch}"
    for name, network in module.named_children():
        sizes = {True: 0, False: 0}  # by whether they are trained
        for parameter in network.parameters():
            sizes[parameter.requires_grad] += parameter.numel()
        kinds = {True: " to train" if command == "fit" else "", False: " frozen"}
        words = [f"{size:,} parameters{kinds[trained]}" for trained, size in sizes.items() if size]
        if words:
            checkpoint = getattr(module, f"{name}_checkpoint", None)
            words += [f"of {checkpoint}"] if checkpoint else []
            named = "" if name == "network" else f"{name}: "
            yield "network", ", ".join([f"{named}{_kind(network, getattr(module, 'names', ()))}", *words])
    rate, window, hop = module.geometry.sample_rate, module.geometry.window, module.geometry.hop
    milliseconds = f"{1000 * window / rate:g} and {1000 * hop / rate:g} ms"
    yield "geometry", f"{rate} Hz, window {window} and hop {hop} samples ({milliseconds})"
    of = f"{type(data).__name__} of {data.corpus.name}, mixtures of {data.samples / rate:g} s"
    if command == "fit":
        epoch = "" if data.epoch_mixtures == data.mixtures["train"] else f", {data.epoch_mixtures:,} an epoch"
        counts = f"{data.mixtures['train']:,} for training{epoch}, {data.mixtures['validation']:,} for validation"
    else:
        split = SPLITS.get(command, "test")
        counts = f"{data.mixtures[split]:,} for {split}"
    yield "data", f"{of}: {counts}"
    minutes = int(data.bank.lengths.sum()) / data.bank.sample_rate / 60
    yield "bank", f"{data.bank.path}: {len(data.bank.clips):,} clips, {minutes:.1f} minutes"
    device = trainer.strategy.root_device
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    mixtures = data.batch_size * trainer.accumulate_grad_batches
    step = f", {counted(mixtures, 'mixture')} a step on each" if command == "fit" else ""
    yield "on", f"{counted(trainer.world_size, 'rank')}, {machine}, precision {trainer.precision}{step}"
    yield "run", run
    if command == "fit":
        yield "length", _length(trainer)


def _kind(network: nn.Module, names: Sequence[str]) -> str:
    """Its class; of several networks their number, classes and names."""
    if not isinstance(network, nn.ModuleList):
        return type(network).__name__
    kinds = dict.fromkeys(type(each).__name__ for each in network)
    return f"{len(network)} {' and '.join(kinds)} ({', '.join(names)})"


def _length(trainer: Trainer) -> str:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    limits = [] if trainer.max_epochs in (None, -1) else [counted(trainer.max_epochs, "epoch")]
    if trainer.max_steps != -1:
        limits.append(counted(trainer.max_steps, "step"))
    limits += [duration(timer.time_remaining() or 0) for timer in callbacks if isinstance(timer, Timer)]
    length = f"at most {', '.join(limits)}" if limits else "until it is stopped"
    stopping = trainer.early_stopping_callback
    if stopping is not None and trainer.enable_validation:
        length += f", patience {stopping.patience}"
    if trainer.fast_dev_run or not trainer.checkpoint_callbacks:  # type: ignore[attr-defined]
        return f"{length}; keeps no checkpoint"
    return f"{length}; Ctrl-C stops, `--ckpt_path last` resumes after the last complete epoch"
