"""What a setting may be, said in one line that names it; for settings of any origin, a checkpoint's among them."""

import json
import sys
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

from lightning_modules.errors import InputError
from lightning_modules.scores import RESIDUAL

LONGEST_NAME = 100
MOST_SOURCES = 100
# Files and rows of their own beside those of the classes: what the sources leave of a recording, all classes together,
# and the mixture beside its estimates.
RESERVED_NAMES = (RESIDUAL, "overall", "mixture")


def require_positive(**settings: Any) -> None:
    """Raise InputError naming a setting that is not a finite number above 0."""
    for name, value in settings.items():
        if not _is_finite(value) or value <= 0:
            raise InputError(f"{name}: {_shown(value)}; a number above 0 is needed")


def require_between(lowest: float, highest: float, **settings: Any) -> None:
    """Raise InputError naming a setting that is not a finite number from `lowest` to `highest`."""
    for name, value in settings.items():
        if not _is_finite(value) or not lowest <= value <= highest:
            raise InputError(f"{name}: {_shown(value)}; a number from {lowest:g} to {highest:g} is needed")


def require_whole(least: int, most: int, **settings: Any) -> None:
    """Raise InputError naming a setting that is not a whole number from `least` to `most`."""
    for name, value in settings.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise InputError(f"{name}: {_shown(value)}; a whole number is needed")
        if int(value) < least:
            raise InputError(f"{name}: {_shown(value)}; at least {least} is needed")
        if int(value) > most:
            raise InputError(f"{name}: {_shown(value)}; at most {most} is possible")


def require_one_of(known: Collection[str], **settings: Any) -> None:
    """Raise InputError naming a setting that is none of the known values."""
    for name, value in settings.items():
        if not isinstance(value, str) or value not in known:
            raise InputError(f"{name}: {_shown(value)}; one of {', '.join(known)} is needed")


def require_names(setting: str, names: Any) -> None:
    """Raise InputError unless these are different names, fit for files and cells of tables, one at least."""
    if isinstance(names, str) or not isinstance(names, Collection):
        raise InputError(f"{setting}: {_shown(names)}; a list of different names is needed")
    for name in names:
        if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise InputError(f"{setting}: {_shown(name)} is no name; at most {LONGEST_NAME} printable characters are")
        if name.startswith(".") or set(name) & set("/\\|"):
            raise InputError(f"{setting}: {name} is no name of a file; leave out / \\ | and a dot in front")
    if len(set(names)) != len(names) or not names:
        raise InputError(f"{setting}: {_shown(list(names))}; a list of different names is needed")


def require_class_names(classes: Any) -> None:
    """Raise InputError unless `require_names` accepts the classes, and no file, row or cell takes one for another."""
    require_names("classes", classes)
    for name in classes:
        if name in RESERVED_NAMES or name[0] in "=+-@":
            taken = "is the name of another file or row beside those of the classes"
            reason = taken if name in RESERVED_NAMES else "would be a formula in a spreadsheet"
            labels = json.dumps({name: f"class_{name.strip('=+-@')}"}, ensure_ascii=False)
            way_out = f"rename it in the corpus, or by JoinedCorpora: --data.corpus.labels '{labels}'"
            raise InputError(f"classes: {name} {reason}; {way_out}")


def require_agreement(expected: dict[str, Any], offered: dict[str, Any], offering: str, by: str = "the model") -> None:
    """Raise InputError naming both sides and a setting that both state and that is not the same."""
    for name, value in expected.items():
        if name in offered and not _are_same(value, offered[name]):
            raise InputError(f"{name}: {by} has {value}, {offering} {offered[name]}; make them agree")


def require_unchanged(
    settings: dict[str, Any], before: Any, where: str = "", replaceable: Collection[str] = ()
) -> None:
    """Raise InputError naming a setting that is not what it was `before`, when the training began.

    Dicts of settings are compared one by one, under names with dots. What a checkpoint does not mention is accepted,
    and any change of what is `replaceable`.
    """
    if not isinstance(before, dict):
        raise InputError(f"ckpt_path: no {where or 'settings'} that a training began with; give another checkpoint")
    for name, value in settings.items():
        earlier = before.get(name, None if where else value)
        if f"{where}{name}" in replaceable:
            continue
        if isinstance(value, dict) and isinstance(earlier, dict):
            # A class named within has all of its settings beside it: what is missing there is not given.
            require_unchanged({**dict.fromkeys(earlier), **value}, earlier, f"{where}{name}.", replaceable)
        elif not _are_same(value, earlier):
            raise InputError(
                f"{where}{name}: {_shown(value)}, but {_shown(earlier)} when the training began; "
                f"go on with what it was, or train anew in another --run"
            )


def _are_same(value: Any, other: Any) -> bool:
    try:
        return bool(_listed(value) == _listed(other))
    except RuntimeError:  # of what is no plain value, or has no end
        return False


def _listed(value: Any) -> Any:
    value = list(value.items()) if isinstance(value, dict) else value  # the order of a hierarchy is that of its nodes
    return list(map(_listed, value)) if isinstance(value, list | tuple) else value


def _is_finite(value: Any) -> bool:
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and -sys.float_info.max <= value <= sys.float_info.max


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no integer of more than 4300 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."
