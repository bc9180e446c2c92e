"""Checkpoints and exported models: read without running code from them, written beside and renamed into place."""

import os
import pickletools
import re
import warnings
import zipfile
from collections.abc import Sequence
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from lightning_modules.atomic_file import atomic_file
from lightning_modules.base_module import SeparatrixModule
from lightning_modules.earlier_settings import with_current_names
from lightning_modules.errors import InputError
from lightning_modules.exported_model import is_exported, read_exported
from lightning_modules.plain_values import nested_values

M = TypeVar("M", bound=SeparatrixModule)

# Lightning moves older checkpoints to its own version, taking for granted what they hold.
_VERSION = re.compile(r"[2-9]\.\d{1,3}(\.\d{1,3})?((\.dev|\.post|a|b|rc)\d{1,8})*")
_NUMBERS = {
    **{"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16},
    **{"Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8},
    "Bool": torch.bool,
}
# What torch.save writes of tensors and plain containers. Torch itself takes more, and with it memory as it was before.
_GLOBALS = {
    *("torch._utils _rebuild_tensor_v2", *(f"torch {kind}Storage" for kind in _NUMBERS)),
    *("collections OrderedDict", "collections Counter", "__builtin__ set"),
}


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The contents of a checkpoint, or of an exported model under a checkpoint's names, on the CPU.

    Which of the two it is says the file itself, not its name. It may be anybody's: nothing in it is run, and memory
    follows its size, not what it claims.

    Raises:
        InputError: it is missing, damaged, no checkpoint of this project, holds more than weights and plain values, or
            weights that are not finite numbers.
    """
    if not Path(path).is_file():
        best = Path(path) / "checkpoints" / "best.ckpt"  # of a run's folder
        way_out = f"did you mean {best}?" if best.is_file() else "train it first, or give the path of a .ckpt file"
        raise InputError(f"{path}: no such checkpoint; {way_out}")
    what = "checkpoint of weights and plain values"
    try:
        if is_exported(path):
            what = "exported model"
            checkpoint = read_exported(path)
        else:
            _require_plain_archive(path)
            # Opened, for torch goes by the name; its advice on odd contents comes before it refuses them.
            with open(path, "rb") as file, warnings.catch_warnings(action="ignore"):
                checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # on a damaged file torch raises whatever its unpickler stumbles over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: not a readable {what} ({reason})") from error
    if not isinstance(checkpoint, dict) or not all(
        isinstance(checkpoint.get(part), dict) for part in ("state_dict", "hyper_parameters")
    ):
        raise InputError(f"{path}: not a checkpoint of this project; a file written by `separatrix fit` is needed")
    if not _are_plain(checkpoint["hyper_parameters"]):
        raise InputError(f"{path}: its settings are not plain values; a file written by `separatrix fit` is needed")
    for name, weight in checkpoint["state_dict"].items():
        _require_weight(f"{path}: {name}", weight)
    return with_current_names(checkpoint)


def load_module(path: str | os.PathLike[str], *kinds: type[M]) -> M:
    """A trained module of one of these kinds, with the hyper-parameters that its file states.

    Args:
        path: of the checkpoint or exported model.
        kinds: of module that will do; their subclasses will, too. A class of your own is known once it is imported.

    Raises:
        InputError: the checkpoint cannot be read or is of another kind of module.
    """
    checkpoint = read_checkpoint(path)
    kind = _stated_kind(path, checkpoint.get("module"), kinds)
    # Names with an underscore are LightningCLI's notes on how it made the module.
    settings = {name: value for name, value in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    try:
        # Sizes first, on a device without memory: the settings may ask for more than the file fills.
        with torch.device("meta"):
            needed = _made(kind, settings).state_dict()
        for name in sorted(needed.keys() | checkpoint["state_dict"].keys()):
            shapes = [
                list(weights[name].shape) if name in weights else "missing"
                for weights in (checkpoint["state_dict"], needed)
            ]
            if shapes[0] != shapes[1]:
                raise InputError(f"{name} is {shapes[0]}, its settings say {shapes[1]}; train it again")
        module = _made(kind, settings)
        module.load_state_dict(checkpoint["state_dict"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: does not fit this version's {kind.__name__} ({reason}); train it again") from error
    return module


def _made(kind: type[M], settings: dict[str, Any]) -> M:
    """A module of these settings, and of no others in its `hparams`.

    LightningCLI keeps the settings of what it makes in a context variable, from which a module takes its own: also one
    that is made by the way, such as a model of a selection.
    """
    return Context().run(kind, **settings)


def _stated_kind(path: str | os.PathLike[str], name: Any, kinds: Sequence[type[M]]) -> type[M]:
    """The class of that name among these and their subclasses."""
    kind = _named(name, kinds)
    if kind is not None:
        return kind
    named = name if isinstance(name, str) else "something else"
    needed = " or ".join(kind.__name__ for kind in kinds)
    # What is not known at all may be a class of the user's own.
    hint = "" if _named(name, [SeparatrixModule]) else "; --import MODULE makes a class of your own known"
    raise InputError(f"{path}: a checkpoint of {named}; one of {needed} is needed{hint}")


def _named(name: Any, kinds: Sequence[type[M]]) -> type[M] | None:
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop(0)
        if isinstance(name, str) and kind.__name__ == name:
            return kind
        waiting += kind.__subclasses__()
    return None


def _require_plain_archive(path: str | os.PathLike[str]) -> None:
    """Refuse what torch.save does not write today: old formats, what inflates, damage, and a pickle of more than data.

    Raises:
        ValueError: with the reason.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":  # torch goes by these bytes: an archive may lie behind an old format
            raise ValueError("no archive, or not whole")
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        names = {part.filename.lower() for part in parts}  # torch takes upper and lower case for the same
        if any(name.endswith("/archive_format") for name in names):
            raise ValueError("a program of torch.export, of which only torch makes something")
        stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
        if not stored or sum(part.file_size for part in parts) > os.path.getsize(path):
            raise ValueError("a compressed archive")
        # Of a part that is marked as a folder or as empty torch reads nothing and gives what its memory held before.
        if len(names) != len(parts) or any(
            part.external_attr & 0x10 or part.compress_size != part.file_size for part in parts
        ):
            raise ValueError("an archive with folders, or with a name twice")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} is damaged")
        pickled = archive.read(f"{parts[0].filename.split('/')[0]}/data.pkl")
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL" and argument not in _GLOBALS:
            raise ValueError(f"its pickle asks for {argument}")


def _are_plain(settings: dict[Any, Any]) -> bool:
    """Whether names are strings and values plain ones or lists and dicts of them, not too many."""
    values = nested_values(settings)
    return values is not None and all(map(_is_plain, values))


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) for name in value)
    return value is None or isinstance(value, bool | int | float | str | list | tuple)


def _require_weight(name: str, weight: Any) -> None:
    """Raise InputError unless this is a tensor of finite numbers as long as its memory."""
    # A view may repeat one number as often as it likes.
    if (
        not isinstance(weight, torch.Tensor)
        or weight.dtype not in _NUMBERS.values()
        or weight.numel() * weight.element_size() > weight.untyped_storage().nbytes()
    ):
        raise InputError(f"{name} is not an ordinary tensor; a file written by `separatrix fit` is needed")
    if not weight.isfinite().all():
        raise InputError(f"{name} holds NaN or infinite weights; take a checkpoint of an earlier epoch, or train again")


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves to a neighbouring file and renames it: a kill leaves the old checkpoint or the new one, never half.

    Loads what `read_checkpoint` takes and nothing else, whatever the trainer asks for.
    """

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The contents on the CPU; nothing in them is run.

        Raises:
            InputError: as `read_checkpoint`, or it was written by no Lightning from 2.0 on.
        """
        checkpoint = read_checkpoint(path)
        version = checkpoint.get("pytorch-lightning_version")
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            raise InputError(f"{path}: of no version of Lightning from 2.0 on; a file of `separatrix fit` is needed")
        return checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the checkpoint, then move it into place."""
        with atomic_file(Path(path)) as partial, partial.open("wb") as file:  # torch would note a path's name inside
            torch.save(checkpoint, file)
