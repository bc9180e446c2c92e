"""Rows of scores and what they say: pure functions, from files to tables and figures."""

# In files and rows beside the classes: what the sources of all classes leave of a mixture.
RESIDUAL = "residual"
_OF_PARENT = "/all"  # no class has such a name


def of_parent(name: str) -> str:
    """What the rows of a parent, the sum of its children, have in place of a class."""
    return f"{name}{_OF_PARENT}"


def is_class(label: str) -> bool:
    """Whether these rows are of a class, rather than of a parent or of the residual."""
    return label != RESIDUAL and not label.endswith(_OF_PARENT)
