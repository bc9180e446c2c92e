"""Mean and deviation of values that come in parts."""

import math

import torch
from torch import Tensor


class RunningMoments:
    """Mean and deviation of all values seen, in float64 (Chan, Golub, LeVeque 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self._mean = 0.0
        self._scatter = 0.0

    def add(self, values: Tensor) -> None:
        """See further values, of any shape."""
        if not values.numel():
            return
        variance, mean = (float(value) for value in torch.var_mean(values.double(), correction=0))
        count = self.count + values.numel()
        step = mean - self._mean
        self._mean += step * values.numel() / count
        self._scatter += values.numel() * (variance + step**2 * self.count / count)
        self.count = count

    def deviation_and_mean(self) -> tuple[Tensor, Tensor]:
        """As `torch.std_mean` of all of them gives, [1, 1, 1] each, float32."""
        deviation = math.sqrt(self._scatter / max(self.count - 1, 1))
        return torch.full((1, 1, 1), deviation), torch.full((1, 1, 1), self._mean)
