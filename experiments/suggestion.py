"""What a misspelt name was probably meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def probable(word: str, names: Iterable[str]) -> str | None:
    """The name that is closest to the word, upper and lower case alike; None where none is close."""
    by_lower_case = {name.lower(): name for name in names}
    found = get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.7)
    return by_lower_case[found[0]] if found else None


def probably(word: str, names: Iterable[str]) -> str:
    """`; did you mean NAME?`, or nothing where no name is close to the word."""
    name = probable(word, names)
    return f"; did you mean {name}?" if name else ""
