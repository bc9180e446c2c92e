"""Inner products of signals, or of other long rows."""

import torch
from torch import Tensor


def inner_products(rows: Tensor, others: Tensor) -> Tensor:
    """Inner products of few long rows with others, the same to the last bit whatever else is in the batch.

    On a CPU a batch of one is a single product of matrices, whose sums are shared out among threads, or one with a
    vector, and rounded otherwise than in a larger batch. What an evaluation writes must depend on neither: one is
    computed as two.

    Args:
        rows: [B, n, T].
        others: [B, m, T].

    Returns:
        [B, n, m].
    """
    if len(rows) == 1 and rows.is_cpu:
        return torch.bmm(rows.expand(2, -1, -1), others.expand(2, -1, -1).mT)[:1]
    return torch.bmm(rows, others.mT)
