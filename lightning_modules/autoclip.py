"""AutoClip: gradient clipping at a percentile of the gradient norms seen so far."""

import math
from bisect import insort
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.errors import InputError


class AutoClip:
    """Clips the gradient's norm to a percentile of its own history (Seetharaman, Wichern, Pardo, Le Roux, MLSP 2020).

    A gradient of 0, as silence has it, is no part of the history. One without a finite norm neither: it is removed, so
    that the step changes nothing.

    Args:
        percentile: in [0, 100]; the lower, the more is clipped.
    """

    def __init__(self, percentile: float = 10.0) -> None:
        self.percentile = percentile
        self._norms: list[float] = []  # sorted

    @property
    def threshold(self) -> float:
        """The percentile of the norms so far, between two of them by a straight line; infinite without any."""
        if not self._norms:
            return math.inf
        share, below = math.modf(self.percentile / 100 * (len(self._norms) - 1))
        lower, upper = self._norms[int(below)], self._norms[math.ceil(below + share)]
        return lower + share * (upper - lower)

    def __call__(self, parameters: Iterable[nn.Parameter]) -> float:
        """Take the norm of the parameters' gradient into the history, clip the gradient, and return the norm."""
        learnt = list(parameters)
        total = nn.utils.get_total_norm([parameter.grad for parameter in learnt if parameter.grad is not None])
        norm = float(total)
        if not math.isfinite(norm):
            for parameter in learnt:
                parameter.grad = None
        elif norm > 0:
            insort(self._norms, norm)
            nn.utils.clip_grads_with_norm_(learnt, self.threshold, total)
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        return {"norms": torch.tensor(self._norms, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a history; raises InputError where it is none."""
        norms = state.get("norms") if isinstance(state, dict) else None
        if not (isinstance(norms, Tensor) and norms.ndim == 1 and norms.isfinite().all() and (norms > 0).all()):
            raise InputError("ckpt_path: autoclip holds no history of norms; give one that `separatrix fit` wrote")
        self._norms = sorted(norms.tolist())
