"""A folder that is there as a whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from experiments.output.sole_writer import sole_writer
from lightning_modules.errors import InputError


@contextlib.contextmanager
def new_folder(path: Path, overwrite: bool, made_by_us: str) -> Iterator[Path]:
    """A folder to write into, which becomes `path` when the block ends well and is removed when it does not.

    An empty folder may be there already; one that holds something is replaced with `overwrite`, if it holds the file
    `made_by_us`: no other is ever removed.
    """
    from soundfile import SoundFileError

    with sole_writer(path, "--output"):
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file; choose a folder with --output")
        occupied = path.is_dir() and any(path.iterdir())
        if occupied and not overwrite:
            raise InputError(f"{path}: not empty; choose another --output, or replace it with --overwrite")
        if occupied and not (path / made_by_us).is_file():
            raise InputError(f"{path}: holds no {made_by_us}, so this command did not make it; choose another --output")
        target = path.resolve()
        unfinished = target.with_name(f".{target.name}.unfinished")
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            yield unfinished
            replaced = target.with_name(f".{target.name}.replaced")
            shutil.rmtree(replaced, ignore_errors=True)
            try:
                if occupied:
                    os.rename(target, replaced)
                os.rename(unfinished, target)
            finally:  # after an interruption what was there is put back
                if replaced.exists() and not target.exists():
                    os.rename(replaced, target)
            shutil.rmtree(replaced, ignore_errors=True)
        except (OSError, SoundFileError) as error:
            # libsndfile keeps to itself what the system said.
            reason = getattr(error, "strerror", None) or f"{error}: a full disk, as a rule"
            raise InputError(f"{path}: cannot be written ({reason}); choose another --output") from None
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
