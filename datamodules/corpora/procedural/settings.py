"""What the settings of a procedural corpus may be, and the digest by which they identify its sounds."""

import hashlib

from datamodules.corpora.corpus import Clip
from lightning_modules.errors import InputError
from lightning_modules.setting_checks import require_whole
from lightning_modules.spectrogram import HIGHEST_RATE

MOST_CLIPS = 1_000_000


def check(corpus: str, sample_rate: int, seed: int, folds: int, *sizes: tuple[str, int, int, str]) -> None:
    """Refuse the first setting below its least value.

    Args:
        corpus: which corpus, for the message.
        sample_rate: in Hz.
        seed: of the sounds.
        folds: number of them.
        sizes: further settings: name, value, least value and the reason for it.

    Raises:
        InputError: a setting out of its range.
    """
    for setting, value, least, reason in (
        ("folds", folds, 1, "there is no corpus without folds"),
        *sizes,
        ("sample_rate", sample_rate, 8000, "the sounds reach beyond 3 kHz"),
        ("seed", seed, 0, "random generators take no negative seed"),
    ):
        if value < least:
            raise InputError(f"{corpus}: {setting}={value}: {reason}; set it to {least} or more")
    # Tables of clips are made in memory.
    require_whole(0, MOST_CLIPS, folds=folds, **{setting: value for setting, value, *_ in sizes})
    require_whole(0, HIGHEST_RATE, sample_rate=sample_rate)
    require_whole(0, 2**63 - 1, seed=seed)


def digest(version: int, settings: tuple[int, ...], clips: list[Clip]) -> str:
    """SHA-256 of the version of a synthesis, its settings and the table of clips, in hexadecimal."""
    return hashlib.sha256(repr(((version, *settings), [tuple(clip) for clip in clips])).encode()).hexdigest()
