"""What becomes of memory that a training step has freed: the C library gives it back, or keeps it for the next step."""

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Have glibc keep what is freed; where the C library is another one, do nothing.

    Left alone, it gives every large block back to the system, and each step's tensors are made of new pages, which the
    system fills with zeros one at a time when they are first written: up to three tenths of a step's time on a CPU.
    What the process has needed at most it then holds until it ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)  # large blocks lie in the heap like all others,
        mallopt(_M_TRIM_THRESHOLD, -1)  # whose end is never cut off
