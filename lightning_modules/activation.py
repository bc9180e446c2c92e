"""The logistic function."""

import torch
from torch import Tensor


def sigmoid(logits: Tensor) -> Tensor:
    """1/(1 + e^-x), of which every element is the same to the last bit wherever it stands in the tensor.

    On a CPU, torch.sigmoid computes the last elements of a tensor, and of each thread's share, with other instructions
    than the rest: a mixture's estimates would depend on the mixtures that it shares a batch with, and its rows on the
    number of ranks. torch.exp does not. Where autograd is to derive it, torch's is taken, whose derivative is finite
    everywhere.

    Args:
        logits: any shape.

    Returns:
        In [0, 1].
    """
    if torch.is_grad_enabled() or not logits.is_cpu:
        return logits.sigmoid()
    return logits.neg().exp_().add_(1).reciprocal_()
