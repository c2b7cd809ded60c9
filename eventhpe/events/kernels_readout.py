"""The queue at a sensor's output (Numba)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

I64 = NDArray[np.int64]

#: The time at which the output is free is kept in 1/65,536 µs.
FRACTION_BITS = 16


@njit(cache=True, nogil=True)
def leave(t: I64, gap: int, wait: int, step: int, free: int, leaves: I64, kept: I64) -> tuple[int, int]:
    """When events leave an output that lets one pass every `gap`, first come first served.

    Args:
        t: (N,) µs at which events ask to leave, non-decreasing.
        gap: time between two events in 1/65,536 µs; 0 = no limit.
        wait: an event that would wait longer than so many µs is dropped.
        step: times are rounded up to multiples of so many µs.
        free: time at which the output is free, 1/65,536 µs.
        leaves, kept: (N,) outputs: time in µs and index of each event that leaves.
    Returns:
        How many leave, and when the output is free after them.
    """
    n = 0
    for i in range(t.size):
        asked = t[i] << FRACTION_BITS
        passes = max(asked, free)
        if passes - asked > wait << FRACTION_BITS:
            continue
        free = passes + gap
        micro = passes >> FRACTION_BITS
        leaves[n] = -(-micro // step) * step
        kept[n] = i
        n += 1
    return n, free
