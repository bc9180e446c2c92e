"""Checkpoints and exported models, read without running code from them.

Torch is imported where a file holds nothing but what torch.save writes: others are refused at once.
"""

import os
import pickletools
import warnings
import zipfile
from pathlib import Path
from textwrap import shorten
from typing import Any

from lightning_modules.earlier_settings import with_current_names
from lightning_modules.errors import InputError
from lightning_modules.exported_model import is_exported, read_exported
from lightning_modules.plain_values import is_plain
from lightning_modules.run_files import RunFiles

NUMBERS = {
    **{"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Bool": "bool"},
    **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8"},
}
# What torch.save writes of tensors and plain containers. Torch itself takes more, and with it memory as it was before.
GLOBALS = {
    *("torch._utils _rebuild_tensor_v2", *(f"torch {kind}Storage" for kind in NUMBERS)),
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
        best = RunFiles(path).best
        way_out = f"did you mean {best}?" if best.is_file() else "train it first, or give the path of a checkpoint"
        raise InputError(f"{path}: no such checkpoint; {way_out}")
    what = "checkpoint of weights and plain values"
    try:
        if is_exported(path):
            what = "exported model"
            checkpoint = read_exported(path)
        else:
            _require_plain_archive(path)
            import torch

            # Opened, for torch goes by the name; its advice on odd contents comes before it refuses them.
            with open(path, "rb") as file, warnings.catch_warnings(action="ignore"):
                checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything at a damaged file
        reason = shorten(str(error), 300) or type(error).__name__
        raise InputError(f"{path}: not a readable {what} ({reason})") from error
    parts = ("state_dict", "hyper_parameters")
    if not isinstance(checkpoint, dict) or not all(isinstance(checkpoint.get(part), dict) for part in parts):
        raise InputError(f"{path}: not a checkpoint of this project; a file written by `separatrix fit` is needed")
    if not is_plain(checkpoint["hyper_parameters"]):
        raise InputError(f"{path}: its settings are not plain values; a file written by `separatrix fit` is needed")
    from torch import Tensor

    for name, weight in checkpoint["state_dict"].items():
        # A view may repeat one number as often as it likes.
        if (
            not isinstance(weight, Tensor)
            or str(weight.dtype).removeprefix("torch.") not in NUMBERS.values()
            or weight.numel() * weight.element_size() > weight.untyped_storage().nbytes()
        ):
            raise InputError(f"{path}: {name} is not an ordinary tensor; a file of `separatrix fit` is needed")
        if not weight.isfinite().all():
            raise InputError(f"{path}: {name} holds NaN or infinite weights; take an earlier epoch's, or train again")
    return with_current_names(checkpoint)


def _require_plain_archive(path: str | os.PathLike[str]) -> None:
    """Raise a ValueError on what torch.save does not write: old formats, what inflates, damage, more than data."""
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
        odd = any(part.external_attr & 0x10 or part.compress_size != part.file_size for part in parts)
        if odd or len(names) != len(parts):
            raise ValueError("an archive with folders, or with a name twice")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} is damaged")
        pickled = archive.read(f"{parts[0].filename.split('/')[0]}/data.pkl")
    for opcode, argument, _ in pickletools.genops(pickled):
        if (opcode.name == "GLOBAL" and argument not in GLOBALS) or opcode.name in ("STACK_GLOBAL", "INST"):
            raise ValueError(f"its pickle asks for {argument or 'names of a later protocol'}")
