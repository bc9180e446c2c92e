"""Embeddings out of logits, as a rule unit vectors, block by block: what deep clustering's network ends in."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_modules.batch_invariance import sigmoid

FLOOR = 1e-9  # where all sigmoids vanish, the square of their norm would underflow
CPU_BLOCK, BLOCK = 2**12, 2**20  # vectors; a thread's 4096 of 20 dimensions and all made of them stay in its cache


def unit_sigmoid(logits: Tensor) -> Tensor:
    """v = s/|s|, s = σ(x) + 10⁻⁹, unit vectors, at least float32: logits x [..., D] -> [..., D]."""
    if torch.compiler.is_exporting():  # a program for any number of frames cannot count blocks
        s = logits.float().sigmoid() + FLOOR
        return s / torch.linalg.vector_norm(s, dim=-1, keepdim=True)
    return _UnitSigmoid.apply(logits)


def plain_sigmoid(logits: Tensor) -> Tensor:
    """σ(x), left at its length: logits [..., D] -> [..., D], at least float32."""
    return sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32)))


class _UnitSigmoid(torch.autograd.Function):
    """For g = dL/dv and r = |s|: dL/dx = (g - <g, v> v) σ (1 - σ) / r, with σ = r v - 10⁻⁹.

    Of all that leads to v, only r is kept.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        unit = torch.empty_like(logits, dtype=dtype, memory_format=torch.contiguous_format)
        norm = unit.new_empty(*logits.shape[:-1], 1)
        for x, v, r in zip(*map(_blocks, (logits, unit, norm)), strict=True):
            s = sigmoid(x.to(dtype)).add_(FLOOR)
            torch.linalg.vector_norm(s, dim=-1, keepdim=True, out=r)
            torch.div(s, r, out=v)
        ctx.save_for_backward(unit, norm)
        ctx.dtype = logits.dtype
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        unit, norm = ctx.saved_tensors
        gradient = torch.empty_like(unit, dtype=ctx.dtype)
        for g, v, r, x in zip(*map(_blocks, (upstream, unit, norm, gradient)), strict=True):
            across = torch.addcmul(g, v, (g * v).sum(-1, keepdim=True), value=-1)
            sigma = (v * r).sub_(FLOOR)
            across.mul_(sigma).mul_(sigma.neg_().add_(1))
            torch.div(across, r, out=x)
        return gradient


def _blocks(vectors: Tensor) -> tuple[Tensor, ...]:
    size = CPU_BLOCK * torch.get_num_threads() if vectors.is_cpu else BLOCK
    return vectors.reshape(-1, vectors.shape[-1]).split(size)
