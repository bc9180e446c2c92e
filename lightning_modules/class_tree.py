"""Classes with kinds: a tree, whose leaves are separated and whose parents are the sums of what is below them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_modules.errors import InputError
from lightning_modules.scores import is_class, of_parent
from lightning_modules.setting_checks import require_names


class ClassTree:
    """N nodes: the C classes, which are the leaves, in their order, then the parents. Without a hierarchy C = N.

    Labels of nodes are 1 or 0, or NaN where nobody has said: of a node's children all are known, or none.

    Args:
        classes: C names.
        hierarchy: parents with their children, `{siren: [police, fire], dog: [howl, {bark: [deep, shrill]}]}`, to any
            depth. A class that is not in it stands at the top.

    Attributes:
        parents: which classes are below each parent, as places among them, by the name of the parent's rows.
        names: of all nodes, parents by those of their rows.
        depths: of all nodes, 0 at the top, [N].
        related: 1 where one of two nodes contains the other, float32, [N, N].

    Raises:
        InputError: the hierarchy is no tree of these classes.
    """

    def __init__(self, classes: Sequence[str], hierarchy: Mapping[str, Any] | None = None) -> None:
        if not isinstance(hierarchy, Mapping | None):
            raise InputError(f"hierarchy: {hierarchy}; parents with their children, such as {{siren: [police, fire]}}")
        above: dict[str, tuple[str, ...]] = dict.fromkeys(classes, ())
        found = list(_nodes(hierarchy or {}))
        for name, count in Counter(name for name, _ in found).items():
            children = sum(path[-1:] == (name,) for _, path in found)
            if count > 1:
                raise InputError(f"hierarchy: {name} is in it {count} times; a node has one place")
            if name not in above and is_class(name):
                raise InputError(f"hierarchy: {name} is not among the classes, {', '.join(classes)}; correct it")
            if name not in above and children < 2:
                raise InputError(f"hierarchy: {name} has {children} children; two at least are needed, or leave it out")
        above |= dict(found)
        self.classes = len(classes)
        self.names = list(above)
        self.depths = torch.tensor([len(path) for path in above.values()])
        below = {name: [place for place, of in enumerate(classes) if name in above[of]] for name in above}
        self.parents = dict(list(below.items())[len(classes) :])
        sets = [{place} for place in range(len(classes))] + [{*places} for places in self.parents.values()]
        self.related = torch.tensor([[float(bool(one & other)) for other in sets] for one in sets])
        self._smaller = [[place for place, other in enumerate(sets) if other < one] for one in sets]

    def sums(self, leaves: Tensor) -> Tensor:
        """Of every node the sum of its leaves, [B, C, ...] -> [B, N, ...]; what is behind the classes stays there."""
        if not self.parents:
            return leaves
        parents = [leaves[:, places].sum(1, keepdim=True) for places in self.parents.values()]
        return torch.cat((leaves[:, : self.classes], *parents, leaves[:, self.classes :]), 1)

    def of_leaves(self, labels: Tensor) -> Tensor:
        """What is known of every class, its own label or the lowest parent's, [B, N, ...] -> [B, C, ...]."""
        if not self.parents:
            return labels
        silent = (1 - labels).nan_to_num(0)  # a parent that is silent has silent children
        found = silent[:, : self.classes].clone()
        for number, places in enumerate(self.parents.values(), self.classes):
            found[:, places] = torch.maximum(found[:, places], silent[:, number : number + 1])
        return 1 - found

    def lowest(self, labels: Tensor) -> Tensor:
        """1 of the lowest nodes that are known, which share the classes out, [B, N, ...] -> [B, N, ...]."""
        known = ~labels.isnan()
        lowest = [known[:, number] & ~known[:, below].any(1) for number, below in enumerate(self._smaller)]
        return torch.stack(lowest, 1).to(labels.dtype)


def _nodes(branch: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every node of a branch, and the parents above it from the top on."""
    if isinstance(branch, Mapping):
        for name, below in branch.items():
            require_names("hierarchy", [name := str(name)])
            parent = of_parent(name)
            yield parent, above
            yield from _nodes(below, (*above, parent))
    elif isinstance(branch, list | tuple):
        for child in branch:
            yield from _nodes(child, above)
    else:
        yield str(branch), above
