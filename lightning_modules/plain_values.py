"""Nested values of a file that may be anybody's, walked no further than is sane."""

from typing import Any

MOST_VALUES = 10_000  # all settings of this project's own files are far below it
PLAIN = (dict, list, tuple, str, bool, int, float, type(None))


def is_plain(value: Any) -> bool:
    """Whether a value is a number, a word or None, or lists of such or dicts of them by name, not too many."""
    values = nested_values(value)
    return values is not None and all(
        isinstance(inner, PLAIN) and (not isinstance(inner, dict) or all(isinstance(name, str) for name in inner))
        for inner in values
    )


def nested_values(value: Any) -> list[Any] | None:
    """A value and all that its dicts, lists, tuples and sets hold, without the names; None if beyond MOST_VALUES.

    Counted, because lists that hold each other have no end, and a few lines of aliases of aliases have billions.
    """
    waiting: list[Any] = [value]
    seen: list[Any] = []
    while waiting:
        if len(seen) == MOST_VALUES:
            return None
        inner = waiting.pop()
        seen.append(inner)
        if isinstance(inner, dict):
            waiting += inner.values()
        elif isinstance(inner, list | tuple | set):
            waiting += inner
    return seen
