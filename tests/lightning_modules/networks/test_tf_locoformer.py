"""A TF-Locoformer block against its equations, one vector at a time in float64; its positions are relative."""

import math

import torch
from torch import Tensor

from lightning_modules.networks.tf_locoformer import _Block, rotated

FEATURES, HIDDEN, KERNEL, HEADS, GROUPS = 12, 5, 4, 3, 2


def normalised(vector: Tensor, weight: Tensor) -> Tensor:
    """Groups of a vector over their root mean square."""
    groups = vector.split(FEATURES // GROUPS)
    return weight * torch.cat([group / (group.square().mean() + 1e-5).sqrt() for group in groups])


def convolved(vectors: list[Tensor], convolution) -> list[Tensor]:
    """Weighted sums of as many vectors after each other as the kernel has taps."""
    taps, bias = convolution.weight.squeeze(2), convolution.bias
    starts = range(len(vectors) - KERNEL + 1)
    return [bias + sum(taps[..., n] @ vectors[start + n] for n in range(KERNEL)) for start in starts]


def conv_swiglu(vectors: list[Tensor], layer) -> list[Tensor]:
    """Conv(Swish(Conv(N(Z))) ⊗ Conv(N(Z))); beyond the ends Z is nothing, but what is between the two is not."""
    beyond = [torch.zeros(FEATURES, dtype=torch.float64)] * (KERNEL - 1)
    both = convolved([*beyond, *(normalised(vector, layer.norm.weight) for vector in vectors), *beyond], layer.gates)
    gates = ((numbers[:HIDDEN], numbers[HIDDEN:]) for numbers in both)
    return convolved([gate / (1 + torch.exp(-gate)) * value for gate, value in gates], layer.output)


def turned(vector: Tensor, place: int) -> Tensor:
    """Pairs of numbers as complex ones, turned by the place times their frequency."""
    half = len(vector) // 2
    angle = torch.tensor([place * 10_000 ** (-2 * pair / len(vector)) for pair in range(half)], dtype=torch.float64)
    complex_ = torch.complex(vector[:half], vector[half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([complex_.real, complex_.imag])


def attention(vectors: list[Tensor], layer) -> list[Tensor]:
    """softmax(Q Kᵀ / √D) V of every head, projected."""
    projected = [layer.projections(normalised(vector, layer.norm.weight)) for vector in vectors]
    size, answers = FEATURES // HEADS, []
    for i in range(len(vectors)):
        heads = []
        for head in range(HEADS):
            query, *_ = projected[i].view(3, HEADS, size)[:, head]
            keys, values = zip(*(each.view(3, HEADS, size)[1:, head] for each in projected), strict=True)
            scores = [turned(query, i) @ turned(key, j) / math.sqrt(size) for j, key in enumerate(keys)]
            shares = torch.stack(scores).softmax(0)
            heads.append(sum(share * value for share, value in zip(shares, values, strict=True)))
        answers.append(layer.output(torch.cat(heads)))
    return answers


@torch.no_grad()
def test_a_block_is_its_equations():
    torch.manual_seed(0)
    block = _Block(FEATURES, HIDDEN, KERNEL, HEADS, GROUPS).double()
    for layer in (block.before, block.attention, block.after):
        layer.norm.weight.uniform_(0.5, 2)
    sequences = torch.randn(2, 2, 6, FEATURES, dtype=torch.float64)
    answer = block(sequences)
    for sequence, of_block in zip(sequences.flatten(0, 1), answer.flatten(0, 1), strict=True):
        vectors = list(sequence)
        for function, layer in ((conv_swiglu, block.before), (attention, block.attention), (conv_swiglu, block.after)):
            vectors = [a + b for a, b in zip(vectors, function(vectors, layer), strict=True)]
        # Angles are float32.
        torch.testing.assert_close(of_block, torch.stack(vectors), atol=1e-6, rtol=0)


def test_rotary_products_depend_on_the_distance_alone():
    query, key = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0)).expand(2, 50, 16)
    products = rotated(query) @ rotated(key).mT
    for distance in (0, 3, -20):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), atol=1e-4, rtol=0)
    assert products[0].std() > 0.1
