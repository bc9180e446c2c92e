"""Included trained models: exported models (weights at half precision, and a card) in this folder, by name."""

import os
from difflib import get_close_matches
from pathlib import Path

from lightning_modules.errors import InputError

FOLDER = Path(__file__).parent
NONE_INCLUDED = "no model is included in this version"


def pretrained_models() -> dict[str, Path]:
    """The files of the included models by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.safetensors"), key=lambda path: path.stem)}


def model_file(model: str | os.PathLike[str]) -> str:
    """The file of a model: the path that is given, or, where there is no such file, of the included model of that name.

    Raises:
        InputError: there is neither; a path with a folder or an ending in it is left to whoever reads it.
    """
    given = os.fspath(model)
    if os.path.exists(given) or os.path.splitext(given)[1] or os.sep in given:
        return given
    shipped = pretrained_models()
    if given in shipped:
        return str(shipped[given])
    known = f"no included model either; one of {', '.join(shipped)}" if shipped else NONE_INCLUDED
    if meant := get_close_matches(given, shipped, 1):
        known = f"did you mean the included model {meant[0]}?"
    raise InputError(f"model {given}: no such file; {known}")
