"""What is about to run, in a few lines that a person can read before the first epoch is over."""

from collections.abc import Iterator
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


def overview(trainer: Trainer, module: LightningModule) -> list[tuple[str, str | Path]]:
    """The model, its networks, the spectrogram, the data, the machine and the run's folder, each beside its name."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(module, SeparatrixModule) or not isinstance(data, MixtureDataModule):
        return []
    command = str(trainer.state.fn.value)  # type: ignore[union-attr]
    lines: list[tuple[str, str | Path]] = [(command, ", ".join((type(module).__name__, *_identity(module))))]
    if trainer.ckpt_path:
        epoch = f", after {counted(trainer.current_epoch, 'epoch')}" if command == "fit" else ""
        lines.append(("from", f"{trainer.ckpt_path}{epoch}"))
    lines += [("network", each) for each in _networks(module, command)]
    rate, window, hop = module.geometry.sample_rate, module.geometry.window, module.geometry.hop
    milliseconds = f"{1000 * window / rate:g} and {1000 * hop / rate:g} ms"
    lines.append(("geometry", f"{rate} Hz, window {window} and hop {hop} samples ({milliseconds})"))
    lines.append(("data", _data(command, data)))
    minutes = int(data.bank.lengths.sum()) / data.bank.sample_rate / 60
    lines.append(("bank", f"{data.bank.path}: {len(data.bank.clips):,} clips, {minutes:.1f} minutes"))
    lines.append(("on", _machine(trainer, data)))
    lines.append(("run", Path(trainer.default_root_dir)))
    if command == "fit":
        lines.append(("length", _length(trainer)))
    return lines


def _identity(module: SeparatrixModule) -> Iterator[str]:
    """What it learns from and tells apart; its geometry has a line of its own."""
    identity = module.identity()
    if "supervision" in identity:
        yield f"{identity['supervision']} supervision"
    if "domain" in identity:
        yield f"{identity['domain']} mixtures"
    if "sources" in identity:
        yield f"{identity['sources']} sources"
    if "classes" in identity:
        yield f"classes {', '.join(identity['classes'])}"


def _networks(module: SeparatrixModule, command: str) -> Iterator[str]:
    to_train = " to train" if command == "fit" else ""
    for name, network in module.named_children():
        trained, frozen = (
            sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad is wanted)
            for wanted in (True, False)
        )
        counts = [f"{size:,} parameters{what}" for size, what in ((trained, to_train), (frozen, " frozen")) if size]
        if counts:
            judge = getattr(module, f"{name}_checkpoint", None)
            yield f"{name}: {_kind(network)}, {', '.join(counts)}{f', of {judge}' if judge else ''}"


def _kind(network: nn.Module) -> str:
    """Its class; of several networks how many, and of which domains."""
    if not isinstance(network, nn.ModuleList):
        return type(network).__name__
    domains = [str(getattr(each, "domain", "")) for each in network]
    return f"{len(network)} {type(network[0]).__name__} ({', '.join(domains)})"


def _data(command: str, data: MixtureDataModule) -> str:
    seconds = f"{data.samples / data.geometry.sample_rate:g} s"
    of = f"{type(data).__name__} of {data.corpus.name}, mixtures of {seconds}:"
    if command != "fit":
        split = SPLITS.get(command, "test")
        return f"{of} {data.mixtures[split]:,} for {split}"
    epoch = "" if data.epoch_mixtures == data.mixtures["train"] else f", {data.epoch_mixtures:,} an epoch"
    return f"{of} {data.mixtures['train']:,} for training{epoch}, {data.mixtures['validation']:,} for validation"


def _machine(trainer: Trainer, data: MixtureDataModule) -> str:
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    mixtures = data.batch_size * trainer.accumulate_grad_batches
    step = f", {counted(mixtures, 'mixture')} a step on each" if trainer.state.fn == "fit" else ""
    return f"{counted(trainer.world_size, 'rank')}, {name}, precision {trainer.precision}{step}"


def _length(trainer: Trainer) -> str:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    limits = [] if trainer.max_epochs in (None, -1) else [counted(trainer.max_epochs, "epoch")]
    if trainer.max_steps != -1:
        limits.append(counted(trainer.max_steps, "step"))
    limits += [duration(timer.time_remaining() or 0) for timer in callbacks if isinstance(timer, Timer)]
    length = f"at most {', '.join(limits)}" if limits else "until it is stopped"
    stopping = trainer.early_stopping_callback
    patience = f", patience {stopping.patience}" if stopping is not None and trainer.enable_validation else ""
    if trainer.fast_dev_run or not trainer.checkpoint_callbacks:  # type: ignore[attr-defined]
        return f"{length}{patience}; keeps no checkpoint"
    return f"{length}{patience}; Ctrl-C stops, `--ckpt_path last` goes on after the last complete epoch"
