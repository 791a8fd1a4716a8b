"""How many subnets fit through one program side by side."""

import os
from collections.abc import Callable

import jax

SHARE = 0.5
"""Of the free memory: the compiler's figures leave out what else the process holds."""


def chunk_size(
    temporary_bytes: Callable[[int], int], *, population: int, budget: int
) -> int:
    """Returns the largest power of two of subnets whose temporaries fit a budget.

    Temporaries grow by the same amount with every subnet, so programs for one and for
    two of them tell what more would need.

    Args:
        temporary_bytes: Compiles for a number of subnets and returns its temporaries.
        population: Subnets there are.
        budget: Bytes that temporaries may take.
    """
    if population < 2:
        return 1
    one, two = temporary_bytes(1), temporary_bytes(2)
    each = max(two - one, 1)
    fitting = 1 + max(budget - one, 0) // each
    return 1 << (min(fitting, population).bit_length() - 1)


def free_bytes() -> int:
    """Returns what temporaries may take of the default device's memory.

    Raises:
        NotImplementedError: If the device does not tell, as few do not.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        pages = os.sysconf("SC_AVPHYS_PAGES")
        return int(SHARE * pages * os.sysconf("SC_PAGE_SIZE"))
    stats = device.memory_stats()
    if not stats or "bytes_limit" not in stats:
        raise NotImplementedError(f"{device} does not tell how much memory is free")
    return int(SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
