"""Tells the C allocator to keep the memory that XLA gives back.

XLA on a CPU takes hundreds of megabytes of temporaries from malloc in every call and
frees them again; glibc returns them to the kernel and each step faults them in anew.
Keeping them makes a training step 1.2 to 1.4 times as fast. Only glibc has the calls.
"""

import ctypes
import platform

# Parameters of mallopt(3).
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

KEEP = {
    M_MMAP_THRESHOLD: 2**31 - 1,
    M_TRIM_THRESHOLD: 2**31 - 1,
    M_TOP_PAD: 2**28,
    # XLA's threads would otherwise use arenas that cannot grow beyond 64 MB.
    M_ARENA_MAX: 1,
}


def keep_memory() -> bool:
    """Applies the settings to this process; returns whether the allocator took them."""
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    # A list: every setting is tried, also after one was refused.
    taken = [library.mallopt(name, value) == 1 for name, value in KEEP.items()]
    return all(taken)
