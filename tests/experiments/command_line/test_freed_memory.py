"""Freed memory stays with the process: the next step's tensors need no new pages."""

import subprocess
import sys

import pytest

# Prints the pages that the system provides for four tensors of 40 MB (10,240 pages), each freed before the next is
# made, once the heap has grown to what they need. Blocks above 32 MB glibc would always give back.
WRITING = """
import resource
import torch
from experiments.command_line.freed_memory import keep_freed_memory, return_freed_memory

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

keep_freed_memory()
for tensors in (16, 4):
    before = pages()
    for _ in range(tensors):
        torch.ones(10 * 2**20)
print(pages() - before)
return_freed_memory()
before = pages()
for _ in range(4):
    torch.ones(10 * 2**20)
print(pages() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_memory_freed_by_one_step_serves_the_next_until_it_is_to_be_returned():
    written = subprocess.run([sys.executable, "-c", WRITING], capture_output=True, text=True, check=True, timeout=120)
    kept, returned = map(int, written.stdout.split())
    assert kept < 1000 and returned > 10_000
