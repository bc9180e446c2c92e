"""A mean over mixtures that does not depend on how they were spread over batches and ranks."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class MixtureMean(Metric):
    """Mean of one number per mixture, the same to the last bit on any number of ranks.

    Partial sums would be rounded differently for every way of sharing the mixtures: the numbers are gathered, sorted
    and summed in float64. NaN stays NaN, to be seen.
    """

    full_state_update = False
    values: list[Tensor]  # a single tensor once the ranks' are gathered

    def __init__(self) -> None:
        super().__init__()
        self.add_state("values", [], dist_reduce_fx="cat")

    def update(self, values: Tensor) -> None:
        """Take the numbers of some mixtures, [B]."""
        self.values.append(values.detach().float())

    def compute(self) -> Tensor:
        """The mean, float64; NaN without any number."""
        if not len(self.values):
            return torch.tensor(torch.nan, dtype=torch.float64)
        return dim_zero_cat(self.values).cpu().double().sort().values.mean()
