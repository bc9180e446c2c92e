"""What the settings of a procedural corpus may be, and the digest by which they identify its sounds."""

import hashlib
from collections.abc import Iterable

from datamodules.corpora.corpus import Clip
from lightning_modules.errors import InputError


def check(corpus: str, settings: Iterable[tuple[str, int, int, str]]) -> None:
    """Refuse the first setting below its least value.

    Args:
        corpus: which corpus, for the message.
        settings: name, value, least value and the reason for it.

    Raises:
        InputError: a setting out of its range.
    """
    for setting, value, least, reason in settings:
        if value < least:
            raise InputError(f"{corpus}: {setting}={value}: {reason}; set it to {least} or more")


def digest(version: int, settings: tuple[int, ...], clips: list[Clip]) -> str:
    """SHA-256 of the version of a synthesis, its settings and the table of clips, in hexadecimal."""
    return hashlib.sha256(repr(((version, *settings), [tuple(clip) for clip in clips])).encode()).hexdigest()
