"""What becomes of memory that a training step has freed: the C library gives it back, or keeps it for the next step."""

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4


def keep_freed_memory() -> None:
    """Have glibc keep what is freed; where the C library is another one, do nothing.

    Left alone, it gives every large block back to the system, and each step's tensors are made of new pages, which the
    system fills with zeros one at a time when they are first written: up to three tenths of a step's time on a CPU.
    What the process has needed at most it then holds until it ends.
    """
    # Large blocks lie in the heap like all others, whose end is never cut off.
    _set({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1})


def return_freed_memory() -> None:
    """Have glibc do as it does by itself, once it has met large blocks, and give back what is free now."""
    if _set({_M_MMAP_MAX: 2**16, _M_MMAP_THRESHOLD: 2**25, _M_TRIM_THRESHOLD: 2**26}):
        ctypes.CDLL(None).malloc_trim(0)


def _set(options: dict[int, int]) -> bool:
    """Set options of glibc's allocator; whether it is the allocator."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    for option, value in options.items():
        mallopt(option, value)
    return True
