"""The mixtures of a run's test, and what its models make of them, made again from its settings, bank and checkpoint."""

import contextlib
import importlib
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from datamodules.mixture_dataset import MixtureDataset
from datamodules.mixtures import MixtureDataModule
from experiments.command_line.own_classes import modules_of
from experiments.command_line.parser import data_parser
from experiments.report.run_folder import Run
from lightning_modules.batch import Batch, Split
from lightning_modules.choices import named_modules
from lightning_modules.deep_clustering.selection import ModelSelection
from lightning_modules.errors import InputError
from lightning_modules.separation_scores import in_best_order
from lightning_modules.trained_module import load_module
from lightning_modules.weak_labels.references import ReferenceSeparator


def mixtures_of(run: Run, split: Split = "test") -> MixtureDataset:
    """The mixtures that a run was tested on; InputError where they are gone or changed."""
    section = run.evaluation.get("data")
    if not section:
        raise InputError(f"{run.folder}: no configuration says which mixtures it was evaluated on")
    parser = data_parser(["report"], "")
    try:
        data: MixtureDataModule = parser.instantiate(parser.parse_object({"data": section})).data
        data.build(split=split)  # the bank, where it is gone or was of another version
        return data.dataset(split)
    except InputError:
        raise
    except Exception as error:  # jsonargparse passes on the errors of importing and making a class
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{run.folder}: its data cannot be made again ({reason})") from None


def separator_of(run: Run) -> LightningModule:
    """What a run was tested with: the separator of a checkpoint, its best one as a rule, or a reference."""
    if run.model == ReferenceSeparator.__name__:
        names = ("method", "classes", "sample_rate", "window", "hop")
        settings = {name: value for name in names if (value := run.setting("model", name)) is not None}
        return ReferenceSeparator(**settings).eval()
    # The configuration is the user's word for what may be imported; what is not there load_module names.
    for module in modules_of(run.section("model")):
        with contextlib.suppress(ImportError, ValueError):
            importlib.import_module(module)
            named_modules.add(module)
    path, folder = run.files.best, run.folder.resolve()
    if tested := run.evaluation.get("ckpt_path"):
        tested = Path(str(tested))
        if tested.parts[-3:-1] == (folder.name, path.parent.name):  # its own, wherever the folder lies now
            path = path.with_name(tested.name)
        elif tested.is_file():
            path = tested
    return load_module(path).eval()


def estimates_of(module: LightningModule, batch: Batch, precision: str) -> Tensor:
    """A separator's estimates in the order of the sources, [B, C, T]."""
    with torch.inference_mode(), arithmetic(precision):
        found: Any = module.test_step(batch, 0)
    estimates: Tensor = found.float()
    return in_best_order(estimates, batch.sources) if module.permutation_invariant else estimates


def arithmetic(precision: str) -> torch.autocast:
    """The arithmetic of an evaluation with this `trainer.precision`: the estimates are then those that were scored."""
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    kind = kinds.get(precision)
    return torch.autocast("cpu", dtype=kind or torch.bfloat16, enabled=kind is not None)


def selection_of(run: Run, folder: Path) -> ModelSelection:
    """The selection that a run was tested with; models that were moved with the folder are found in it."""
    paths = [lies_in(folder, path) for path in run.setting("model", "checkpoints") or []]
    settings = {name: run.setting("model", name) for name in ("confidence_clusters", "signal_features")}
    return ModelSelection(paths, **{name: value for name, value in settings.items() if value is not None}).eval()


def lies_in(folder: Path, checkpoint: str) -> str:
    """A checkpoint as a configuration names it, or at the same place within a folder that was moved since."""
    moved = folder.joinpath(*Path(checkpoint).parts[-3:])
    return str(moved) if moved.is_file() else checkpoint
