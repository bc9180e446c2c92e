"""Inner products: what they are, and that nothing else decides their last bit."""

import pytest
import torch

from lightning_modules.inner_products import inner_products


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("length", [20, 1000, 2048])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 1), (9, 2), (11, 5), (2, 20), (20, 20), (33, 16), (101, 50)])
def test_inner_products_depend_neither_on_the_batch_nor_on_the_threads(n, m, length):
    generator = torch.Generator().manual_seed(0)
    rows, others = (torch.randn(5, k, length, generator=generator, dtype=torch.float64) for k in (n, m))
    torch.set_num_threads(1)
    whole = inner_products(rows, others)
    torch.testing.assert_close(whole, (rows.unsqueeze(2) * others.unsqueeze(1)).sum(-1), atol=1e-10, rtol=0)
    for number in (1, 2, 4):
        torch.set_num_threads(number)
        for size in (1, 2, 3, 5):
            parts = zip(rows.split(size), others.split(size), strict=True)
            assert torch.equal(torch.cat([inner_products(*part) for part in parts]), whole)
